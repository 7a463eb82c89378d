/* SPDX-License-Identifier: MIT */
/* Shared memory: who pays for which object. */
#include "controld/shmem.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/log.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MS               1000000ull
#define FRESH_NS         (5 * MS)
#define GROWING_NS       (1000 * MS)  /* mappings of who grows are read so often */
#define REREAD_NS        (15000 * MS) /* and of everybody: mappings may change and keep their sum */
#define SHARE            100u         /* times what a walk costs pass until the next one */
#define SHARE_ASKED      4u
#define TELL_SHARE       10u          /* the same for what members tell at their end */
#define TELL_PAGE_NS     100u         /* what that costs them */
#define DEVICE_NS        (10000 * MS) /* a device number may be given to another file system */
#define ASK_AGAIN_NS     (10000 * MS)
#define TURN_NS          (20 * MS) /* for walks: others wait */
#define ASKED_MAX        8         /* users: whose descriptors are searched */
#define DEVICES_MAX      32
#define OBJECT_PAGES_MAX (1ull << 28) /* beyond the first 1 TiB page tables are not compared */

/* Part of an object in a member's addresses. In bytes. */
struct range {
	uint64_t start, end, offset;
};

/* A member that maps an object. */
struct use {
	struct object *object;
	struct use *next;            /* of the same member */
	struct use *older, *younger; /* of the same object */
	uint32_t member;
	bool is_seen; /* in the reading that is under way */
	uint64_t since_ns, start_time;
	struct range *range; /* at least one */
	uint32_t ranges, room;
	uint64_t *touched; /* a bit for each page of the object in its page table, as of the last
			      walk */
	uint64_t words;
	uint64_t shared; /* the member's shared pages then */
	uint64_t walked_ns, walk_cost_ns;
};

struct object {
	dev_t device;
	ino_t inode;
	bool is_sysv;
	bool must_walk; /* nobody tells its size: page tables are compared */
	char *path;
	struct use *first, *last; /* by age: the first pays */
	struct use *current;      /* of the member that is being read */
	uint64_t pages;
	uint64_t asked_ns, ask_again_ns;
	struct world_way way;
	/* Of walked objects only. */
	uint64_t *touched; /* a bit for each page known to be resident */
	uint64_t words;
	uint64_t count; /* of these bits */
	uint64_t floor; /* how many pages there were when somebody told last, less what was lost
			   since */
};

/* What is known of a member; by slot. */
struct sharer {
	struct use *uses;
	uint64_t read_ns, read_cost_ns; /* its mappings */
	uint64_t size, shared;          /* what it had then */
	uint64_t last_shared;           /* and when it was measured last */
	uint64_t seen_shared;           /* and at the last look */
	uint64_t measured_ns, measure_cost_ns;
	uint32_t family; /* tells an image from the next */
	bool is_known;
};

struct device {
	dev_t device;
	bool is_memory;
	uint64_t until_ns;
};

struct shmem {
	void *objects; /* a tree, tsearch(3) */
	struct sharer *sharer;
	uint32_t readers, walkers;   /* sharers and uses, for their parts of a processor */
	unsigned share;              /* SHARE, or SHARE_ASKED while somebody waits */
	uint64_t turn_ns, walked_ns; /* which turn it is, and how long walks took in it */
	struct device device[DEVICES_MAX];
	unsigned devices;
	ino_t limits;  /* the segment's other file */
	bool is_short; /* of memory, and it was said */
};

static const struct world *world_of(const struct served *s)
{
	return s->daemon->world;
}

static pid_t pid_of(const struct served *s, uint32_t member)
{
	return (pid_t)s->watch[member].pid;
}

static void make_due(struct served *s, const struct object *o)
{
	if (o->first)
		s->watch[o->first->member].look.due_ns = 1;
}

/* What was done at `at_ns` by one of `crowd` may be done again. */
static bool is_rested(const struct served *s, uint64_t at_ns, uint64_t cost_ns, uint32_t crowd,
		      uint64_t now_ns)
{
	return now_ns - at_ns >= cost_ns * s->shmem->share * crowd;
}

/* Uncounted until the next reading. */
static void say_short(struct served *s)
{
	if (!s->shmem->is_short)
		log_line(LOG_ERR, "no memory to count shared memory");
	s->shmem->is_short = true;
}

