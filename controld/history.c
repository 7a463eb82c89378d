/* SPDX-License-Identifier: MIT */
/* What every group held, in time. */
#include "controld/history.h"

#include "accounting/pool.h"
#include "accounting/units.h"
#include "controld/daemon.h"
#include "controld/legacy.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/notify.h"
#include "controld/psi.h"
#include "controld/stall.h"
#include "controld/stat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull
#define HISTORY_MAGIC 0x6d656d63746c4831ull /* "memctlH1" */
#define FIRST_ROOM 32768u
#define LATER_ROOM 16384u
#define CLASS_SWAP CLASSES
#define MERGE_BACK 64 /* events */
#define MERGE_NS (60 * SECOND_NS)

static const uint64_t bucket_ns[HISTORY_LEVELS] = { 0, 15 * SECOND_NS, 240 * SECOND_NS };
static const uint32_t room_of[HISTORY_LEVELS] = { FIRST_ROOM, LATER_ROOM, LATER_ROOM };

/* What has been told of the group in a slot. In the file, so that what happens while there is no daemon is told by the
 * next one, and nothing twice. */
struct history_told {
	uint32_t met; /* its generation + 1; 0: none was seen there */
	uint32_t event[EVENTS];
	uint32_t max, high; /* pages */
};

/* The file. */
struct history_map {
	uint64_t magic, instance;
	uint64_t size;		       /* of all this: another build's is begun anew */
	uint64_t head[HISTORY_LEVELS]; /* records written; record n lies at n modulo the room */
	uint64_t events;	       /* told so far */
	struct history_record first[FIRST_ROOM];
	struct history_record later[HISTORY_LEVELS - 1][LATER_ROOM];
	struct history_event event[HISTORY_EVENTS_MAX];
	struct history_told told[GROUPS_MAX + 1]; /* a hole where no group is */
};

struct history {
	struct history_map *map;
	uint64_t looked_ns;
	uint32_t told_there; /* of map->told: so many have pages */
	bool is_lost;	     /* neither room in the file nor memory: nothing is written any more */
	/* By group; pages that no group uses are never touched. */
	struct history_record last[GROUPS_MAX + 1];
	char *path[GROUPS_MAX + 1];			 /* NULL: the slot is not known to be used */
	uint64_t coarse[HISTORY_LEVELS][GROUPS_MAX + 1]; /* number + 1 of its last record in that ring */
};

/* ---- pages of the file ----------------------------------------------------------------------------------- */

/* False: there is no room for this part of the map, not even in memory. */
static bool make_room(struct served *s, const void *at, size_t size)
{
	struct history *h = s->history;

	if (legacy_populate(at, size))
		return true;
	if (legacy_detach(h->map, sizeof(*h->map), s->seg.dir, HISTORY_NAME)) {
		log_line(LOG_WARNING, "%s is full: the history goes on in memory, the next daemon will not have it",
			 s->seg.dir);
		return true;
	}
	h->is_lost = true;
	log_line(LOG_WARNING, "%s is full: there is no history from now on", s->seg.dir);
	return false;
}

static bool make_room_for_told(struct served *s)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);
	struct history *h = s->history;

	if (groups > h->told_there && !h->is_lost &&
	    make_room(s, &h->map->told[h->told_there], (groups - h->told_there) * sizeof(h->map->told[0])))
		h->told_there = groups;
	return !h->is_lost;
}

/* Records lie close together: one that has bytes of a page that the one before has not is asked for. */
static bool make_room_for_record(struct served *s, const struct history_record *at, uint64_t number)
{
	uintptr_t page = (uintptr_t)at / 4096, last_page = ((uintptr_t)(at + 1) - 1) / 4096;

	if (number && ((uintptr_t)at - 1) / 4096 == page && page == last_page)
		return true;
	return make_room(s, at, sizeof(*at));
}

/* ---- rings ----------------------------------------------------------------------------------------------- */

static struct history_record *record_at(const struct history_map *m, unsigned level, uint64_t number)
{
	uint64_t i = number % room_of[level];

	return (struct history_record *)(uintptr_t)(level ? &m->later[level - 1][i] : &m->first[i]);
}

static uint64_t held(const struct history_record *r)
{
	uint64_t sum = 0;

	for (unsigned c = 0; c < CLASSES; c++)
		sum += r->class[c];
	return sum;
}

