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

/* The file. */
struct history_map {
	uint64_t magic, instance;
	uint64_t size;		       /* of all this: another build's is begun anew */
	uint64_t head[HISTORY_LEVELS]; /* records written; record n lies at n modulo the room */
	uint64_t events;	       /* told so far */
	struct history_record first[FIRST_ROOM];
	struct history_record later[HISTORY_LEVELS - 1][LATER_ROOM];
	struct history_event event[HISTORY_EVENTS_MAX];
};

struct history {
	struct history_map *map;
	uint64_t looked_ns;
	/* By group; pages that no group uses are never touched. */
	struct history_record last[GROUPS_MAX + 1];
	uint32_t event_local[GROUPS_MAX + 1][EVENTS];
	uint32_t met[GROUPS_MAX + 1]; /* generation + 1 of the last group in the slot that was looked at */
	char *path[GROUPS_MAX + 1];   /* NULL: the slot is not known to be used */
	uint64_t coarse[HISTORY_LEVELS][GROUPS_MAX + 1]; /* number + 1 of its last record in that ring */
};

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

static void push(struct history *h, unsigned level, const struct history_record *r);

/* What falls off a ring. */
static void push_coarse(struct history *h, unsigned level, const struct history_record *r)
{
	uint64_t last = h->coarse[level][r->group];
	struct history_record *there = record_at(h->map, level, last - 1);

	if (last && last + room_of[level] > h->map->head[level] && there->group == r->group &&
	    there->generation == r->generation && there->at_ns / bucket_ns[level] == r->at_ns / bucket_ns[level])
		merge(there, r);
	else
		push(h, level, r);
}

