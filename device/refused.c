/* SPDX-License-Identifier: MIT */
/* What is tried when a limit has refused memory of a device, until there is room. */
#include "device/refused.h"

#include "accounting/account.h"
#include "accounting/clock.h"
#include "accounting/effort.h"
#include "accounting/evict.h"
#include "accounting/group.h"
#include "accounting/member.h"
#include "accounting/plea.h"
#include "accounting/region.h"
#include "accounting/stock.h"
#include "accounting/sys.h"
#include "accounting/throttle.h"

#include <errno.h>
#include <time.h>

#define PRESSURE_STEP (64u << 10) /* bytes that count as one of the 512 of a window */
#define LOOK_MS 250u		  /* what lies in another's stock wakes nobody: the next try drains it */
#define VAIN_TIMES 4u		  /* when nobody had anything: so many times as long as that took nobody */
#define VAIN_MOST_NS 10000000ull  /* is asked again, but no longer than this */

struct need {
	struct device_charge *charge;
	const struct segment *seg;
	unsigned resource;
	uint64_t units;
	uint16_t group; /* that refused last */
	struct plea_hope hope;
	uint64_t since_ns; /* what was waited since is not told yet */
};

/* ---- what the APIs keep ---------------------------------------------------------------------------------- */

/* Filled from the front; a place once taken stays. */
static device_charge_trim *trims[DEVICE_TRIMS_MAX]; /* sync: swapped from NULL, acquire */