/* ---- objects
 * --------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const struct object *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return (int)x->is_sysv - (int)y->is_sysv;
}

static void free_object(void *object)
{
	struct object *o = object;

	free(o->path);
	free(o->touched);
	free(o);
}

static struct object *add_object(struct served *s, const struct object *key, const char *path)
{
	struct object *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	*o = *key;
	o->path = strdup(path);
	if (!o->path || !tsearch(o, &s->shmem->objects, compare)) {
		free_object(o);
		return NULL;
	}
	return o;
}

static struct object *get_object(struct served *s, const struct world_mapping *m)
{
	struct object key = {.device = m->device, .inode = m->inode, .is_sysv = world_is_sysv(m)};
	struct object **found = tfind(&key, &s->shmem->objects, compare);

	return found ? *found : add_object(s, &key, m->path);
}

static void end_object(struct served *s, struct object *o)
{
	(void)tdelete(o, &s->shmem->objects, compare);
	free_object(o);
}

static void set_pages(struct served *s, struct object *o, uint64_t pages)
{
	if (o->pages == pages)
		return;
	o->pages = pages;
	make_due(s, o);
}

static void set_walked_pages(struct served *s, struct object *o)
{
	set_pages(s, o, o->count > o->floor ? o->count : o->floor);
}

/* ---- uses
 * ------------------------------------------------------------------------------------------------
 */

static bool is_before(const struct use *a, const struct use *b)
{
	return a->since_ns == b->since_ns && a->start_time < b->start_time;
}

/* By age. Only among those seen at the same time, before any of them was measured, is there
 * anything to compare. */
static void link_use(struct object *o, struct use *u)
{
	struct use *after = o->last;

	while (after && is_before(u, after))
		after = after->older;
	u->older = after;
	u->younger = after ? after->younger : o->first;
	*(u->older ? &u->older->younger : &o->first) = u;
	*(u->younger ? &u->younger->older : &o->last) = u;
}

static void unlink_use(const struct use *u)
{
	struct object *o = u->object;

	*(u->older ? &u->older->younger : &o->first) = u->younger;
	*(u->younger ? &u->younger->older : &o->last) = u->older;
}

static struct use *add_use(struct served *s, uint32_t member, struct object *o, uint64_t now_ns)
{
	struct sharer *sharer = &s->shmem->sharer[member];
	struct use *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->object = o;
	u->member = member;
	u->since_ns = now_ns;
	u->start_time = s->watch[member].start_time;
	u->next = sharer->uses;
	sharer->uses = u;
	link_use(o, u);
	make_due(s, o);
	o->asked_ns = o->ask_again_ns = 0;
	return u;
}

static void drop_use(struct served *s, struct use *u)
{
	struct object *o = u->object;
	bool has_paid = o->first == u;

	unlink_use(u);
	if (u->touched)
		s->shmem->walkers--;
	if (!o->first)
		end_object(s, o);
	else if (has_paid)
		make_due(s, o);
	free(u->touched);
	free(u->range);
	free(u);
}

static int add_range(struct use *u, const struct world_mapping *m)
{
	if (served_grow((void **)&u->range, u->ranges, &u->room, sizeof(*u->range)))
		return -ENOMEM;
	u->range[u->ranges++] =
		(struct range){.start = m->start, .end = m->end, .offset = m->offset};
	return 0;
}

/* ---- reading what a member maps
 * -------------------------------------------------------------------------- */

struct reading {
	struct served *s;
	uint32_t member;
	uint64_t now_ns;
};

static bool ask_device(struct served *s, pid_t pid, dev_t device, struct device *d, uint64_t now_ns)
{
	d->device = device;
	d->until_ns = now_ns + DEVICE_NS;
	if (world_of(s)->is_memory(pid, device, &d->is_memory))
		d->is_memory = false;
	return d->is_memory;
}

