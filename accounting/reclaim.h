/* SPDX-License-Identifier: MIT */
/* Asking members for pages, and waiting for room: what is charged but unused goes back to the limit.
 *
 * contract      anybody may ask any member, at any time, signal handlers too. A member that listens (one thread,
 *               preload/helper.c) gives what it can and answers. Nobody depends on an answer: each wait has an
 *               end, and who has left an ask unanswered for RECLAIM_PATIENCE_MS is not waited for again before
 *               RECLAIM_FORGIVE_MS are over, whoever asks.
 * ordering [O8] ask:  wanted += n, then ask++.            listen:  ask is read, then wanted is taken.
 *          [O9] wait: pool.waited = n, then usage read.   uncharge: usage swapped, then pool.waited read.
 * crash table   died after          left behind            who puts it right
 *               asking              an ask too many        the next answer
 *               beginning to listen answers = 1            asks go unanswered until the slot is settled
 *               pool.waited = n     one wake-up too many   whoever is first to make so much room clears it
 * price         an uncharge: one load a level. An ask: a look at all members, and one wake-up for each that is asked.
 */
#ifndef ACCOUNTING_RECLAIM_H
#define ACCOUNTING_RECLAIM_H

#include "accounting/segment.h"

#define RECLAIM_PATIENCE_MS 200u
#define RECLAIM_FORGIVE_MS 4000u

/* ---- asking ---------------------------------------------------------------------------------------------- */

/* Milliseconds of CLOCK_MONOTONIC; the coarse clock's, 10 ns. */
uint32_t reclaim_now(void);

/* Asks one member for pages. */
void reclaim_ask(const struct segment *seg, uint32_t member, uint64_t pages, uint32_t now);

/* The same because `group` met its limit: what comes of it is an effort of this group, see effort.h. Of several at
 * once the last one's. */
void reclaim_ask_for(const struct segment *seg, uint16_t group, uint32_t member, uint64_t pages, uint32_t now);

/* Asks members at or below `group` that listen and have something, `except` left out: the one that has most if
 * that is enough, else as many as it takes. Returns what those may give who are worth waiting for. */
uint64_t reclaim_ask_below(const struct segment *seg, uint16_t group, uint32_t except, uint64_t pages, uint32_t now);

/* Asks those there that do not listen and have a little at least: they give when they next enter malloc or free. */
uint32_t reclaim_ask_silent_below(const struct segment *seg, uint16_t group, uint32_t except, uint32_t now);
bool reclaim_is_silent_awaited_below(const struct segment *seg, uint16_t group, uint32_t except, uint32_t now);
#define RECLAIM_SILENT_LEAST 64u /* pages */

/* True when somebody asked this member, which has no thread that listens. */
static inline bool reclaim_is_asked_in_vain(const struct member *m)
{
	return mc_load_relaxed(&m->ask) != mc_load_relaxed(&m->answered) && !mc_load_relaxed(&m->answers);
}

/* Asks all there that have shrinkers, each for all of it; returns how many of them are worth waiting for. */
uint32_t reclaim_ask_shrinkers_below(const struct segment *seg, uint16_t group, uint32_t except, uint64_t pages,
				     uint32_t now);

/* True while a member was asked that is worth waiting for. */
bool reclaim_is_awaited(const struct segment *seg, uint32_t member, uint32_t now);
bool reclaim_is_awaited_below(const struct segment *seg, uint16_t group, uint32_t except, uint32_t now);

/* ---- asking for what is not used: paging out, after all else ----------------------------------------------- */

/* Longer than for what is free: whether a page is used shows after a while only. */
#define RECLAIM_COLD_PATIENCE_MS 2000u

/* Pages of a member that may be paged out: what it holds where swappiness is not 0 (RECLAIM_SWAPPINESS_OWN: its
 * group's), not more than memory.swap.max leaves there and above; 0 where everything is charged that was asked for, for it
 * would not count. Does not ask whether there is swap, nor whether it listens. */
