/* SPDX-License-Identifier: MIT */
/* What a thread does when a limit refuses it, and what it owes above memory.high. */
#include "preload/reclaim.h"

#include "accounting/clock.h"
#include "accounting/effort.h"
#include "accounting/keep.h"
#include "accounting/member.h"
#include "accounting/plea.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"
#include "accounting/throttle.h"
#include "preload/cold.h"
#include "preload/heap.h"
#include "preload/helper.h"
#include "preload/shrinker.h"
#include "preload/volatile.h"

#include <errno.h>
#include <time.h>

#define REFUSED 1u
#define OWES 2u
#define TRIES 4u /* again after a refusal: the next success is the end of it */

#define LEAST_PAGES 256u /* asked for: giving back a slab at a time costs more than the slab */
#define ROUNDS 4u
#define SILENT_PATIENCE_MS 5u
#define OWN_PATIENCE_MS 20u /* for the own helper */
#define AGAIN_MS 4u	    /* when nobody had anything: so long nobody is asked again, */
#define AGAIN_MANY_MS 64u   /* or so long where looking takes long */
#define MANY_MEMBERS 1024u
#define COLD_AGAIN_MS 1000u /* when nobody had anything to page out */
#define HELPER_LARGE 256u   /* charges from so many pages on, and one of */
#define HELPER_CHARGES 64u  /* so many others: is a helper worth it by now? */
#define LOOK_MS 250u	    /* what waits for room looks by itself so often */

/* What is tried, in this order, until the request is granted. */
enum stage { STAGE_OWN, STAGE_OTHERS, STAGE_COLD, STAGE_POLICY, STAGE_ASKED_FOR_KILL };

__thread volatile unsigned reclaim_due;
static __thread struct {
	uint16_t group; /* that refused */
	uint64_t pages;
	bool is_large;
	enum stage stage;
	struct plea_hope hope; /* of a kill that was asked for */
	uint64_t debt;	       /* pages charged above high and not paid for */
	uint32_t charges;
} mine;

/* When a search found nothing, and how much was unused then: pages that nobody can give. */
static mc_word32 vain_at;
static mc_word32 cold_vain_at;
static mc_word unusable;

/* A refused thread at work. */
struct need {
	const struct self *self;
	const struct segment *seg;
	uint16_t group;
	uint64_t pages;
	bool is_large;
	bool in_heap; /* malloc's slow path: this thread may purge by itself */
};

static struct need need_of(const struct self *self, bool in_heap)
{
	return (struct need){ self, self->actor.seg, mine.group, mine.pages, mine.is_large, in_heap };
}

static struct member *slot_of(const struct need *n)
{
	return member_of(n->seg, n->self->member);
}

void reclaim_note_refused(uint16_t group, uint64_t pages, bool is_large)
{
	mine.is_large = is_large;
	mine.group = group;
	mine.pages = pages;
	reclaim_due |= REFUSED;
}

/* ---- room -------------------------------------------------------------------------------------------------- */

static uint64_t usage_of(const struct segment *seg, uint16_t group)
{
	return pool_usage(mc_load_full(&pool_of(seg, RESOURCE_MEMORY, group)->word));
}

static bool has_room(const struct need *n)
{
	uint32_t account = self_target(n->self).account;

	return (n->is_large ? charge_has_room_large : charge_has_room)(&n->self->actor, account, n->pages) ||
	       keep_has_room(&n->self->actor, account, n->pages);
}

static uint64_t needed_in(const struct need *n, uint16_t group)
{
	uint64_t room = n->is_large ? charge_room_to_unwind(n->seg, RESOURCE_MEMORY, group) : 0;

	return usage_of(n->seg, group) + n->pages + room;
}

/* What must be given back somewhere for the request to fit; a little more where that is less than worth asking for. */
static uint64_t lack(const struct need *n)
{
	uint64_t most = LEAST_PAGES;

	for (uint16_t g = mc_load_relaxed(&n->self->group); g != GROUP_NIL; g = group_parent(n->seg, g)) {
		uint64_t max = pool_max(n->seg, RESOURCE_MEMORY, g);
		uint64_t needed = needed_in(n, g);

		if (needed > max && needed - max > most)
			most = needed - max;
	}
	return most;
}

/* All levels that lack room wake us. */
static bool look_for_room(const struct need *n)
{
	for (uint16_t g = mc_load_relaxed(&n->self->group); g != GROUP_NIL; g = group_parent(n->seg, g))
		if (needed_in(n, g) > pool_max(n->seg, RESOURCE_MEMORY, g))
			reclaim_want_room(n->seg, RESOURCE_MEMORY, g, needed_in(n, g) - usage_of(n->seg, g));
	return has_room(n);
}