static void push(struct history *h, unsigned level, const struct history_record *r)
{
	uint64_t number = h->map->head[level];
	struct history_record *at = record_at(h->map, level, number);

	if (number >= room_of[level] && level + 1 < HISTORY_LEVELS)
		push_coarse(h, level + 1, at);
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

	if (is_merged(h, path, kind, count, now_ns))
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

static void tell_limit(struct served *s, const char *path, const char *key, uint32_t old, uint32_t now, uint64_t now_ns)
{
	char text[120], a[UNITS_BUF], b[UNITS_BUF];

	if (old == now)
		return;
	(void)snprintf(text, sizeof(text), "%s %s, was %s", key,
		       now == UINT32_MAX ? "max" : units_format((uint64_t)now << MC_PAGE_SHIFT, a),
		       old == UINT32_MAX ? "max" : units_format((uint64_t)old << MC_PAGE_SHIFT, b));
	tell(s, path, HISTORY_LIMIT, 1, text, now_ns);
}

/* Where it happened: in the group itself, not in those above. */
static void tell_local(struct served *s, uint16_t group, bool is_known, uint64_t now_ns)
{
	struct history *h = s->history;
	struct pool *pool = pool_of(&s->seg, RESOURCE_MEMORY, group);

	for (unsigned i = 0; i < EVENTS; i++) {
		uint32_t now = (uint32_t)mc_load_relaxed(&pool->event_local[i]);
		uint32_t grown = now - h->event_local[group][i];

		if (is_known && grown && now >= h->event_local[group][i])
			tell(s, h->path[group], (enum history_kind)i, grown, "", now_ns);
		h->event_local[group][i] = now;
	}
}

/* ---- groups ---------------------------------------------------------------------------------------------- */

static uint32_t pages(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

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
	h->met[group] = generation + 1;
	if (group != GROUP_ROOT && h->looked_ns && !h->last[group].is_transient)
		tell(s, path, HISTORY_MADE, 1, "", now_ns);
}

/* Of a group that was made since the last look, that comes first. */
static void meet_early(struct served *s, uint16_t group, uint64_t now_ns)
{
	uint32_t generation = s->seg.limits->group[group].generation;
	struct history *h = s->history;

	if (!h->looked_ns || (h->path[group] && h->last[group].generation == generation))
		return;
	forget_group(s, group, now_ns);
	meet_group(s, group, generation, now_ns);
	memset(h->event_local[group], 0, sizeof(h->event_local[group]));
}

void history_tell(struct served *s, uint16_t group, enum history_kind kind, uint32_t count, const char *text)
{
	uint64_t now_ns = s->daemon->world->now_ns();
	char path[GROUP_PATH_MAX];

	if (!s->history)
		return;
	meet_early(s, group, now_ns);
	(void)group_path(&s->seg, group, path);
	tell(s, path, kind, count, text, now_ns);
}

/* A slot whose group has gone. What happened to it since the last look, perhaps all its life, is
 * there until the slot is used again. */
static void look_after(struct served *s, uint16_t group, uint64_t now_ns)
{
	struct history *h = s->history;
	uint32_t generation = s->seg.limits->group[group].generation;
	char path[GROUP_PATH_MAX];

	if (h->path[group]) {
		if (h->last[group].generation == generation)
			tell_local(s, group, true, now_ns);
		forget_group(s, group, now_ns);
	} else if (h->met[group] != generation + 1 && h->looked_ns) {
		(void)group_path(&s->seg, group, path);
		h->path[group] = path;
		memset(h->event_local[group], 0, sizeof(h->event_local[group]));
		tell_local(s, group, true, now_ns);
		h->path[group] = NULL;
	}
	h->met[group] = generation + 1;
}

static void look_at(struct served *s, uint16_t group, const struct history_record *now, uint64_t now_ns)
{
	struct history *h = s->history;
	struct history_record *last = &h->last[group];
	bool is_known = h->path[group] != NULL;

	if (is_known && last->generation != now->generation) {
		forget_group(s, group, now_ns);
		is_known = false;
	}
	if (!is_known)
		meet_group(s, group, now->generation, now_ns);
	if (!h->path[group])
		return;
	/* A new group's events begin at 0; after a restart, at what they are. */
	if (!is_known && h->looked_ns)
		memset(h->event_local[group], 0, sizeof(h->event_local[group]));
	tell_local(s, group, is_known || h->looked_ns, now_ns);
	if (is_known && last->at_ns) {
		tell_limit(s, h->path[group], "memory.max", last->max, now->max, now_ns);
		tell_limit(s, h->path[group], "memory.high", last->high, now->high, now_ns);
	}
	if (last->at_ns && is_same(last, now))
		return;
	*last = *now;
	last->at_ns = now_ns;
	last->is_transient = s->seg.limits->group[group].transient;
	push(h, 0, last);
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
			if (group_state(&s->seg, (uint16_t)g) == GROUP_LIVE) {
				read_group(s, (uint16_t)g, &snap->pool[g], stat[g], &psi[g], &now);
				look_at(s, (uint16_t)g, &now, now_ns);
			} else {
				look_after(s, (uint16_t)g, now_ns);
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

	if (!h || s != s->daemon->served || now_ns == h->looked_ns)
		return;
	if (h->looked_ns && now_ns < h->looked_ns + SECOND_NS)
		served_want_turn(s, h->looked_ns + SECOND_NS);
	else
		(void)look(s, snap, now_ns);
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

static void begin_anew(struct history_map *m, uint64_t instance)
{
	memset(m->head, 0, sizeof(m->head));
	m->events = 0;
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
	if (!h->map) {
		free(h);
		return -ENOMEM;
	}
	if (h->map->magic != HISTORY_MAGIC || h->map->size != sizeof(*h->map) || h->map->instance != instance)
		begin_anew(h->map, instance);
	s->history = h;
	return 0;
}

void history_close(struct served *s)
{
	struct history *h = s->history;

	if (!h)
		return;
	for (uint32_t g = 0; g <= GROUPS_MAX; g++)
		free(h->path[g]);
	(void)munmap(h->map, sizeof(*h->map));
	free(h);
	s->history = NULL;
}
