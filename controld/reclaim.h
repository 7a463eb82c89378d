/* SPDX-License-Identifier: MIT */
/* Making members of a group give memory back, while the daemon goes on with other things.
 *
 * A reclaim looks at who has what (the heap's unused pages, told by member.purgeable), divides what is wanted among the
 * groups (plan.h), asks their members, the largest first, and waits for answers (accounting/reclaim.h). What is
 * missing then is asked for again, of those who gave all they were asked for; then of those who have no helper, which
 * give when they next enter malloc: they are waited for RECLAIM_SILENT_NS, and what they give later counts as long as
 * there is anything else to wait for; then everybody who listens is asked, for registered shrinkers do not say what
 * they have; at last, and as long as anything comes of it, what they do not use is paged out (preload/cold.h; of those
 * who cannot do so themselves by the daemon, pager.h). It is over when enough was given, when nobody is left to be
 * asked, or after RECLAIM_LIMIT_NS: a stopped member holds up nobody longer than that, and is not asked while an older
 * ask is unanswered. What was given is what the members say (member.reclaimed), whoever gave it: what they free and take
 * by themselves meanwhile does not count. */
#ifndef CONTROLD_RECLAIM_H
#define CONTROLD_RECLAIM_H

#include "accounting/reclaim.h"
#include "controld/proto.h"
#include "controld/served.h"
#include "controld/softlimit.h"

#define RECLAIM_LIMIT_NS 1000000000ull
#define RECLAIM_SILENT_NS 50000000ull
#define RECLAIM_COLD_LIMIT_NS 2000000000ull /* without anything coming of it */

struct reclaim;

/* Called once at its end, unless it was given up; the reclaim goes afterwards. */
typedef void reclaim_done(struct served *s, struct reclaim *r, void *arg);

enum reclaim_phase { RECLAIM_UNUSED, RECLAIM_SILENT, RECLAIM_SHRINKERS, RECLAIM_COLD, RECLAIM_OVER };

struct reclaim_asked {
	uint32_t member, generation;
	uint32_t ask;
	uint64_t pages;
	uint64_t scanned, reclaimed; /* the member's counters before */
	bool is_open;
	bool by_daemon; /* pager.h */
	bool is_silent; /* it has no helper: stays open in later rounds */
};

struct reclaim {
	struct reclaim *next;
	uint16_t group;
	uint32_t generation; /* the group's */
	uint64_t wanted;     /* pages */
	uint64_t got, scanned;
	unsigned asks;
	struct softlimit *soften; /* NULL: as plan_take has it; else one run over this tree, */
	int node;		  /* of what lies on this memory node; NUMA_ANY */
	enum reclaim_phase phase;
	bool is_for_limit; /* what it takes counts as pressure on the group; set by who begins it */
	uint64_t end_ns, rest_ns;
	uint64_t silent_until_ns;    /* so long those are waited for that have no helper */
	uint64_t coming;	     /* in RECLAIM_COLD: what has come of the open asks at the last look */
	int swappiness;		     /* RECLAIM_SWAPPINESS_OWN, or instead of the groups' */
	struct reclaim_asked *asked; /* of this round */
	uint32_t asked_count, asked_room;
	uint8_t *spent;		/* a bit for each member that has no more */
	reclaim_done *done;	/* NULL: nobody is told */
	void *arg;		/* goes with it, by free() */
	struct promise promise; /* who waits for its end */
};

/* Begins one: asks at once. `done` is called from a later turn, even when it is over already. -ENOMEM; `arg` remains
 * the caller's then. */
int reclaim_begin(struct served *s, uint16_t group, uint64_t pages, int swappiness, reclaim_done *done, void *arg,
		  struct reclaim **ret);

/* The same for a run over the groups above their soft limits that have pages on the node (NUMA_ANY). */
int reclaim_soften(struct served *s, struct softlimit *tree, int node, reclaim_done *done, void *arg,
		   struct reclaim **ret);

/* True when the group is still the one that it began with. */
bool reclaim_is_of(const struct served *s, const struct reclaim *r);

/* Gives it up: what was asked for still comes, but nobody is told. */
void reclaim_cancel(struct served *s, struct reclaim *r);

/* The stage: takes answers. */
void reclaim_turn(struct served *s, uint64_t now_ns);

/* The connection has closed: nobody waits for its reclaims, which go on. */
void reclaim_release(struct served *s, const void *holder);

/* All of them, without a word. */
void reclaim_forget_all(struct served *s);

#endif