static void count_stall(const struct need *n, uint64_t since_ns)
{
	mc_add_relaxed(&slot_of(n)->stall_ns, clock_now_ns() - since_ns);
}

/* Whether somebody asked is still worth waiting for. */
typedef bool awaited(const struct need *n, uint32_t now);

static bool own_is_awaited(const struct need *n, uint32_t now)
{
	return reclaim_is_awaited(n->seg, n->self->member, now);
}

static bool others_are_awaited(const struct need *n, uint32_t now)
{
	return reclaim_is_awaited_below(n->seg, n->group, n->self->member, now);
}

/* True when there is room; gives up when nobody is awaited any more, or after so long. */
static bool wait_for(const struct need *n, awaited *is_awaited, uint32_t patience_ms)
{
	uint64_t since = clock_now_ns();
	uint64_t end = since + (uint64_t)patience_ms * 1000000;
	bool room;

	for (;;) {
		uint32_t seen = reclaim_gave(n->seg);
		uint64_t now = clock_now_ns();
		uint64_t left = now < end ? end - now : 0;

		room = look_for_room(n);
		if (room || !left || !is_awaited(n, reclaim_now()))
			break;
		reclaim_wait(n->seg, seen, (uint32_t)(left / 1000000) + 1);
	}
	count_stall(n, since);
	return room;
}

/* ---- giving and asking --------------------------------------------------------------------------------------- */

static bool was_vain_lately(const struct need *n)
{
	uint32_t again = member_mark(n->seg) > MANY_MEMBERS ? AGAIN_MANY_MS : AGAIN_MS;
	uint32_t at = mc_load_relaxed(&vain_at);

	return at && reclaim_now() - at < again;
}

static uint64_t own_unused(void)
{
	return heap_unused() + volatile_pages();
}

static void note_vain(void)
{
	uint32_t now = reclaim_now();

	mc_store_relaxed(&vain_at, now ? now : 1);
	mc_store_relaxed(&unusable, own_unused());
}

/* Nobody had anything a moment ago, and this process has not freed anything since. */
static bool is_in_vain(const struct need *n)
{
	return own_unused() <= mc_load_relaxed(&unusable) && was_vain_lately(n);
}

/* What other threads have cached they give back when they next look. */
static uint64_t purge_heap(uint64_t pages)
{
	if (heap_unused() < pages) {
		heap_want_flush();
		heap_flush_thread();
	}
	return heap_reclaim(pages);
}

static uint64_t purge(const struct need *n, uint64_t pages)
{
	uint64_t had = own_unused();
	uint64_t given = n->in_heap ? purge_heap(pages) : 0;

	if (given < pages && volatile_pages()) {
		given += volatile_drop(pages - given);
		helper_tell();
	}
	mc_add_relaxed(&slot_of(n)->scanned, had > given ? had : given);
	mc_add_relaxed(&slot_of(n)->reclaimed, given);
	effort_book(n->seg, RESOURCE_MEMORY, n->group, pages, given);
	return given;
}

/* True when something was given back. What is there may lie in pieces that do not fit: all of it counts. */
static bool give_own(const struct need *n)
{
	uint64_t pages = lack(n);
	uint64_t given = purge(n, pages);
	bool can_more = (heap_unused() && !n->in_heap) || shrinker_any();

	if (given >= pages || !can_more || !helper_listens())
		return given != 0;
	reclaim_ask_for(n->seg, n->group, n->self->member, pages - given, reclaim_now());
	return wait_for(n, own_is_awaited, shrinker_any() ? RECLAIM_PATIENCE_MS : OWN_PATIENCE_MS) || given != 0;
}

static bool silent_are_awaited(const struct need *n, uint32_t now)
{
	return reclaim_is_silent_awaited_below(n->seg, n->group, n->self->member, now);
}

/* Those that do not listen may be at work, and answer soon, or sleep. */
static bool ask_the_rest(const struct need *n)
{
	uint32_t me = n->self->member;

	if (reclaim_ask_shrinkers_below(n->seg, n->group, me, lack(n), reclaim_now()) &&
	    wait_for(n, others_are_awaited, RECLAIM_PATIENCE_MS))
		return true;
	return reclaim_ask_silent_below(n->seg, n->group, me, reclaim_now()) &&
	       wait_for(n, silent_are_awaited, SILENT_PATIENCE_MS);
}

