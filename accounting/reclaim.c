/* SPDX-License-Identifier: MIT */
/* Asking members for pages, and waiting for room. */
#include "accounting/reclaim.h"

#include "accounting/member.h"
#include "accounting/sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

uint32_t reclaim_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
}

static void wake_all(mc_word32 *word)
{
	mc_add_full(word, 1);
	(void)sys_call6(SYS_futex, (long)word, FUTEX_WAKE, INT_MAX, 0, 0, 0);
}

static void sleep_on(mc_word32 *word, uint32_t seen, const struct timespec *timeout)
{
	(void)sys_call6(SYS_futex, (long)word, FUTEX_WAIT, (long)seen, (long)timeout, 0, 0);
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

static bool is_answered(const struct member *m)
{
	return mc_load_full(&m->ask) == mc_load_full(&m->answered);
}

void reclaim_ask(const struct segment *seg, uint32_t member, uint64_t pages, uint32_t now)
{
	struct member *m = member_of(seg, member);

	if (is_answered(m) || now - mc_load_relaxed(&m->asked_at) >= RECLAIM_FORGIVE_MS)
		mc_store_relaxed(&m->asked_at, now);
	mc_add_full(&m->wanted, pages); /* [O8] */
	wake_all(&m->ask);
}

static uint64_t can_give(const struct member *m)
{
	int64_t pages = (int64_t)mc_load_relaxed(&m->purgeable);

	return pages > 0 ? (uint64_t)pages : 0;
}

/* Its group may be another one than where its pages are charged, after a move: then it gives in vain, once. */
static bool may_be_asked(const struct segment *seg, uint32_t member, uint16_t group, uint32_t except)
{
	const struct member *m = member_of(seg, member);

	return mc_load_relaxed(&m->answers) && member != except &&
	       member_state(mc_load_full(&m->state)) == MEMBER_LIVE &&
	       group_is_within(seg, mc_load_relaxed(&m->group), group);
}

static bool is_worth_waiting(const struct member *m, uint32_t now)
{
	return now - mc_load_relaxed(&m->asked_at) < RECLAIM_PATIENCE_MS;
}

bool reclaim_is_awaited(const struct segment *seg, uint32_t member, uint32_t now)
{
	const struct member *m = member_of(seg, member);

	return mc_load_relaxed(&m->answers) && !is_answered(m) && is_worth_waiting(m, now);
}

bool reclaim_is_awaited_below(const struct segment *seg, uint16_t group, uint32_t except, uint32_t now)
{
	uint32_t mark = member_mark(seg);

	for (uint32_t i = 0; i < mark; i++)
		if (reclaim_is_awaited(seg, i, now) && may_be_asked(seg, i, group, except))
			return true;
	return false;
}

/* The member that has most; MEMBER_NIL: nobody has anything. */
static uint32_t richest(const struct segment *seg, uint16_t group, uint32_t except, uint64_t *ret_pages)
{
	uint32_t mark = member_mark(seg);
	uint32_t found = MEMBER_NIL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < mark; i++) {
		uint64_t pages = can_give(member_of(seg, i));

		if (pages > most && may_be_asked(seg, i, group, except)) {
			most = pages;
			found = i;
		}
	}
	*ret_pages = most;
	return found;
}

/* What it may give if it is worth waiting for. */
static uint64_t ask_one(const struct segment *seg, uint32_t member, uint64_t pages, uint32_t now)
{
	uint64_t has = can_give(member_of(seg, member));

	reclaim_ask(seg, member, pages < has ? pages : has, now);
	return is_worth_waiting(member_of(seg, member), now) ? has : 0;
}

uint64_t reclaim_ask_below(const struct segment *seg, uint16_t group, uint32_t except, uint64_t pages, uint32_t now)
{
	uint32_t mark = member_mark(seg);
	uint64_t most = 0;
	uint32_t first = richest(seg, group, except, &most);
	uint64_t sum = first == MEMBER_NIL ? 0 : ask_one(seg, first, pages, now);

	for (uint32_t i = 0; most && i < mark && sum < pages; i++)
		if (i != first && can_give(member_of(seg, i)) && may_be_asked(seg, i, group, except))
			sum += ask_one(seg, i, pages - sum, now);
	return sum;
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

void reclaim_want_room(const struct segment *seg, unsigned resource, uint16_t group, uint64_t pages)
{
	mc_word32 *waited = &pool_of(seg, resource, group)->waited;
	uint32_t mine = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
	uint32_t seen = mc_load_full(waited);

	mine = mine ? mine : 1;
	do {
		if (seen && seen <= mine)
			return;
	} while (!mc_cas_full(waited, &seen, mine)); /* [O9] */
}

void reclaim_wait(const struct segment *seg, uint32_t seen, uint32_t timeout_ms)
{
	struct timespec t = {
		.tv_sec = (time_t)(timeout_ms / 1000),
		.tv_nsec = (long)(timeout_ms % 1000) * 1000000,
	};

	if (timeout_ms)
		sleep_on(&seg->counters->header.gave, seen, &t);
}

void reclaim_wake(const struct segment *seg)
{
	wake_all(&seg->counters->header.gave);
}

/* Small steps towards the room that is wanted wake nobody. */
void reclaim_wake_at(const struct segment *seg, unsigned resource, uint16_t group)
{
	struct pool *pool = pool_of(seg, resource, group);
	uint32_t waited = mc_load_full(&pool->waited);

	if (waited == 0 || pool_usage(mc_load_full(&pool->word)) + waited > pool_max(seg, resource, group))
		return;
	if (mc_exchange_full(&pool->waited, 0))
		reclaim_wake(seg);
}

/* ---- being asked -------------------------------------------------------------------------------------------- */

void reclaim_listen(const struct segment *seg, uint32_t member, bool on)
{
	mc_store_full(&member_of(seg, member)->answers, on);
}

uint64_t reclaim_take(const struct segment *seg, uint32_t member, uint32_t *ret_ask)
{
	struct member *m = member_of(seg, member);

	*ret_ask = mc_load_full(&m->ask); /* [O8] */
	return mc_exchange_full(&m->wanted, 0);
}

void reclaim_answer(const struct segment *seg, uint32_t member, uint32_t ask)
{
	mc_store_full(&member_of(seg, member)->answered, ask);
	reclaim_wake(seg);
}

void reclaim_sleep(const struct segment *seg, uint32_t member, uint32_t ask)
{
	sleep_on(&member_of(seg, member)->ask, ask, NULL);
}

void reclaim_rouse(const struct segment *seg, uint32_t member)
{
	wake_all(&member_of(seg, member)->ask);
}
