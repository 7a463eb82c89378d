/* SPDX-License-Identifier: MIT */
/* Shared objects and their users: a tree of objects, each with its users by age. */
#include "controld/shmem_object.h"

#include "controld/log.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static void make_due(struct served *s, const struct object *o)
{
	if (o->first)
		s->watch[o->first->member].look.due_ns = 1;
}

bool shmem_is_rested(const struct served *s, uint64_t at_ns, uint64_t cost_ns, uint32_t crowd, uint64_t now_ns)
{
	return now_ns - at_ns >= cost_ns * s->shmem->share * crowd;
}

void shmem_say_short(struct served *s)
{
	if (!s->shmem->is_short)
		log_line(LOG_ERR, "no memory to count shared memory");
	s->shmem->is_short = true;
}

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

struct object *shmem_get_object(struct served *s, const struct world_mapping *m)
{
	struct object key = { .device = m->device, .inode = m->inode, .is_sysv = world_is_sysv(m) };
	struct object **found = tfind(&key, &s->shmem->objects, compare);

	return found ? *found : add_object(s, &key, m->path);
}

void shmem_end_object(struct served *s, struct object *o)
{
	(void)tdelete(o, &s->shmem->objects, compare);
	free_object(o);
}

void shmem_set_pages(struct served *s, struct object *o, uint64_t pages)
{
	if (o->pages == pages)
		return;
	o->pages = pages;
	make_due(s, o);
}

void shmem_set_walked_pages(struct served *s, struct object *o)
{
	shmem_set_pages(s, o, o->count > o->floor ? o->count : o->floor);
}

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

struct use *shmem_add_use(struct served *s, uint32_t member, struct object *o, uint64_t now_ns)
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

void shmem_drop_use(struct served *s, struct use *u)
{
	struct object *o = u->object;
	bool has_paid = o->first == u;

	unlink_use(u);
	if (u->touched)
		s->shmem->walkers--;
	if (!o->first)
		shmem_end_object(s, o);
	else if (has_paid)
		make_due(s, o);
	free(u->touched);
	free(u->range);
	free(u);
}

int shmem_add_range(struct use *u, const struct world_mapping *m)
{
	if (served_grow((void **)&u->range, u->ranges, &u->room, sizeof(*u->range)))
		return -ENOMEM;
	u->range[u->ranges++] = (struct range){ .start = m->start, .end = m->end, .offset = m->offset };
	return 0;
}
