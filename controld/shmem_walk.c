/* SPDX-License-Identifier: MIT */
/* Page tables of all who map an object, laid upon each other, where nobody tells its size. */
#include "controld/shmem_object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TURN_NS 20000000ull /* for walks: others wait */

static uint64_t first_page(const struct range *r)
{
	return r->offset >> MC_PAGE_SHIFT;
}

static uint64_t last_page(const struct range *r) /* + 1 */
{
	uint64_t end = (r->offset + (r->end - r->start)) >> MC_PAGE_SHIFT;

	return end < OBJECT_PAGES_MAX ? end : OBJECT_PAGES_MAX;
}

static uint64_t words_for(const struct use *u)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < u->ranges; i++)
		if (last_page(&u->range[i]) > pages)
			pages = last_page(&u->range[i]);
	return (pages + 63) / 64;
}

/* The bits of word `w` that belong to the range. */
static uint64_t mask_of(const struct range *r, uint64_t w)
{
	uint64_t mask = UINT64_MAX;

	if (w == first_page(r) / 64)
		mask &= UINT64_MAX << first_page(r) % 64;
	if (w == last_page(r) / 64)
		mask &= (1ull << last_page(r) % 64) - 1;
	return mask;
}

static uint64_t word_of(const uint64_t *bits, uint64_t words, uint64_t w)
{
	return w < words ? bits[w] : 0;
}

/* Pages that nobody has any more. Who lost them too and was not walked since still says that he
 * has. */
static uint64_t really_lost(const struct object *o, const struct use *by, uint64_t w, uint64_t lost)
{
	for (const struct use *u = o->first; u && lost; u = u->younger)
		if (u != by)
			lost &= ~word_of(u->touched, u->words, w);
	return lost;
}

/* One word of what a member had and has. What it lost is one of those that were told of. */
static void take_word(struct object *o, const struct use *u, uint64_t w, uint64_t now, uint64_t mask)
{
	uint64_t known = o->touched[w];
	uint64_t lost = word_of(u->touched, u->words, w) & ~now & mask & known;
	uint64_t next = known | (now & mask);
	uint64_t gone = 0;

	if (lost)
		gone = really_lost(o, u, w, lost);
	next &= ~gone;
	o->touched[w] = next;
	o->count += (uint64_t)__builtin_popcountll(next);
	o->count -= (uint64_t)__builtin_popcountll(known);
	gone = (uint64_t)__builtin_popcountll(gone);
	o->floor -= gone < o->floor ? gone : o->floor;
}

static void take_walk(struct object *o, const struct use *u, const uint64_t *now)
{
	for (uint32_t i = 0; i < u->ranges; i++) {
		const struct range *r = &u->range[i];

		for (uint64_t w = first_page(r) / 64; w * 64 < last_page(r); w++)
			take_word(o, u, w, now[w], mask_of(r, w));
	}
}

static int make_room(struct object *o, uint64_t words)
{
	uint64_t *more;

	if (words <= o->words)
		return 0;
	more = calloc(words, sizeof(*more));
	if (!more)
		return -ENOMEM;
	if (o->touched)
		memcpy(more, o->touched, o->words * sizeof(*more));
	free(o->touched);
	o->touched = more;
	o->words = words;
	return 0;
}

static int read_tables(struct served *s, const struct use *u, uint64_t *bits)
{
	int err = 0;

	for (uint32_t i = 0; i < u->ranges && !err; i++) {
		const struct range *r = &u->range[i];

		if (first_page(r) < last_page(r))
			err = shmem_world(s)->touched(shmem_pid(s, u->member), r->start, last_page(r) - first_page(r),
						      first_page(r), bits);
	}
	return err;
}

static void keep_walk(struct served *s, struct use *u, uint64_t *bits, uint64_t words)
{
	if (!u->touched)
		s->shmem->walkers++;
	free(u->touched);
	u->touched = bits;
	u->words = words;
	u->shared = s->shmem->sharer[u->member].last_shared;
}

static void walk(struct served *s, struct use *u)
{
	uint64_t words = words_for(u);
	uint64_t *bits = calloc(words + 1, sizeof(*bits));

	if (!bits || make_room(u->object, words)) {
		shmem_say_short(s);
		free(bits);
		return;
	}
	if (read_tables(s, u, bits)) {
		free(bits);
		return;
	}
	take_walk(u->object, u, bits);
	keep_walk(s, u, bits, words);
	shmem_set_walked_pages(s, u->object);
}

static bool is_walk_due(const struct served *s, const struct use *u, uint64_t now_ns)
{
	return !u->touched || (u->shared != s->shmem->sharer[u->member].last_shared &&
			       shmem_is_rested(s, u->walked_ns, u->walk_cost_ns, s->shmem->walkers, now_ns));
}

void shmem_walk(struct served *s, struct use *u, uint64_t now_ns)
{
	struct shmem *sh = s->shmem;
	uint64_t began_ns;

	if (!is_walk_due(s, u, now_ns))
		return;
	if (sh->turn_ns != now_ns)
		sh->walked_ns = 0;
	sh->turn_ns = now_ns;
	if (sh->walked_ns >= TURN_NS) {
		s->watch[u->member].look.period_ns = 0;
		return;
	}
	began_ns = shmem_world(s)->spent_ns();
	walk(s, u);
	u->walked_ns = now_ns;
	u->walk_cost_ns = shmem_world(s)->spent_ns() - began_ns;
	sh->walked_ns += u->walk_cost_ns;
}

void shmem_end_walks(struct served *s, struct object *o)
{
	for (struct use *u = o->first; u && o->must_walk; u = u->younger) {
		if (u->touched)
			s->shmem->walkers--;
		free(u->touched);
		u->touched = NULL;
		u->words = 0;
	}
	free(o->touched);
	o->touched = NULL;
	o->words = o->count = o->floor = 0;
	o->must_walk = false;
}