/* More than once: what they gave may be gone again, or have been counted as somebody's already. */
static bool ask_others(const struct need *n)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (!reclaim_ask_below(n->seg, n->group, n->self->member, lack(n), reclaim_now()))
			break;
		if (wait_for(n, others_are_awaited, RECLAIM_PATIENCE_MS))
			return true;
	}
	return ask_the_rest(n);
}

static bool cold_are_awaited(const struct need *n, uint32_t now)
{
	return reclaim_is_cold_awaited_below(n->seg, n->group, now);
}

/* As long as it gets less. */
static bool wait_for_cold(const struct need *n)
{
	uint64_t before;

	do {
		before = usage_of(n->seg, n->group);
		if (wait_for(n, cold_are_awaited, RECLAIM_COLD_PATIENCE_MS))
			return true;
	} while (usage_of(n->seg, n->group) < before && cold_are_awaited(n, reclaim_now()));
	return false;
}

/* This process's own helper among them. */
static bool ask_for_cold(const struct need *n)
{
	uint32_t vain = mc_load_relaxed(&cold_vain_at);
	uint32_t now = reclaim_now();

	if (!cold_is_worth_asking() || (vain && now - vain < COLD_AGAIN_MS))
		return false;
	if (reclaim_ask_cold_below(n->seg, n->group, lack(n), now) && wait_for_cold(n))
		return true;
	now = reclaim_now();
	mc_store_relaxed(&cold_vain_at, now ? now : 1);
	return false;
}

/* ---- the refusing group's policy ------------------------------------------------------------------------------ */

static enum oom_policy policy_of(const struct need *n)
{
	return (enum oom_policy)n->seg->limits->group[n->group].oom_policy;
}

/* Until there is room, or a look finds that something else has changed. */
static void wait_a_while(const struct need *n, uint32_t ms)
{
	uint64_t since = clock_now_ns();
	uint32_t seen = reclaim_gave(n->seg);

	if (!look_for_room(n))
		reclaim_wait(n->seg, seen, ms);
	count_stall(n, since);
}

/* True while a kill, or what precedes it, may still make room. Who gets none of it asks again. */
static bool hopes_for_kill(const struct need *n)
{
	if (mine.stage != STAGE_ASKED_FOR_KILL)
		mine.hope = (struct plea_hope){ 0 };
	mine.stage = STAGE_ASKED_FOR_KILL;
	return plea_hopes(n->seg, RESOURCE_MEMORY, n->self->member, n->group, n->pages, &mine.hope);
}

/* Nothing is left to be tried. Who waits is seen to wait (pool.waited) before he is looked at. */
static void tell_policy(const struct need *n, enum oom_policy policy)
{
	if (mine.stage == STAGE_POLICY)
		effort_book_last(n->seg, RESOURCE_MEMORY, n->group);
	if (policy == OOM_WAIT && mark_is_wanted(n->seg, MARK_COUNTED) && !look_for_room(n))
		mark_group(n->seg, MARK_COUNTED, n->group);
}

/* True: again from the start. */
static bool follow_policy(const struct need *n)
{
	enum oom_policy policy = policy_of(n);

	if (policy == OOM_FAIL)
		return false;
	tell_policy(n, policy);
	if (policy == OOM_KILL ? !hopes_for_kill(n)
			       : leave_is_refused(n->seg, RESOURCE_MEMORY, n->self->member, n->group))
		return false;
	wait_a_while(n, LOOK_MS);
	if (policy == OOM_WAIT)
		mine.stage = STAGE_OWN;
	return true;
}

static bool make_room(const struct need *n)
{
	if (n->pages > pool_max(n->seg, RESOURCE_MEMORY, n->group))
		return false;
	if (mine.stage == STAGE_OWN && is_in_vain(n))
		mine.stage = STAGE_POLICY;
	if (mine.stage == STAGE_OWN) {
		mine.stage = STAGE_OTHERS;
		if (give_own(n))
			return true;
	}
	if (mine.stage == STAGE_OTHERS) {
		mine.stage = STAGE_COLD;
		if (ask_others(n))
			return true;
	}
	if (mine.stage == STAGE_COLD) {
		mine.stage = STAGE_POLICY;
		if (ask_for_cold(n))
			return true;
		note_vain();
	}
	return follow_policy(n);
}

/* ---- memory.high ---------------------------------------------------------------------------------------------- */

