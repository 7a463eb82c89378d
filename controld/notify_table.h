/* SPDX-License-Identifier: MIT */
/* The notifier's own: its tables, under its lock. */
#ifndef CONTROLD_NOTIFY_TABLE_H
#define CONTROLD_NOTIFY_TABLE_H

#include "controld/beacon.h"
#include "controld/daemon.h"
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

/* ---- notify_table.c: one list per owner and one per group ------------------------------------------------------- */

/* Not in any list yet, without a beacon. NULL: no memory. */
struct subscription *notify_make(struct notify *n, uint16_t group, const char *event, const struct event_spec *spec);

/* NULL: this owner has no such subscription. */
struct subscription *notify_find(struct notify *n, uint32_t id, const void *owner);

/* Where the pointer to the owner stands; to NULL where there is none. */
struct owner **notify_owner_place(struct notify *n, const void *key);

/* Found or made. NULL: no memory. */
struct owner *notify_get_owner(struct notify *n, const void *key);
struct watched *notify_get_watched(struct notify *n, uint16_t group);
struct meter *notify_get_meter(struct watched *w, const struct subscription *sub);

bool notify_has_meter(const struct subscription *sub);
struct meter *notify_find_meter(const struct watched *w, const struct subscription *sub);

void notify_link_group(struct watched *w, struct subscription *sub);
void notify_link_owner(struct notify *n, struct owner *o, struct subscription *sub);

/* The last one of a group takes the group's meters along. */
void notify_unlink_group(struct notify *n, struct subscription *sub);
void notify_unlink_owner(struct notify *n, struct subscription *sub);

void notify_free_watched(struct notify *n, struct watched *w);
void notify_free_owner_if_idle(struct notify *n, const void *key);

/* ---- notify_kinds.c ---------------------------------------------------------------------------------------------- */

/* From here on it counts; what was before is no news to it. Negative errno: notify_end all the same. */
int notify_begin(struct notify *n, struct watched *w, struct subscription *sub, const struct event_spec *spec);

void notify_end(struct notify *n, struct subscription *sub);

/* ---- notify.c ------------------------------------------------------------------------------------------------ */

static inline uint64_t notify_now_ns(const struct notify *n)
{
	return n->served->daemon->world->now_ns();
}

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