static bool is_memory(struct served *s, pid_t pid, dev_t device, uint64_t now_ns)
{
	struct shmem *sh = s->shmem;
	struct device *d = sh->device;

	while (d < sh->device + sh->devices && d->device != device)
		d++;
	if (d == sh->device + DEVICES_MAX)
		d = &sh->device[device % DEVICES_MAX];
	else if (d == sh->device + sh->devices)
		sh->devices++;
	else if (now_ns < d->until_ns)
		return d->is_memory;
	return ask_device(s, pid, device, d, now_ns);
}

static bool is_our_own(const struct served *s, const struct world_mapping *m)
{
	return m->device == s->device && (m->inode == s->inode || m->inode == s->shmem->limits);
}

static void take(const struct world_mapping *m, void *to)
{
	struct reading *r = to;
	struct object *o;
	struct use *u;

	if (!is_memory(r->s, pid_of(r->s, r->member), m->device, r->now_ns) || is_our_own(r->s, m))
		return;
	o = get_object(r->s, m);
	if (!o) {
		say_short(r->s);
		return;
	}
	u = o->current ? o->current : add_use(r->s, r->member, o, r->now_ns);
	if (u && add_range(u, m) == 0)
		u->is_seen = true;
	else
		say_short(r->s);
	if (!o->first)
		end_object(r->s, o);
	else
		o->current = u;
}

static void begin_reading(struct sharer *sharer)
{
	for (struct use *u = sharer->uses; u; u = u->next) {
		u->object->current = u;
		u->is_seen = false;
		u->ranges = 0;
	}
}

static void end_reading(struct served *s, struct sharer *sharer)
{
	struct use **at = &sharer->uses;

	while (*at) {
		struct use *u = *at;

		u->object->current = NULL;
		if (u->is_seen) {
			at = &u->next;
			continue;
		}
		*at = u->next;
		drop_use(s, u);
	}
}

/* Where it may not be looked at, it maps nothing that we know of. */
static void read_mappings(struct served *s, uint32_t member, const struct world_resident *has,
			  uint64_t now_ns)
{
	struct sharer *sharer = &s->shmem->sharer[member];
	struct reading reading = {.s = s, .member = member, .now_ns = now_ns};
	uint64_t began_ns = world_of(s)->spent_ns();

	if (!sharer->is_known)
		s->shmem->readers++;
	sharer->is_known = true;
	begin_reading(sharer);
	(void)world_of(s)->mappings(pid_of(s, member), take, &reading);
	end_reading(s, sharer);
	sharer->size = has->size;
	sharer->shared = has->shared;
	sharer->family = mc_load_relaxed(&member_of(&s->seg, member)->family);
	sharer->read_ns = now_ns;
	sharer->read_cost_ns = world_of(s)->spent_ns() - began_ns;
}

static bool must_read(const struct served *s, const struct sharer *sharer,
		      const struct world_resident *has, uint64_t now_ns)
{
	if (!sharer->is_known)
		return true;
	if (!is_rested(s, sharer->read_ns, sharer->read_cost_ns, s->shmem->readers, now_ns))
		return false;
	return has->size != sharer->size || now_ns - sharer->read_ns >= REREAD_NS ||
	       (has->shared != sharer->shared && now_ns - sharer->read_ns >= GROWING_NS);
}

/* ---- walks over page tables
 * ------------------------------------------------------------------------------- */

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
static void take_word(struct object *o, const struct use *u, uint64_t w, uint64_t now,
		      uint64_t mask)
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
			err = world_of(s)->touched(pid_of(s, u->member), r->start,
						   last_page(r) - first_page(r), first_page(r),
						   bits);
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
		say_short(s);
		free(bits);
		return;
	}
	if (read_tables(s, u, bits)) {
		free(bits);
		return;
	}
	take_walk(u->object, u, bits);
	keep_walk(s, u, bits, words);
	set_walked_pages(s, u->object);
}

static bool is_walk_due(const struct served *s, const struct use *u, uint64_t now_ns)
{
	return !u->touched ||
	       (u->shared != s->shmem->sharer[u->member].last_shared &&
		is_rested(s, u->walked_ns, u->walk_cost_ns, s->shmem->walkers, now_ns));
}

/* Who has to wait is looked at soon again. */
static void walk_if_due(struct served *s, struct use *u, uint64_t now_ns)
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
	began_ns = world_of(s)->spent_ns();
	walk(s, u);
	u->walked_ns = now_ns;
	u->walk_cost_ns = world_of(s)->spent_ns() - began_ns;
	sh->walked_ns += u->walk_cost_ns;
}