static bool is_above_high(const struct segment *seg, unsigned resource, uint16_t group)
{
	return pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word)) >
	       mc_load_relaxed(&seg->limits->limits[resource][group].high);
}

static bool is_any_above_high(const struct segment *seg, uint16_t group)
{
	for (; group != GROUP_ROOT; group = group_parent(seg, group))
		if (is_above_high(seg, RESOURCE_MEMORY, group) || is_above_high(seg, RESOURCE_SWAP, group))
			return true;
	return false;
}

/* Where there is swap, what is used can be given back too. */
static void want_helper(uint64_t pages)
{
	if (pages < HELPER_LARGE && ++mine.charges % HELPER_CHARGES)
		return;
	if (!helper_listens() && !helper_is_wanted() && cold_is_worth_it())
		helper_want();
}

/* The kernel charges in batches; here they are gathered until there is one. */
void reclaim_note_charged(const struct self *self, uint64_t pages)
{
	want_helper(pages);
	if (!is_any_above_high(self->actor.seg, (uint16_t)mc_load_relaxed(&self->group)))
		return;
	mine.debt += pages;
	if (mine.debt >= THROTTLE_BATCH)
		reclaim_due |= OWES;
}

static void reclaim_excess(struct need *n, uint16_t group)
{
	uint64_t high = mc_load_relaxed(&n->seg->limits->limits[RESOURCE_MEMORY][group].high);
	uint64_t usage = usage_of(n->seg, group);

	if (is_above_high(n->seg, RESOURCE_SWAP, group))
		pool_count_event(n->seg, RESOURCE_SWAP, group, EVENT_HIGH);
	if (usage <= high)
		return;
	pool_count_event(n->seg, RESOURCE_MEMORY, group, EVENT_HIGH);
	if (was_vain_lately(n))
		return;
	n->group = group;
	n->pages = usage - high;
	if (n->in_heap && heap_unused())
		(void)purge(n, n->pages);
	else if (helper_listens() && heap_unused())
		reclaim_ask_for(n->seg, n->group, n->self->member, n->pages, reclaim_now());
	if (reclaim_ask_below(n->seg, group, n->self->member, n->pages, reclaim_now()))
		return;
	note_vain();
	if (cold_is_possible() && !cold_are_awaited(n, reclaim_now()))
		(void)reclaim_ask_cold_below(n->seg, group, n->pages, reclaim_now());
}

/* Handlers of the program run in between; a signal that ends it does so. */
static void sleep_ms(uint32_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (sys_call6(SYS_nanosleep, (long)&left, (long)&left, 0, 0, 0, 0) == -EINTR)
		;
}

static void pay(struct need *n)
{
	uint16_t leaf = (uint16_t)mc_load_relaxed(&n->self->group);
	uint64_t debt = mine.debt;
	uint64_t since = clock_now_ns();
	uint32_t ms;

	mine.debt = 0;
	for (uint16_t g = leaf; g != GROUP_ROOT; g = group_parent(n->seg, g))
		reclaim_excess(n, g);
	ms = throttle_delay_ms(throttle_overage_of(n->seg, RESOURCE_MEMORY, leaf),
			       throttle_overage_of(n->seg, RESOURCE_SWAP, leaf), debt);
	if (ms > THROTTLE_IGNORED_MS)
		sleep_ms(ms);
	count_stall(n, since);
}

/* ---- at the places where waiting harms nobody ------------------------------------------------------------------ */

static bool settle(const struct self *self, bool failed, bool in_heap)
{
	struct need n = need_of(self, in_heap);
	unsigned due = reclaim_due;

	reclaim_due = 0;
	if (failed && due & REFUSED) {
		if (make_room(&n)) {
			reclaim_due = TRIES | (due & OWES);
			return true;
		}
		charge_refuse(&self->actor, self_target(self).account, n.pages, n.group);
	}
	mine.stage = STAGE_OWN;
	if (due & OWES)
		pay(&n);
	return false;
}

static bool settle_if_due(bool failed, bool in_heap)
{
	const struct self *self = self_get();
	int saved = errno;
	bool again = self && settle(self, failed, in_heap);

	errno = saved;
	return again;
}

bool reclaim_after_heap(bool failed)
{
	return reclaim_due && settle_if_due(failed, true);
}

bool reclaim_after_refused_mapping(void)
{
	return reclaim_due && settle_if_due(true, false);
}

void reclaim_after_mapping(void)
{
	if (!heap_is_ours)
		helper_consider();
	if (reclaim_due)
		(void)settle_if_due(false, false);
}
