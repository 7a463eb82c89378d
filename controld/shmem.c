/* SPDX-License-Identifier: MIT */
/* Shared memory: who pays for which object, and how large it is. */
#include "controld/shmem.h"

#include "accounting/member.h"
#include "controld/shmem_object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MS 1000000ull
#define FRESH_NS (5 * MS)
#define ASK_AGAIN_NS (10000 * MS)
#define SHARE 100u /* times what a walk costs pass until the next one */
#define SHARE_ASKED 4u
#define TELL_SHARE 10u	  /* the same for what members tell at their end */
#define TELL_PAGE_NS 100u /* what that costs them */
#define ASKED_MAX 8	  /* users: whose descriptors are searched */

/* ---- the size of objects ------------------------------------------------------------------------------------- */

/* Members are asked to tell at their end what they know; not all of them when many end at once. */
static void set_tell_at(const struct served *s, uint64_t at_ns)
{
	mc_store_relaxed(&s->seg.limits->header.tell_at, (uint32_t)(at_ns / MS) | 1);
}

/* What was answered before stays. */
static void begin_walks(struct served *s, struct object *o, uint64_t now_ns)
{
	o->ask_again_ns = now_ns + ASK_AGAIN_NS;
	if (o->must_walk)
		return;
	o->must_walk = true;
	o->floor = o->pages;
	if (!mc_load_relaxed(&s->seg.limits->header.tell_at))
		set_tell_at(s, now_ns);
}

/* -ENODATA: nobody tells. Else a mapping that has gone since it was read: another user's is taken.
 */
static int ask_by(struct served *s, struct object *o, const struct use *u)
{
	struct world_mapping m = { .device = o->device, .inode = o->inode, .path = o->path };
	uint64_t pages;
	int err;

	m.start = u->range[0].start;
	m.end = u->range[0].end;
	m.offset = u->range[0].offset;
	err = shmem_world(s)->object(&m, shmem_pid(s, u->member), &o->way, &pages);
	if (err)
		return err;
	shmem_end_walks(s, o);
	shmem_set_pages(s, o, pages);
	return 0;
}

static void ask(struct served *s, struct object *o, uint64_t now_ns)
{
	unsigned asked = 0;
	bool nobody_tells = true;

	if (o->asked_ns && now_ns - o->asked_ns < FRESH_NS)
		return;
	o->asked_ns = now_ns;
	for (const struct use *u = o->first; u && asked < ASKED_MAX; u = u->younger, asked++) {
		int err = ask_by(s, o, u);

		if (!err)
			return;
		nobody_tells = nobody_tells && err == -ENODATA;
	}
	if (nobody_tells)
		begin_walks(s, o, now_ns);
}

static void measure(struct served *s, struct use *u, uint64_t now_ns)
{
	struct object *o = u->object;

	if (!o->must_walk || now_ns >= o->ask_again_ns)
		ask(s, o, now_ns);
	if (o->must_walk)
		shmem_walk(s, u, now_ns);
}

/* ---- what others call ---------------------------------------------------------------------------------------- */

static bool is_to_be_read(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);

	return mc_load_full(&m->flags) & MEMBER_SHARES || member_state(mc_load_full(&m->state)) == MEMBER_OBSERVED;
}

bool shmem_is_new(const struct served *s, uint32_t member)
{
	return !s->shmem->sharer[member].is_known && mc_load_full(&member_of(&s->seg, member)->flags) & MEMBER_SHARES;
}

bool shmem_is_stale(const struct served *s, uint32_t member)
{
	const struct sharer *sharer = &s->shmem->sharer[member];

	return sharer->uses && sharer->family != mc_load_relaxed(&member_of(&s->seg, member)->family);
}

/* An object that somebody else pays for is only of interest when this one may have changed it. */
static void measure_all(struct served *s, uint32_t member, uint64_t now_ns)
{
	struct sharer *sharer = &s->shmem->sharer[member];
	bool has_moved = sharer->read_ns == now_ns || sharer->seen_shared != sharer->last_shared;
	uint64_t began_ns = shmem_world(s)->spent_ns();

	sharer->last_shared = sharer->seen_shared;
	for (struct use *u = sharer->uses; u; u = u->next)
		if (has_moved || u->object->first == u || (u->object->must_walk && u->shared != sharer->last_shared))
			measure(s, u, now_ns);
	sharer->measured_ns = now_ns;
	sharer->measure_cost_ns = shmem_world(s)->spent_ns() - began_ns;
}