/* ---- the size of objects
 * ---------------------------------------------------------------------------------- */

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

static void end_walks(struct served *s, struct object *o)
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

/* -ENODATA: nobody tells. Else a mapping that has gone since it was read: another user's is taken.
 */
static int ask_by(struct served *s, struct object *o, const struct use *u)
{
	struct world_mapping m = {.device = o->device, .inode = o->inode, .path = o->path};
	uint64_t pages;
	int err;

	m.start = u->range[0].start;
	m.end = u->range[0].end;
	m.offset = u->range[0].offset;
	err = world_of(s)->object(&m, pid_of(s, u->member), &o->way, &pages);
	if (err)
		return err;
	end_walks(s, o);
	set_pages(s, o, pages);
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
		walk_if_due(s, u, now_ns);
}

/* ---- what others call
 * ------------------------------------------------------------------------------------- */

static bool is_to_be_read(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);

	return mc_load_full(&m->flags) & MEMBER_SHARES ||
	       member_state(mc_load_full(&m->state)) == MEMBER_OBSERVED;
}

bool shmem_is_new(const struct served *s, uint32_t member)
{
	return !s->shmem->sharer[member].is_known &&
	       mc_load_full(&member_of(&s->seg, member)->flags) & MEMBER_SHARES;
}

bool shmem_is_stale(const struct served *s, uint32_t member)
{
	const struct sharer *sharer = &s->shmem->sharer[member];

	return sharer->uses &&
	       sharer->family != mc_load_relaxed(&member_of(&s->seg, member)->family);
}

/* An object that somebody else pays for is only of interest when this one may have changed it. */
static void measure_all(struct served *s, uint32_t member, uint64_t now_ns)
{
	struct sharer *sharer = &s->shmem->sharer[member];
	bool has_moved = sharer->read_ns == now_ns || sharer->seen_shared != sharer->last_shared;
	uint64_t began_ns = world_of(s)->spent_ns();

	sharer->last_shared = sharer->seen_shared;
	for (struct use *u = sharer->uses; u; u = u->next)
		if (has_moved || u->object->first == u ||
		    (u->object->must_walk && u->shared != sharer->last_shared))
			measure(s, u, now_ns);
	sharer->measured_ns = now_ns;
	sharer->measure_cost_ns = world_of(s)->spent_ns() - began_ns;
}

/* Who shares and grows is looked at soon again, also where another one pays. */
void shmem_look(struct served *s, uint32_t member, const struct world_resident *has, bool asked,
		uint64_t now_ns)
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
	if (must_read(s, sharer, has, now_ns))
		read_mappings(s, member, has, now_ns);
	if (is_rested(s, sharer->measured_ns, sharer->measure_cost_ns, s->shmem->readers, now_ns))
		measure_all(s, member, now_ns);
}

static const struct range *find_range(const struct sharer *sharer, uint64_t start,
				      struct object **ret)
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
static const struct range *find_told(const struct served *s, uint32_t member, uint64_t start,
				     struct object **ret)
{
	uint32_t family = mc_load_relaxed(&member_of(&s->seg, member)->family);
	const struct range *r = find_range(&s->shmem->sharer[member], start, ret);

	if (s->shmem->sharer[member].is_known)
		return r;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL && !r;
	     i = served_next_member(s, i + 1))
		if (mc_load_relaxed(&member_of(&s->seg, i)->family) == family)
			r = find_range(&s->shmem->sharer[i], start, ret);
	return r;
}

static void learn(struct served *s, uint32_t member, const struct told *told)
{
	uint64_t start = mc_load_acquire(&told->start);
	uint64_t pages = mc_load_relaxed(&told->pages);
	uint64_t now_ns = world_of(s)->now_ns();
	struct object *o = NULL;
	const struct range *r = start ? find_told(s, member, start, &o) : NULL;
	uint64_t size = r ? (r->end - r->start) >> MC_PAGE_SHIFT : 0;

	if (!r || !o->must_walk || pages > size)
		return;
	o->floor = pages;
	set_walked_pages(s, o);
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
		drop_use(s, u);
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