/* What is counted goes on; of what was held the higher is kept. */
static void merge(struct history_record *into, const struct history_record *from)
{
	struct history_record kept = *into;

	if (held(from) >= held(into)) {
		*into = *from;
		into->at_ns = kept.at_ns;
		return;
	}
	memcpy(into->event, from->event, sizeof(into->event));
	into->some_us = from->some_us;
	into->full_us = from->full_us;
}

static void push(struct served *s, unsigned level, const struct history_record *r);

/* What falls off a ring. */
static void push_coarse(struct served *s, unsigned level, const struct history_record *r)
{
	struct history *h = s->history;
	uint64_t last = h->coarse[level][r->group];
	struct history_record *there = record_at(h->map, level, last - 1);

	if (last && last + room_of[level] > h->map->head[level] && there->group == r->group &&
	    there->generation == r->generation && there->at_ns / bucket_ns[level] == r->at_ns / bucket_ns[level])
		merge(there, r);
	else
		push(s, level, r);
}

static void push(struct served *s, unsigned level, const struct history_record *r)
{
	struct history *h = s->history;
	uint64_t number = h->map->head[level];
	struct history_record *at = record_at(h->map, level, number);

	if (number >= room_of[level]) {
		if (level + 1 < HISTORY_LEVELS)
			push_coarse(s, level + 1, at);
	} else if (!make_room_for_record(s, at, number)) {
		return;
	}
	*at = *r;
	h->coarse[level][r->group] = number + 1;
	h->map->head[level] = number + 1;
}

/* ---- events ---------------------------------------------------------------------------------------------- */

const char *history_kind_name(enum history_kind kind)
{
	static const char *const names[] = {
#define EVENT(id, name, sentence) name,
#include "accounting/events.def"
#undef EVENT
		"made",
		"removed",
		"limit",
		"report",
	};

	return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "?";
}

/* A report was logged line by line when it was made. */
static bool is_for_log(enum history_kind kind)
{
	return kind == HISTORY_EVENT_OOM || kind == HISTORY_EVENT_OOM_KILL || kind == HISTORY_EVENT_OOM_GROUP_KILL;
}

static void log_event(const char *path, enum history_kind kind, uint32_t count)
{
	if (is_for_log(kind))
		log_group_event(LOG_WARNING, path, history_kind_name(kind), count);
}

/* What goes on and on is told once a minute, with its count: it would crowd out the rest. */
static bool is_merged(struct history *h, const char *path, enum history_kind kind, uint32_t count, uint64_t now_ns)
{
	uint64_t n = h->map->events;

	if (kind >= HISTORY_MADE || kind == HISTORY_EVENT_OOM_KILL || kind == HISTORY_EVENT_OOM_GROUP_KILL)
		return false;
	for (unsigned i = 0; i < MERGE_BACK && i < n; i++) {
		struct history_event *e = &h->map->event[(n - 1 - i) % HISTORY_EVENTS_MAX];

		if (e->at_ns + MERGE_NS < now_ns)
			return false;
		if (e->kind == kind && strcmp(e->text, path) == 0) {
			e->count += count;
			return true;
		}
	}
	return false;
}

static void tell(struct served *s, const char *path, enum history_kind kind, uint32_t count, const char *text,
		 uint64_t now_ns)
{
	struct history *h = s->history;
	struct history_event *e = &h->map->event[h->map->events % HISTORY_EVENTS_MAX];
	int n;

	if (is_merged(h, path, kind, count, now_ns) ||
	    (h->map->events < HISTORY_EVENTS_MAX && !make_room(s, e, sizeof(*e))))
		return;
	e->at_ns = now_ns;
	e->kind = kind;
	e->count = count;
	n = snprintf(e->text, GROUP_PATH_MAX, "%s", path);
	e->path_size = (uint32_t)n + 1;
	(void)snprintf(e->text + e->path_size, sizeof(e->text) - e->path_size, "%s", text ? text : "");
	e->number = ++h->map->events;
	log_event(path, kind, count);
	notify_told(s, path);
}

