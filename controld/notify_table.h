/* SPDX-License-Identifier: MIT */
/* The notifier's own: its tables, under its lock. */
#ifndef CONTROLD_NOTIFY_TABLE_H
#define CONTROLD_NOTIFY_TABLE_H

#include "controld/beacon.h"
#include "controld/notify.h"
#include "controld/threshold.h"

#include <pthread.h>

#define CHAINS 16384u

struct owner {
	struct owner *next; /* of the chain */
	const void *key;
	struct subscription *first; /* the newest */
};

struct subscription {
	struct subscription *next, **at;	 /* of the group; none once it is removed */
	struct subscription *next_own, **at_own; /* of the owner */
	struct subscription *next_id;		 /* of the chain */
	struct owner *owner;
	struct watched *watched; /* NULL: the group was removed */
	struct beacon *beacon;	 /* NULL: the same */
	struct psi_trigger *trigger;
	uint64_t units, fired;
	uint32_t id;
	uint8_t kind, level, mode, resource;
	char text[]; /* the group's path, 0, the event, 0 */
};

/* Thresholds of one counter of a group. */
struct meter {
	struct meter *next;
	unsigned resource;
	bool is_memsw;
	struct thresholds thresholds;
};

/* A group with subscriptions. */
struct watched {
	struct subscription *first;
	struct meter *meters;
	uint64_t events_seen; /* the sum of its events */
	uint32_t count;
	uint16_t group;
};

/* Of any group: subscribers may be below. */
struct oom_state {
	uint64_t refused_seen; /* event_local[OOM], as it was */
	uint64_t refused_ns;   /* when it was seen to have grown */
	uint32_t generation;   /* the group's, + 1 */
	bool is_under;	       /* somebody is killed, or waits */
};

struct notify {
	struct served *served;
	pthread_mutex_t lock;
	pthread_t thread;
	bool is_running;
	mc_word32 stop;
	struct beacons beacons;
	uint64_t notified;
	uint32_t last_id, count;
	uint32_t kinds[EVENT_KINDS];
	bool must_look_again; /* a mark was left standing until a time has come */
	uint64_t again_ns;
	struct owner *owner[CHAINS];
	struct subscription *by_id[CHAINS];
	struct watched *watched[GROUPS_MAX + 1];
	struct oom_state oom[GROUPS_MAX + 1];
	uint64_t quiet_until_ns[MARKS][GROUPS_MAX + 1];
};

/* ---- notify.c ------------------------------------------------------------------------------------------------ */

static inline void notify_fire(struct notify *n, struct subscription *sub)
{
	sub->fired++;
	n->notified++;
	beacon_light(&n->beacons, sub->beacon);
}

/* ---- notify_look.c: what is looked at; under the lock ------------------------------------------------------------ */

/* Fires what was crossed, moves the arming words. */
void notify_look_crossed(struct notify *n, uint16_t group);

/* What a meter shows now. */
uint64_t notify_usage(const struct notify *n, const struct watched *w, const struct meter *m);

void notify_look_counted(struct notify *n, uint16_t group, uint64_t now_ns);
void notify_look_strained(struct notify *n, uint16_t group);

/* The sum of a group's events. */
uint64_t notify_events(const struct notify *n, uint16_t group);

bool notify_is_under_oom(struct notify *n, uint16_t group);

/* Ends the episodes of those who have no reason to wait any more. */
void notify_look_for_room(struct notify *n);
void notify_begin_oom(struct notify *n, uint16_t group, bool has_begun);

/* Looks at all that is marked. */
void notify_look(struct notify *n, uint64_t now_ns);

#endif
