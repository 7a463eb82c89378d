/* SPDX-License-Identifier: MIT */
/* What every group held, in time: usage by class, limits, events, pressure.
 *
 * A record is made of a group when something of it has changed, at most once a second, in a turn
 * that is made anyhow; a change seen sooner asks for one turn more, at the end of the second.
 * Nothing changes: nobody wakes.
 *
 * Records lie in three rings of a file in the runtime directory, so the next daemon has them. What
 * falls off a ring goes into the next, where of each quarter of a minute, then of each four
 * minutes, the highest is left. 8 MiB at most in all, and 40 bytes for each group: a second's resolution for an hour with nine
 * groups that change all the time, four minutes' for half an hour with five thousand.
 *
 * What happened to groups (history_event) is kept beside them, the last thousand events, with the
 * report of each kill, and how much of it has been told: what happens while there is no daemon is
 * told by the next one. */
#ifndef CONTROLD_HISTORY_H
#define CONTROLD_HISTORY_H

#include "controld/served.h"

#include <stdbool.h>

#define HISTORY_NAME "history"
#define HISTORY_LEVELS 3
#define HISTORY_EVENTS_MAX 1024u
#define HISTORY_TEXT_MAX 2000

struct snapshot;

/* Pages; UINT32_MAX: no limit. */
struct history_record {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	uint32_t generation;
	uint16_t group;
	uint16_t is_transient;
	uint32_t class[CLASSES + 1]; /* what is held, by class; what is above: swap */
	uint32_t max, high, low;
	uint32_t members;
	uint32_t event[EVENTS];
	uint64_t some_us, full_us; /* memory.pressure, total */
};

enum history_kind {
#define EVENT(id, name, sentence) HISTORY_EVENT_##id,
#include "accounting/events.def"
#undef EVENT
	HISTORY_MADE, /* the first that is not an event of memory.events */
	HISTORY_REMOVED,
	HISTORY_LIMIT,	/* text: "memory.max 64.0 MiB, was max" */
	HISTORY_REPORT, /* text: of a kill */
};

struct history_event {
	uint64_t number; /* 1, 2, ...; 0: empty */
	uint64_t at_ns;
	uint32_t kind;
	uint32_t count;	    /* how often, since it was told last */
	uint32_t path_size; /* with its 0 */
	uint32_t unused;
	char text[HISTORY_TEXT_MAX]; /* the group's path, then what there is to say */
};

/* The stage. `snap` is this turn's. */
void history(struct served *s, const struct snapshot *snap, uint64_t now_ns);

/* Before somebody is told what has happened: all of it up to now is among the events, also what the next look would
 * find. Some 100 ns a group. */
void history_catch_up(struct served *s);

/* Something was changed on request: look at it soon. */
void history_note(struct served *s);

/* -ENOMEM. Takes over what the last daemon left of this segment. */
int history_open(struct served *s);
void history_close(struct served *s);

/* Tells of an event; to the log too, where it is one for people. */
void history_tell(struct served *s, uint16_t group, enum history_kind kind, uint32_t count, const char *text);

/* The record behind cursor *at (0: the oldest) of a group, in order; moves the cursor past it.
 * False: no more. The last is the present state. */
bool history_next(const struct served *s, uint16_t group, uint64_t *at, struct history_record *ret);

/* The event number *at or the first one that is still there after it; moves *at past it. NULL: no
 * more. */
const struct history_event *history_next_event(const struct served *s, uint64_t *at);

/* "oom", "made", ... */
const char *history_kind_name(enum history_kind kind);

#endif