static uint32_t pages(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void tell_limit(struct served *s, uint16_t group, const char *key, uint32_t *told, uint32_t now, uint64_t now_ns)
{
	char text[120], a[UNITS_BUF], b[UNITS_BUF];

	if (*told == now)
		return;
	(void)snprintf(text, sizeof(text), "%s %s, was %s", key,
		       now == UINT32_MAX ? "max" : units_format((uint64_t)now << MC_PAGE_SHIFT, a),
		       *told == UINT32_MAX ? "max" : units_format((uint64_t)*told << MC_PAGE_SHIFT, b));
	*told = now;
	tell(s, s->history->path[group], HISTORY_LIMIT, 1, text, now_ns);
}

static void tell_limits(struct served *s, uint16_t group, uint64_t now_ns)
{
	struct limits *l = &s->seg.limits->limits[RESOURCE_MEMORY][group];
	struct history_told *t = &s->history->map->told[group];

	tell_limit(s, group, "memory.max", &t->max, pages(mc_load_relaxed(&l->max)), now_ns);
	tell_limit(s, group, "memory.high", &t->high, pages(mc_load_relaxed(&l->high)), now_ns);
}

/* Where it happened: in the group itself, not in those above. */
static void tell_local(struct served *s, uint16_t group, uint64_t now_ns)
{
	struct pool *pool = pool_of(&s->seg, RESOURCE_MEMORY, group);
	struct history *h = s->history;
	struct history_told *t = &h->map->told[group];

	for (unsigned i = 0; i < EVENTS; i++) {
		uint32_t now = (uint32_t)mc_load_relaxed(&pool->event_local[i]);
		uint32_t grown = now - t->event[i];

		if (grown && now >= t->event[i])
			tell(s, h->path[group], (enum history_kind)i, grown, "", now_ns);
		t->event[i] = now;
	}
}

/* ---- groups ---------------------------------------------------------------------------------------------- */

static void read_group(const struct served *s, uint16_t group, const struct snapshot_pool *p, const uint64_t *stat,
		       const struct psi *psi, struct history_record *ret)
{
	static const unsigned row[CLASSES] = {
		[CLASS_ANON] = STAT_ANON,   [CLASS_HEAP] = STAT_HEAP,	  [CLASS_STACK] = STAT_STACK,
		[CLASS_SHMEM] = STAT_SHMEM, [CLASS_PINNED] = STAT_PINNED, [CLASS_OBSERVED] = STAT_OBSERVED
	};
	struct limits *l = &s->seg.limits->limits[RESOURCE_MEMORY][group];
	struct pool *pool = pool_of(&s->seg, RESOURCE_MEMORY, group);

	*ret = (struct history_record){ .group = group, .generation = s->seg.limits->group[group].generation };
	for (unsigned c = 0; c < CLASSES; c++)
		ret->class[c] = pages(stat[row[c]]);
	ret->class[CLASS_SWAP] = pages(pool_usage(mc_load_relaxed(&pool_of(&s->seg, RESOURCE_SWAP, group)->word)));
	ret->max = pages(mc_load_relaxed(&l->max));
	ret->high = pages(mc_load_relaxed(&l->high));
	ret->low = pages(mc_load_relaxed(&l->low));
	ret->members = p->members;
	for (unsigned i = 0; i < EVENTS; i++)
		ret->event[i] = (uint32_t)mc_load_relaxed(&pool->event[i]);
	ret->some_us = psi->line[PSI_SOME].total_ns / 1000;
	ret->full_us = psi->line[PSI_FULL].total_ns / 1000;
}

static bool is_same(const struct history_record *a, const struct history_record *b)
{
	return a->generation == b->generation &&
	       memcmp(a->class, b->class, sizeof(*a) - offsetof(struct history_record, class)) == 0;
}

static void forget_group(struct served *s, uint16_t group, uint64_t now_ns)
{
	struct history *h = s->history;

	if (!h->path[group])
		return;
	if (!h->last[group].is_transient) /* those of every `memctl run` would crowd out what matters */
		tell(s, h->path[group], HISTORY_REMOVED, 1, "", now_ns);
	free(h->path[group]);
	h->path[group] = NULL;
	memset(&h->last[group], 0, sizeof(h->last[group]));
}

/* Nothing has been told of it, and it begins with the limits that it has; its events begin at 0. */
static void begin_told(struct served *s, uint16_t group, uint32_t generation)
{
	struct limits *l = &s->seg.limits->limits[RESOURCE_MEMORY][group];

	s->history->map->told[group] = (struct history_told){ .met = generation + 1,
							      .max = pages(mc_load_relaxed(&l->max)),
							      .high = pages(mc_load_relaxed(&l->high)) };
}

static void meet_group(struct served *s, uint16_t group, uint32_t generation, uint64_t now_ns)
{
	struct history *h = s->history;
	char path[GROUP_PATH_MAX];

	(void)group_path(&s->seg, group, path);
	h->path[group] = strdup(path);
	if (!h->path[group])
		return;
	h->last[group] = (struct history_record){ .group = group, .generation = generation };
	h->last[group].is_transient = s->seg.limits->group[group].transient;
	if (h->map->told[group].met == generation + 1) /* by the last daemon */
		return;
	begin_told(s, group, generation);
	if (group != GROUP_ROOT && !h->last[group].is_transient)
		tell(s, path, HISTORY_MADE, 1, "", now_ns);
}

/* Of a group that was made since the last look, that comes first. False: no memory, later. */
static bool meet(struct served *s, uint16_t group, uint64_t now_ns)
{
	uint32_t generation = s->seg.limits->group[group].generation;
	struct history *h = s->history;

	if (h->path[group] && h->last[group].generation == generation)
		return true;
	forget_group(s, group, now_ns);
	meet_group(s, group, generation, now_ns);
	return h->path[group] != NULL;
}

void history_tell(struct served *s, uint16_t group, enum history_kind kind, uint32_t count, const char *text)
{
	uint64_t now_ns = s->daemon->world->now_ns();
	char path[GROUP_PATH_MAX];

	if (!s->history || !make_room_for_told(s))
		return;
	(void)meet(s, group, now_ns);
	(void)group_path(&s->seg, group, path);
	tell(s, path, kind, count, text, now_ns);
}

/* A slot whose group has gone. What happened to it since the last look, perhaps all its life, is
 * there until the slot is used again. */
static void look_after(struct served *s, uint16_t group, uint64_t now_ns)
{
	struct history *h = s->history;
	uint32_t generation = s->seg.limits->group[group].generation;
	struct history_told *t = &h->map->told[group];
	char path[GROUP_PATH_MAX];

	if (h->path[group]) {
		if (h->last[group].generation == generation)
			tell_local(s, group, now_ns);
		forget_group(s, group, now_ns);
	} else if (t->met != generation + 1) {
		(void)group_path(&s->seg, group, path);
		h->path[group] = path;
		begin_told(s, group, generation);
		tell_local(s, group, now_ns);
		h->path[group] = NULL;
	}
	t->met = generation + 1;
}

/* Tells what has happened to the group in a slot since that was done last. False: there is none. */
static bool follow_group(struct served *s, uint16_t group, uint64_t now_ns)
{
	if (group_state(&s->seg, group) != GROUP_LIVE) {
		look_after(s, group, now_ns);
		return false;
	}
	if (!meet(s, group, now_ns))
		return false;
	tell_local(s, group, now_ns);
	tell_limits(s, group, now_ns);
	return true;
}

static void record(struct served *s, uint16_t group, const struct history_record *now, uint64_t now_ns)
{
	struct history *h = s->history;
	struct history_record *last = &h->last[group];

	if (last->at_ns && is_same(last, now))
		return;
	*last = *now;
	last->at_ns = now_ns;
	last->is_transient = s->seg.limits->group[group].transient;
	push(s, 0, last);
}

static int look(struct served *s, const struct snapshot *snap, uint64_t now_ns)
{
	uint64_t(*stat)[STATS] = calloc(snap->groups, sizeof(*stat));
	struct psi *psi = calloc(snap->groups, sizeof(*psi));
	struct history_record now;

	if (stat && psi) {
		stat_take_all(s, snap, false, stat);
		stall_read_all(s, now_ns, snap->groups, psi);
		for (uint32_t g = 0; g < snap->groups; g++)
			if (follow_group(s, (uint16_t)g, now_ns)) {
				read_group(s, (uint16_t)g, &snap->pool[g], stat[g], &psi[g], &now);
				record(s, (uint16_t)g, &now, now_ns);
			}
		s->history->looked_ns = now_ns;
	}
	free(stat);
	free(psi);
	return stat && psi ? 0 : -ENOMEM;
}

/* A turn sooner than a second after the last look was made for a change, perhaps: one more at the
 * second's end. */
void history(struct served *s, const struct snapshot *snap, uint64_t now_ns)
{
	struct history *h = s->history;

	if (!h || s != s->daemon->served || now_ns == h->looked_ns || !make_room_for_told(s))
		return;
	if (h->looked_ns && now_ns < h->looked_ns + SECOND_NS)
		served_want_turn(s, h->looked_ns + SECOND_NS);
	else
		(void)look(s, snap, now_ns);
}

void history_catch_up(struct served *s)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);
	uint64_t now_ns = s->daemon->world->now_ns();

	if (!s->history || s != s->daemon->served || !make_room_for_told(s))
		return;
	for (uint32_t g = 0; g < groups; g++)
		(void)follow_group(s, (uint16_t)g, now_ns);
}

