/* SPDX-License-Identifier: MIT */
/* Asking members for pages, and waiting for room. */
#include "accounting/reclaim.h"

#include "accounting/clock.h"
#include "accounting/mark.h"
#include "accounting/member.h"
#include "accounting/sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

uint32_t reclaim_now(void)
{
	return clock_now_ms();
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

void reclaim_ask_for(const struct segment *seg, uint16_t group, uint32_t member, uint64_t pages, uint32_t now)
{
	mc_store_relaxed(&member_of(seg, member)->asked_for, group + 1u);
	reclaim_ask(seg, member, pages, now);
}

static uint64_t can_give(const struct member *m)
{
	int64_t pages = (int64_t)mc_load_relaxed(&m->purgeable);

	return (pages > 0 ? (uint64_t)pages : 0) + mc_load_relaxed(&m->droppable);
}

/* Its group may be another one than where its pages are charged, after a move: then it gives in vain, once. */
static bool is_there(const struct segment *seg, uint32_t member, uint16_t group, uint32_t except)
{
	const struct member *m = member_of(seg, member);

	return member != except && member_state(mc_load_full(&m->state)) == MEMBER_LIVE &&
	       group_is_within(seg, mc_load_relaxed(&m->group), group);
}

static bool may_be_asked(const struct segment *seg, uint32_t member, uint16_t group, uint32_t except)
{
	return mc_load_relaxed(&member_of(seg, member)->answers) && is_there(seg, member, group, except);
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
static uint64_t ask_one(const struct segment *seg, uint16_t group, uint32_t member, uint64_t pages, uint32_t now)
{
	uint64_t has = can_give(member_of(seg, member));

	reclaim_ask_for(seg, group, member, pages < has ? pages : has, now);
	return is_worth_waiting(member_of(seg, member), now) ? has : 0;
}

uint64_t reclaim_ask_below(const struct segment *seg, uint16_t group, uint32_t except, uint64_t pages, uint32_t now)
{
	uint32_t mark = member_mark(seg);
	uint64_t most = 0;
	uint32_t first = richest(seg, group, except, &most);
	uint64_t sum = first == MEMBER_NIL ? 0 : ask_one(seg, group, first, pages, now);

	for (uint32_t i = 0; most && i < mark && sum < pages; i++)
		if (i != first && can_give(member_of(seg, i)) && may_be_asked(seg, i, group, except))
			sum += ask_one(seg, group, i, pages - sum, now);
	return sum;
}

/* Once until it is answered: it has all the time in the world. */
uint32_t reclaim_ask_silent_below(const struct segment *seg, uint16_t group, uint32_t except, uint32_t now)
{
	uint32_t mark = member_mark(seg);
	uint32_t n = 0;

	for (uint32_t i = 0; i < mark; i++) {
		const struct member *m = member_of(seg, i);
		uint64_t has = can_give(m);

		if (has < RECLAIM_SILENT_LEAST || mc_load_relaxed(&m->answers) || !is_there(seg, i, group, except))
			continue;
		if (is_answered(m))
			reclaim_ask_for(seg, group, i, has, now);
		n += is_worth_waiting(m, now);
	}
	return n;
}

bool reclaim_is_silent_awaited_below(const struct segment *seg, uint16_t group, uint32_t except, uint32_t now)
{
	uint32_t mark = member_mark(seg);

	for (uint32_t i = 0; i < mark; i++) {
		const struct member *m = member_of(seg, i);

		if (reclaim_is_asked_in_vain(m) && is_worth_waiting(m, now) && is_there(seg, i, group, except))
			return true;
	}
	return false;
}

uint32_t reclaim_ask_shrinkers_below(const struct segment *seg, uint16_t group, uint32_t except, uint64_t pages,
				     uint32_t now)
{
	uint32_t mark = member_mark(seg);
	uint32_t n = 0;

	for (uint32_t i = 0; i < mark; i++) {
		if (!mc_load_relaxed(&member_of(seg, i)->shrinkers) || !may_be_asked(seg, i, group, except))
			continue;
		reclaim_ask_for(seg, group, i, pages, now);
		n += is_worth_waiting(member_of(seg, i), now);
	}
	return n;
}

/* ---- asking for what is not used ---------------------------------------------------------------------------- */

static uint64_t swap_left(const struct segment *seg, uint16_t group)
{
	uint64_t least = PAGES_MAX;

	for (; group != GROUP_NIL; group = group_parent(seg, group)) {
		uint64_t max = pool_max(seg, RESOURCE_SWAP, group);
		uint64_t usage = pool_usage(mc_load_relaxed(&pool_of(seg, RESOURCE_SWAP, group)->word));
		uint64_t left = usage < max ? max - usage : 0;

		least = left < least ? left : least;
	}
	return least;
}

uint64_t reclaim_may_page_out(const struct segment *seg, uint32_t member, int swappiness)
{
	uint16_t group = mc_load_relaxed(&member_of(seg, member)->group);
	const struct group *g = &seg->limits->group[group];
	uint64_t held, left;

	if (swappiness == RECLAIM_SWAPPINESS_OWN)
		swappiness = g->swappiness;
	if (swappiness == 0 || g->charge_mode == CHARGE_COMMIT)
		return 0;
	held = member_held(seg, member, RESOURCE_MEMORY);
	left = swap_left(seg, group);
	return held < left ? held : left;
}

void reclaim_ask_cold(const struct segment *seg, uint32_t member, uint64_t pages, uint32_t now)
{
	struct member *m = member_of(seg, member);

	mc_add_full(&m->cold_wanted, pages); /* [O8] */
	mc_add_full(&m->cold_ask, 1);
	reclaim_ask(seg, member, 0, now); /* wakes it, and shows whether anybody is there */
}

static uint64_t can_page_out(const struct segment *seg, uint32_t member, uint16_t group)
{
	return may_be_asked(seg, member, group, MEMBER_NIL) ? reclaim_may_page_out(seg, member, RECLAIM_SWAPPINESS_OWN)
							    : 0;
}

uint64_t reclaim_ask_cold_below(const struct segment *seg, uint16_t group, uint64_t pages, uint32_t now)
{
	const struct limits *l = &seg->limits->limits[RESOURCE_MEMORY][group];
	uint32_t mark = member_mark(seg);
	uint64_t sum = 0;

	if (mc_load_relaxed(&l->memsw) && mc_load_relaxed(&l->max) < mc_load_relaxed(&l->told_max))
		return 0;
	for (uint32_t i = 0; i < mark; i++)
		sum += can_page_out(seg, i, group);
	pages = pages < sum ? pages : sum;
	for (uint32_t i = 0; sum && i < mark; i++) {
		uint64_t has = can_page_out(seg, i, group);

		if (has)
			reclaim_ask_cold(seg, i, (uint64_t)((double)pages * (double)has / (double)sum) + 1, now);
	}
	return sum;
}

bool reclaim_is_cold_awaited(const struct segment *seg, uint32_t member, uint32_t now)
{
	const struct member *m = member_of(seg, member);

	return mc_load_relaxed(&m->answers) && mc_load_full(&m->cold_ask) != mc_load_full(&m->cold_answered) &&
	       (is_answered(m) || now - mc_load_relaxed(&m->asked_at) < RECLAIM_COLD_PATIENCE_MS);
}

bool reclaim_is_cold_awaited_below(const struct segment *seg, uint16_t group, uint32_t now)
{
	uint32_t mark = member_mark(seg);

	for (uint32_t i = 0; i < mark; i++)
		if (reclaim_is_cold_awaited(seg, i, now) && may_be_asked(seg, i, group, MEMBER_NIL))
			return true;
	return false;
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

static struct timespec milliseconds(uint32_t n)
{
	return (struct timespec){ .tv_sec = (time_t)(n / 1000), .tv_nsec = (long)(n % 1000) * 1000000 };
}

void reclaim_wait(const struct segment *seg, uint32_t seen, uint32_t timeout_ms)
{
	struct timespec t = milliseconds(timeout_ms);

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
	if (!mc_exchange_full(&pool->waited, 0))
		return;
	reclaim_wake(seg);
	if (mark_is_wanted(seg, MARK_COUNTED))
		mark_group(seg, MARK_COUNTED, group); /* perhaps it is not out of memory any more */
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

uint64_t reclaim_take_cold(const struct segment *seg, uint32_t member, uint32_t *ret_ask)
{
	struct member *m = member_of(seg, member);

	*ret_ask = mc_load_full(&m->cold_ask); /* [O8] */
	return mc_exchange_full(&m->cold_wanted, 0);
}

void reclaim_answer_cold(const struct segment *seg, uint32_t member, uint32_t ask)
{
	mc_store_full(&member_of(seg, member)->cold_answered, ask);
	reclaim_wake(seg);
}

void reclaim_sleep(const struct segment *seg, uint32_t member, uint32_t ask, uint32_t timeout_ms)
{
	struct timespec t = milliseconds(timeout_ms);

	sleep_on(&member_of(seg, member)->ask, ask, timeout_ms == RECLAIM_FOR_EVER ? NULL : &t);
}

void reclaim_rouse(const struct segment *seg, uint32_t member)
{
	wake_all(&member_of(seg, member)->ask);
}