/* Who shares and grows is looked at soon again, also where another one pays. */
void shmem_look(struct served *s, uint32_t member, const struct world_resident *has, bool asked, uint64_t now_ns)
{
	struct sharer *sharer = &s->shmem->sharer[member];

	s->shmem->share = asked ? SHARE_ASKED : SHARE;
	if (!is_to_be_read(s, member) || shmem_is_stale(s, member))
		shmem_forget(s, member);
	if (!is_to_be_read(s, member))
		return;
	if (!sharer->is_known || has->shared != sharer->seen_shared)
		s->watch[member].look.period_ns = 0;
	sharer->seen_shared = has->shared;
	if (shmem_must_read(s, sharer, has, now_ns))
		shmem_read(s, member, has, now_ns);
	if (shmem_is_rested(s, sharer->measured_ns, sharer->measure_cost_ns, s->shmem->readers, now_ns))
		measure_all(s, member, now_ns);
}

static const struct range *find_range(const struct sharer *sharer, uint64_t start, struct object **ret)
{
	for (const struct use *u = sharer->uses; u; u = u->next)
		for (uint32_t i = 0; i < u->ranges; i++)
			if (u->range[i].start == start && u->range[i].offset == 0) {
				*ret = u->object;
				return &u->range[i];
			}
	return NULL;
}

/* Who ended before he was ever looked at had the same there as the others that came of his image.
 */
static const struct range *find_told(const struct served *s, uint32_t member, uint64_t start, struct object **ret)
{
	uint32_t family = mc_load_relaxed(&member_of(&s->seg, member)->family);
	const struct range *r = find_range(&s->shmem->sharer[member], start, ret);

	if (s->shmem->sharer[member].is_known)
		return r;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL && !r; i = served_next_member(s, i + 1))
		if (mc_load_relaxed(&member_of(&s->seg, i)->family) == family)
			r = find_range(&s->shmem->sharer[i], start, ret);
	return r;
}

static void learn(struct served *s, uint32_t member, const struct told *told)
{
	uint64_t start = mc_load_acquire(&told->start);
	uint64_t pages = mc_load_relaxed(&told->pages);
	uint64_t now_ns = shmem_world(s)->now_ns();
	struct object *o = NULL;
	const struct range *r = start ? find_told(s, member, start, &o) : NULL;
	uint64_t size = r ? (r->end - r->start) >> MC_PAGE_SHIFT : 0;

	if (!r || !o->must_walk || pages > size)
		return;
	o->floor = pages;
	shmem_set_walked_pages(s, o);
	set_tell_at(s, now_ns + size * TELL_PAGE_NS * TELL_SHARE);
}

void shmem_learn(struct served *s, uint32_t member)
{
	for (unsigned i = 0; s->shmem && i < MEMBER_TOLD_MAX; i++)
		learn(s, member, &member_of(&s->seg, member)->told[i]);
}

uint64_t shmem_paid(const struct served *s, uint32_t member)
{
	uint64_t pages = 0;

	for (const struct use *u = s->shmem->sharer[member].uses; u; u = u->next)
		if (u->object->first == u)
			pages += u->object->pages;
	return pages;
}

void shmem_forget(struct served *s, uint32_t member)
{
	struct sharer *sharer = s->shmem ? &s->shmem->sharer[member] : NULL;

	if (!sharer || !sharer->is_known)
		return;
	while (sharer->uses) {
		struct use *u = sharer->uses;

		sharer->uses = u->next;
		shmem_drop_use(s, u);
	}
	memset(sharer, 0, sizeof(*sharer));
	s->shmem->readers--;
}

int shmem_open(struct served *s)
{
	char path[sizeof(s->seg.dir) + sizeof("/" SEGMENT_LIMITS_NAME)];
	struct stat st;

	s->shmem = calloc(1, sizeof(*s->shmem));
	if (!s->shmem)
		return -ENOMEM;
	s->shmem->sharer = calloc(MEMBERS_MAX, sizeof(*s->shmem->sharer));
	if (!s->shmem->sharer)
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "%s/%s", s->seg.dir, SEGMENT_LIMITS_NAME);
	if (stat(path, &st) == 0)
		s->shmem->limits = st.st_ino;
	mc_store_relaxed(&s->seg.limits->header.tell_at, 0);
	return 0;
}

void shmem_close(struct served *s)
{
	if (!s->shmem)
		return;
	for (uint32_t i = 0; s->shmem->sharer && i < MEMBERS_MAX; i++)
		shmem_forget(s, i);
	free(s->shmem->sharer);
	free(s->shmem);
	s->shmem = NULL;
}