void history_note(struct served *s)
{
	struct history *h = s->history;
	uint64_t now_ns = s->daemon->world->now_ns();

	if (!h)
		return;
	if (now_ns >= h->looked_ns + SECOND_NS) {
		loop_request_turn(s->daemon);
		return;
	}
	served_want_turn(s, h->looked_ns + SECOND_NS);
	loop_rearm(s->daemon);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

/* A cursor is the level, the coarsest first, and a record's number in it; the present is behind all
 * levels. */
#define LEVEL_SHIFT 56

static bool is_of(const struct history_record *r, uint16_t group, uint32_t generation)
{
	return r->group == group && r->generation == generation && r->at_ns;
}

bool history_next(const struct served *s, uint16_t group, uint64_t *at, struct history_record *ret)
{
	const struct history *h = s->history;
	uint32_t generation = s->seg.limits->group[group].generation;
	unsigned step = (unsigned)(*at >> LEVEL_SHIFT);
	uint64_t number = *at & ((1ull << LEVEL_SHIFT) - 1);

	for (; step < HISTORY_LEVELS; step++, number = 0) {
		unsigned level = HISTORY_LEVELS - 1 - step;
		uint64_t head = h->map->head[level];

		if (head > room_of[level] && number < head - room_of[level])
			number = head - room_of[level];
		for (; number < head; number++)
			if (is_of(record_at(h->map, level, number), group, generation)) {
				*ret = *record_at(h->map, level, number);
				*at = (uint64_t)step << LEVEL_SHIFT | (number + 1);
				return true;
			}
	}
	if (number || !is_of(&h->last[group], group, generation))
		return false;
	*ret = h->last[group];
	ret->at_ns = s->daemon->world->now_ns();
	*at = (uint64_t)HISTORY_LEVELS << LEVEL_SHIFT | 1;
	return true;
}

const struct history_event *history_next_event(const struct served *s, uint64_t *at)
{
	const struct history_map *m = s->history->map;
	uint64_t oldest = m->events > HISTORY_EVENTS_MAX ? m->events - HISTORY_EVENTS_MAX + 1 : 1;

	if (*at < oldest)
		*at = oldest;
	if (*at > m->events)
		return NULL;
	return &m->event[((*at)++ - 1) % HISTORY_EVENTS_MAX];
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static void take_as_told(struct served *s, uint16_t group)
{
	struct pool *pool = pool_of(&s->seg, RESOURCE_MEMORY, group);
	struct history_told *t = &s->history->map->told[group];

	begin_told(s, group, s->seg.limits->group[group].generation);
	for (unsigned i = 0; i < EVENTS; i++)
		t->event[i] = (uint32_t)mc_load_relaxed(&pool->event_local[i]);
}

/* What is there already is not told as if it was new. */
static void begin_anew(struct served *s, uint64_t instance)
{
	struct history_map *m = s->history->map;
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);

	memset(m->head, 0, sizeof(m->head));
	memset(m->told, 0, groups * sizeof(m->told[0]));
	m->events = 0;
	for (uint32_t g = 0; g < groups; g++)
		take_as_told(s, (uint16_t)g);
	m->instance = instance;
	m->size = sizeof(*m);
	m->magic = HISTORY_MAGIC;
}

int history_open(struct served *s)
{
	struct history *h = calloc(1, sizeof(*h));
	uint64_t instance = s->seg.limits->header.instance;

	if (!h)
		return -ENOMEM;
	h->map = legacy_map(s->seg.dir, HISTORY_NAME, sizeof(*h->map));
	s->history = h;
	if (!h->map || !make_room(s, h->map, offsetof(struct history_map, first)) || !make_room_for_told(s)) {
		history_close(s);
		return -ENOMEM;
	}
	if (h->map->magic != HISTORY_MAGIC || h->map->size != sizeof(*h->map) || h->map->instance != instance)
		begin_anew(s, instance);
	return 0;
}

void history_close(struct served *s)
{
	struct history *h = s->history;

	if (!h)
		return;
	for (uint32_t g = 0; g <= GROUPS_MAX; g++)
		free(h->path[g]);
	if (h->map)
		(void)munmap(h->map, sizeof(*h->map));
	free(h);
	s->history = NULL;
}