void device_charge_on_refusal(device_charge_trim *trim)
{
	for (unsigned i = 0; i < DEVICE_TRIMS_MAX; i++) {
		device_charge_trim *there = NULL;

		if (__atomic_compare_exchange_n(&trims[i], &there, trim, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ||
		    there == trim)
			return;
	}
}

static device_charge_trim *trim_at(unsigned i)
{
	return i < DEVICE_TRIMS_MAX ? __atomic_load_n(&trims[i], __ATOMIC_ACQUIRE) : NULL;
}

bool device_trim(unsigned resource, uint64_t bytes)
{
	bool any = false;

	for (unsigned i = 0; trim_at(i); i++)
		any |= trim_at(i)(resource, bytes);
	return any;
}

/* ---- room ------------------------------------------------------------------------------------------------ */

static struct member *slot_of(const struct need *n)
{
	return member_of(n->seg, n->charge->member->member);
}

static uint64_t usage_of(const struct need *n, uint16_t group)
{
	return pool_usage(mc_load_full(&pool_of(n->seg, n->resource, group)->word));
}

static uint16_t leaf_of(const struct need *n)
{
	return account_meta_group(mc_load_relaxed(&account_of(n->seg, n->charge->to.account)->meta));
}

static bool try(struct need *n)
{
	return charge_try_as(&n->charge->member->actor, n->charge->to.account, n->units, CHARGE_FIRST, &n->group) == 0;
}

/* What must be given back somewhere for the request to fit. All levels that lack room wake us. */
static uint64_t look(const struct need *n)
{
	uint64_t most = 0;

	for (uint16_t g = leaf_of(n); g != GROUP_NIL; g = group_parent(n->seg, g)) {
		uint64_t max = pool_max(n->seg, n->resource, g);
		uint64_t lack;

		if (usage_of(n, g) + n->units <= max)
			continue;
		reclaim_want_room(n->seg, n->resource, g, n->units); /* [O9] */
		lack = usage_of(n, g) + n->units;
		lack = lack > max ? lack - max : 0;
		most = lack > most ? lack : most;
	}
	return most;
}

static void count_stall(struct need *n)
{
	uint64_t now = clock_now_ns();

	mc_add_relaxed(&account_of(n->seg, n->charge->to.account)->stall_ns, now - n->since_ns);
	n->since_ns = now;
}

/* Somebody of these is still worth waiting for. */
typedef bool awaited(const struct need *n);

static bool own_is_awaited(const struct need *n)
{
	return evict_is_awaited(n->seg, n->charge->member->member, reclaim_now());
}

static bool others_are_awaited(const struct need *n)
{
	return evict_is_awaited_below(n->seg, n->group, reclaim_now());
}

/* Until there is room, or nobody is awaited any more. */
static bool wait_and_try(struct need *n, awaited *is_awaited)
{
	uint64_t end = clock_now_ns() + RECLAIM_PATIENCE_MS * 1000000ull;

	for (;;) {
		uint32_t seen = reclaim_gave(n->seg);
		uint64_t now = clock_now_ns();

		if (look(n) == 0 || now >= end || !is_awaited(n))
			break;
		reclaim_wait(n->seg, seen, (uint32_t)((end - now) / 1000000) + 1);
	}
	count_stall(n);
	return try(n);
}

/* ---- giving and asking ----------------------------------------------------------------------------------- */

/* A try after each, for what one gives may be enough. */
static bool trim_own(struct need *n)
{
	for (unsigned i = 0; trim_at(i); i++)
		if (trim_at(i)(n->resource, n->units * REGION_UNIT) && try(n))
			return true;
	return false;
}

static bool can_shrink(const struct need *n)
{
	return mc_load_relaxed(&slot_of(n)->shrinkers) && mc_load_relaxed(&slot_of(n)->answers);
}

/* In the helper: the program's locks that this thread may hold are not theirs. */
static bool shrink_own(struct need *n)
{
	if (!can_shrink(n))
		return false;
	evict_ask_one(n->seg, n->resource, n->charge->member->member, look(n), reclaim_now());
	return wait_and_try(n, own_is_awaited);
}

/* CLOCK_MONOTONIC, in ns. */
static mc_word vain_until[RESOURCES_MAX];

static bool was_vain_lately(unsigned resource)
{
	return clock_now_ns() < mc_load_relaxed(&vain_until[resource]);
}

static void note_vain(unsigned resource, uint64_t since_ns)
{
	uint64_t now = clock_now_ns();
	uint64_t rest = (now - since_ns) * VAIN_TIMES;

	mc_store_relaxed(&vain_until[resource], now + (rest < VAIN_MOST_NS ? rest : VAIN_MOST_NS));
}

static uint32_t ask(struct need *n, bool ignore_low, bool only_largest, bool *ret_spared)
{
	const struct evict_wish wish = {
		.resource = n->resource,
		.limit = n->group,
		.except = n->charge->member->member,
		.units = look(n),
		.ignore_low = ignore_low,
		.only_largest = only_largest,
	};

	return evict_ask(n->seg, &wish, reclaim_now(), ret_spared);
}

static bool ask_and_try(struct need *n, bool ignore_low, bool only_largest, bool *ret_spared)
{
	return ask(n, ignore_low, only_largest, ret_spared) && wait_and_try(n, others_are_awaited);
}

/* Of the one that holds most, then of all. */
static bool ask_pass(struct need *n, bool ignore_low, bool *ret_spared)
{
	return ask_and_try(n, ignore_low, true, ret_spared) || ask_and_try(n, ignore_low, false, ret_spared);
}

/* Those below their low only where nothing else was to be had. */
static bool ask_others(struct need *n)
{
	uint64_t since_ns = clock_now_ns();
	bool spared = false;

	if (was_vain_lately(n->resource))
		return false;
	if (ask_pass(n, false, &spared) || (spared && ask_pass(n, true, NULL)))
		return true;
	note_vain(n->resource, since_ns);
	return false;
}

static bool make_room(struct need *n)
{
	return trim_own(n) || shrink_own(n) || ask_others(n);
}

/* ---- the refusing group's policy ------------------------------------------------------------------------- */

static enum oom_policy policy_of(const struct need *n)
{
	return (enum oom_policy)n->seg->limits->group[n->group].oom_policy;
}

static bool never_fits(const struct need *n)
{
	return n->units > pool_max(n->seg, n->resource, n->group);
}

/* True: worth another try after a while, or because something has changed. Where the member was
 * moved meanwhile, it pays where it is now. */
static bool follow_policy(struct need *n)
{
	uint32_t me = n->charge->member->member;
	enum oom_policy policy = policy_of(n);
	uint32_t seen = reclaim_gave(n->seg);

	if (policy == OOM_FAIL || never_fits(n))
		return false;
	if (policy == OOM_KILL ? !plea_hopes(n->seg, n->resource, me, n->group, n->units, &n->hope)
			       : leave_is_refused(n->seg, n->resource, me, n->group))
		return false;
	if (look(n))
		reclaim_wait(n->seg, seen, LOOK_MS);
	count_stall(n);
	(void)device_region_target(n->charge->member, n->resource, &n->charge->to);
	return true;
}

static bool wait_for_policy(struct need *n)
{
	while (follow_policy(n))
		if (try(n) || (policy_of(n) == OOM_WAIT && make_room(n)))
			return true;
	return false;
}

/* Pressure on the group whose limit was met: what was wanted was to be had, or, where the policy
 * goes on, nothing is left to be tried; charge_refuse says so otherwise. */
static void book(const struct need *n, uint16_t group, bool is_enough)
{
	uint64_t steps = (n->units * REGION_UNIT + PRESSURE_STEP - 1) / PRESSURE_STEP;

	if (is_enough)
		effort_book(n->seg, n->resource, group, steps, steps);
	else if (policy_of(n) != OOM_FAIL && !never_fits(n))
		effort_book_last(n->seg, n->resource, group);
}

static struct need need_of(struct device_charge *c, unsigned resource, uint64_t units, uint16_t group)
{
	return (struct need){
		.charge = c,
		.seg = c->member->actor.seg,
		.resource = resource,
		.units = units,
		.group = group,
		.since_ns = clock_now_ns(),
	};
}

/* Who has memory of the driver's in hand already is refused rather than made to wait with it. */
bool device_refused(struct device_charge *c, unsigned resource, uint64_t units, uint16_t group, bool may_wait)
{
	struct need n = need_of(c, resource, units, group);
	bool is_enough = !never_fits(&n) && make_room(&n);

	book(&n, group, is_enough);
	if (!is_enough && may_wait)
		is_enough = wait_for_policy(&n);
	count_stall(&n);
	if (!is_enough)
		charge_refuse(&c->member->actor, c->to.account, units, n.group);
	return is_enough;
}

/* ---- the device itself ----------------------------------------------------------------------------------- */

/* What was given back may lie in a stock. */
static uint64_t used_by_all(const struct need *n)
{
	(void)stock_drain(&n->charge->member->actor, n->resource, GROUP_ROOT);
	return usage_of(n, GROUP_ROOT);
}

/* As long as they are awaited. */
static void wait_for_answers(struct need *n, awaited *is_awaited)
{
	uint64_t end = clock_now_ns() + RECLAIM_PATIENCE_MS * 1000000ull;

	for (;;) {
		uint32_t seen = reclaim_gave(n->seg);
		uint64_t now = clock_now_ns();

		if (now >= end || !is_awaited(n))
			break;
		reclaim_wait(n->seg, seen, (uint32_t)((end - now) / 1000000) + 1);
	}
	count_stall(n);
}

/* All at once: which of them it takes nobody knows. */
static bool ask_for_device(struct need *n, bool ignore_low, bool *ret_spared)
{
	const struct evict_wish wish = {
		.resource = n->resource,
		.limit = GROUP_ROOT,
		.except = n->charge->member->member,
		.units = n->units,
		.ignore_low = ignore_low,
	};
	uint64_t before = used_by_all(n);

	if (evict_ask(n->seg, &wish, reclaim_now(), ret_spared))
		wait_for_answers(n, others_are_awaited);
	return used_by_all(n) < before;
}

static bool trim_for_device(struct need *n)
{
	uint64_t before = used_by_all(n);

	return device_trim(n->resource, n->units * REGION_UNIT) && used_by_all(n) < before;
}

static bool shrink_for_device(struct need *n)
{
	uint64_t before = used_by_all(n);

	if (!can_shrink(n))
		return false;
	evict_ask_one(n->seg, n->resource, n->charge->member->member, n->units, reclaim_now());
	wait_for_answers(n, own_is_awaited);
	return used_by_all(n) < before;
}

static bool never_fits_device(const struct segment *seg, unsigned resource, uint64_t bytes)
{
	uint64_t capacity = region_capacity(seg, resource);

	return capacity && bytes > capacity;
}

bool device_full(struct device_charge *c, uint64_t bytes)
{
	uint64_t since_ns = clock_now_ns();
	bool spared = false, any;
	unsigned resource;
	struct need n;

	if (!c->member)
		return false;
	resource = account_meta_resource(mc_load_relaxed(&account_of(c->member->actor.seg, c->to.account)->meta));
	if (was_vain_lately(resource) || never_fits_device(c->member->actor.seg, resource, bytes))
		return false;
	n = need_of(c, resource, bytes / REGION_UNIT + 1, GROUP_ROOT);
	any = trim_for_device(&n);
	any |= shrink_for_device(&n);
	any |= ask_for_device(&n, false, &spared);
	any = any || (spared && ask_for_device(&n, true, NULL));
	count_stall(&n);
	if (!any)
		note_vain(resource, since_ns);
	return any;
}

bool device_full_at(int resource, uint64_t bytes)
{
	struct device_charge c;

	return device_charge_reserve(&c, resource, 0) && device_full(&c, bytes);
}

/* ---- dmem.high ------------------------------------------------------------------------------------------- */

/* Charged above high and not paid for: gathered until there is a batch, as the kernel charges. */
static __thread uint64_t debt;

static uint64_t excess_of(const struct need *n, uint16_t group)
{
	uint64_t high = mc_load_relaxed(&n->seg->limits->limits[n->resource][group].high);
	uint64_t usage = usage_of(n, group);

	return usage > high ? usage - high : 0;
}

static bool is_any_above(const struct need *n)
{
	for (uint16_t g = leaf_of(n); g != GROUP_ROOT; g = group_parent(n->seg, g))
		if (excess_of(n, g))
			return true;
	return false;
}

/* Nobody is waited for. */
static void reclaim_excess(const struct need *n, uint16_t group)
{
	const struct evict_wish wish = {
		.resource = n->resource,
		.limit = group,
		.except = n->charge->member->member,
		.units = excess_of(n, group),
	};

	if (wish.units == 0)
		return;
	pool_count_event(n->seg, n->resource, group, EVENT_HIGH);
	(void)device_trim(n->resource, wish.units * REGION_UNIT);
	if (!was_vain_lately(n->resource))
		(void)evict_ask(n->seg, &wish, reclaim_now(), NULL);
}

/* Handlers of the program run in between; a signal that ends it does so. */
static void sleep_ms(uint32_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (sys_call6(SYS_nanosleep, (long)&left, (long)&left, 0, 0, 0, 0) == -EINTR)
		;
}

void device_charged(struct device_charge *c, unsigned resource, uint64_t units)
{
	struct need n = need_of(c, resource, units, GROUP_ROOT);
	uint32_t ms;

	if (!is_any_above(&n))
		return;
	debt += units;
	if (debt < THROTTLE_BATCH)
		return;
	for (uint16_t g = leaf_of(&n); g != GROUP_ROOT; g = group_parent(n.seg, g))
		reclaim_excess(&n, g);
	ms = throttle_delay_ms(throttle_overage_of(n.seg, resource, leaf_of(&n)), 0, debt);
	debt = 0;
	if (ms > THROTTLE_IGNORED_MS)
		sleep_ms(ms);
	count_stall(&n);
}