#define RECLAIM_SWAPPINESS_OWN (-1)
uint64_t reclaim_may_page_out(const struct segment *seg, uint32_t member, int swappiness);

void reclaim_ask_cold(const struct segment *seg, uint32_t member, uint64_t pages, uint32_t now);

/* Asks all at or below `group` that listen and may, each for its part. Returns what those hold; 0 where the group's
 * limit is memsw's, for which it would make no difference. */
uint64_t reclaim_ask_cold_below(const struct segment *seg, uint16_t group, uint64_t pages, uint32_t now);

/* True while a member that listens is at it. */
bool reclaim_is_cold_awaited(const struct segment *seg, uint32_t member, uint32_t now);
bool reclaim_is_cold_awaited_below(const struct segment *seg, uint16_t group, uint32_t now);

/* ---- waiting --------------------------------------------------------------------------------------------- */

/* Read before looking whether there is room. */
static inline uint32_t reclaim_gave(const struct segment *seg)
{
	return mc_load_full(&seg->counters->header.gave);
}

/* Whoever makes room for `pages` in this pool from now on wakes those who wait. To be said anew before each look
 * at the pool. */
void reclaim_want_room(const struct segment *seg, unsigned resource, uint16_t group, uint64_t pages);

/* Sleeps until the number is not `seen` any more, at most so long (0: not at all). May return early. */
void reclaim_wait(const struct segment *seg, uint32_t seen, uint32_t timeout_ms);

/* Wakes all who wait: a limit or a policy has changed, an ask was answered. */
void reclaim_wake(const struct segment *seg);

/* The pool's usage has sunk. */
void reclaim_wake_at(const struct segment *seg, unsigned resource, uint16_t group);
static inline void reclaim_made_room(const struct segment *seg, unsigned resource, uint16_t group)
{
	if (__builtin_expect(mc_load_full(&seg->counters->pool[resource][group].waited) != 0, 0)) /* [O9] */
		reclaim_wake_at(seg, resource, group);
}

/* ---- being asked: the member's own thread ------------------------------------------------------------------- */

/* From now on, and no longer. */
void reclaim_listen(const struct segment *seg, uint32_t member, bool on);

/* What is wanted now; *ret_ask is what to answer. */
uint64_t reclaim_take(const struct segment *seg, uint32_t member, uint32_t *ret_ask);

/* Says that this ask was met, and wakes those who wait for it. */
void reclaim_answer(const struct segment *seg, uint32_t member, uint32_t ask);

/* The same for what is not used. */
uint64_t reclaim_take_cold(const struct segment *seg, uint32_t member, uint32_t *ret_ask);
void reclaim_answer_cold(const struct segment *seg, uint32_t member, uint32_t ask);

/* Sleeps until somebody asks again, or reclaim_rouse; at most so long (RECLAIM_FOR_EVER). */
#define RECLAIM_FOR_EVER UINT32_MAX
void reclaim_sleep(const struct segment *seg, uint32_t member, uint32_t ask, uint32_t timeout_ms);
void reclaim_rouse(const struct segment *seg, uint32_t member);

/* A slot begins anew. */
static inline void reclaim_forget(struct member *m)
{
	mc_store_relaxed(&m->answers, 0);
	mc_store_relaxed(&m->wanted, 0);
	mc_store_relaxed(&m->scanned, 0);
	mc_store_relaxed(&m->reclaimed, 0);
	mc_store_relaxed(&m->stall_ns, 0);
	mc_store_full(&m->answered, mc_load_full(&m->ask));
	mc_store_relaxed(&m->cold_wanted, 0);
	mc_store_full(&m->cold_answered, mc_load_full(&m->cold_ask));
	mc_store_relaxed(&m->device_gives, 0);
	mc_store_relaxed(&m->device_wanted, 0);
	mc_store_relaxed(&m->device_regions, 0);
	mc_store_full(&m->device_answered, mc_load_full(&m->device_ask));
}

#endif
