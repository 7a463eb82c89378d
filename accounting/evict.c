/* SPDX-License-Identifier: MIT */
/* Asking members for memory of devices: whom dmem.min and dmem.low leave alone, and the ask itself. */
#include "accounting/evict.h"

#include "accounting/member.h"
#include "accounting/protection.h"

/* ---- the rule -------------------------------------------------------------------------------------------------- */

struct level {
	uint64_t usage, min, low;
};

static struct level level_of(const struct segment *seg, unsigned resource, uint16_t group)
{
	const struct limits *l = &seg->limits->limits[resource][group];

	return (struct level){
		.usage = pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word)),
		.min = mc_load_relaxed(&l->min),
		.low = mc_load_relaxed(&l->low),
	};
}

/* What all children of a group claim; the rest of the tree does not move while the daemon is busy with others. */
static void sum_claims(const struct segment *seg, unsigned resource, uint16_t parent, struct protection_parent *min,
		       struct protection_parent *low)
{
	uint32_t groups = mc_load_full(&seg->limits->header.groups_used);

	for (uint32_t g = 1; g < groups; g++) {
		struct level child;

		if (group_parent(seg, (uint16_t)g) != parent || group_state(seg, (uint16_t)g) != GROUP_LIVE)
			continue;
		child = level_of(seg, resource, (uint16_t)g);
		min->claimed += protection_claim(child.usage, child.min);
		low->claimed += protection_claim(child.usage, child.low);
	}
}

/* From the limit down to the group, last first. 0: it does not lie below. */
static unsigned path_to(const struct segment *seg, uint16_t limit, uint16_t group, uint16_t *ret)
{
	unsigned n = 0;

	while (group != limit && group != GROUP_NIL && n <= GROUP_DEPTH_MAX) {
		ret[n++] = group;
		group = group_parent(seg, group);
	}
	return group == limit ? n : 0;
}

static bool is_any_protected(const struct segment *seg, unsigned resource, const uint16_t *path, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct level l = level_of(seg, resource, path[i]);

		if (l.min || l.low)
			return true;
	}
	return false;
}

/* Effective values of the first of the path: those at its end have what they are set to. */
static struct level protection_of(const struct segment *seg, unsigned resource, const uint16_t *path, unsigned n)
{
	struct level has = level_of(seg, resource, path[n - 1]);

	while (--n) {
		struct level own = level_of(seg, resource, path[n - 1]);
		struct protection_parent min = { has.min, has.usage, 0, true };
		struct protection_parent low = { has.low, has.usage, 0, true };

		sum_claims(seg, resource, path[n], &min, &low);
		own.min = protection_share(&min, own.usage, own.min);
		own.low = protection_share(&low, own.usage, own.low);
		has = own;
	}
	return has;
}

enum evict evict_judge(const struct segment *seg, unsigned resource, uint16_t limit, uint16_t group, bool ignore_low)
{
	uint16_t path[GROUP_DEPTH_MAX + 1];
	unsigned n = path_to(seg, limit, group, path);
	struct level l;

	if (n == 0)
		return group == limit ? EVICT_TAKE : EVICT_NEVER;
	if (!is_any_protected(seg, resource, path, n))
		return EVICT_TAKE;
	l = protection_of(seg, resource, path, n);
	if (l.usage <= l.min)
		return EVICT_NEVER;
	if (l.usage > l.low)
		return EVICT_TAKE;
	return ignore_low ? EVICT_BREACH : EVICT_LATER;
}

/* ---- asking ---------------------------------------------------------------------------------------------------- */

static bool is_worth_waiting(const struct member *m, uint32_t now)
{
	return now - mc_load_relaxed(&m->device_asked_at) < RECLAIM_PATIENCE_MS;
}

static bool is_there(const struct segment *seg, uint32_t member)
{
	return member_state(mc_load_full(&member_of(seg, member)->state)) == MEMBER_LIVE;
}

/* Who does not listen finds an ask at its next call about a pool; its shrinkers nobody can call. */
static bool is_to_be_asked(const struct evict_wish *w, const struct member *m)
{
	bool has_drivers = mc_load_relaxed(&m->device_gives) >> w->resource & 1;

	return mc_load_relaxed(&m->answers) ? has_drivers || mc_load_relaxed(&m->shrinkers)
					    : has_drivers && !w->only_largest;
}

void evict_ask_one(const struct segment *seg, unsigned resource, uint32_t member, uint64_t units, uint32_t now)
{
	struct member *m = member_of(seg, member);

	if (!evict_is_asked(m) || now - mc_load_relaxed(&m->device_asked_at) >= RECLAIM_FORGIVE_MS)
		mc_store_relaxed(&m->device_asked_at, now);
	mc_add_full(&m->device_wanted, units); /* [O8] */
	mc_or_full(&m->device_regions, 1u << resource);
	mc_add_full(&m->device_ask, 1);
	reclaim_rouse(seg, member);
}

bool evict_is_awaited(const struct segment *seg, uint32_t member, uint32_t now)
{
	const struct member *m = member_of(seg, member);

	return evict_is_asked(m) && is_worth_waiting(m, now) && is_there(seg, member);
}

bool evict_is_awaited_below(const struct segment *seg, uint16_t limit, uint32_t now)
{
	uint32_t mark = member_mark(seg);

	for (uint32_t i = 0; i < mark; i++)
		if (evict_is_awaited(seg, i, now) &&
		    group_is_within(seg, mc_load_relaxed(&member_of(seg, i)->group), limit))
			return true;
	return false;
}

/* What it holds, where it may have something to give. */
static uint64_t can_give(const struct segment *seg, const struct evict_wish *w, uint32_t member)
{
	if (!is_to_be_asked(w, member_of(seg, member)))
		return 0;
	return member != w->except && is_there(seg, member) ? member_held(seg, member, w->resource) : 0;
}

static enum evict judge(const struct segment *seg, const struct evict_wish *w, uint32_t member, bool *ret_spared)
{
	enum evict verdict =
		evict_judge(seg, w->resource, w->limit, mc_load_relaxed(&member_of(seg, member)->group), w->ignore_low);

	if (verdict == EVICT_LATER && ret_spared)
		*ret_spared = true;
	return verdict;
}

static uint32_t ask(const struct segment *seg, const struct evict_wish *w, uint32_t member, enum evict verdict,
		    uint32_t now)
{
	const struct member *m = member_of(seg, member);

	if (verdict == EVICT_BREACH)
		pool_count_event(seg, w->resource, mc_load_relaxed(&m->group), EVENT_LOW);
	evict_ask_one(seg, w->resource, member, w->units, now);
	return is_worth_waiting(m, now);
}

static bool may_be_asked(enum evict verdict)
{
	return verdict == EVICT_TAKE || verdict == EVICT_BREACH;
}

static uint32_t ask_largest(const struct segment *seg, const struct evict_wish *w, uint32_t now, bool *ret_spared)
{
	uint32_t mark = member_mark(seg), found = MEMBER_NIL;
	enum evict verdict, its = EVICT_NEVER;
	uint64_t most = 0;

	for (uint32_t i = 0; i < mark; i++) {
		uint64_t held = can_give(seg, w, i);

		if (held <= most)
			continue;
		verdict = judge(seg, w, i, ret_spared);
		if (!may_be_asked(verdict))
			continue;
		most = held;
		found = i;
		its = verdict;
	}
	return found == MEMBER_NIL ? 0 : ask(seg, w, found, its, now);
}

uint32_t evict_ask(const struct segment *seg, const struct evict_wish *w, uint32_t now, bool *ret_spared)
{
	uint32_t mark = member_mark(seg), n = 0;

	if (w->only_largest)
		return ask_largest(seg, w, now, ret_spared);
	for (uint32_t i = 0; i < mark; i++) {
		enum evict verdict = can_give(seg, w, i) ? judge(seg, w, i, ret_spared) : EVICT_NEVER;

		if (may_be_asked(verdict))
			n += ask(seg, w, i, verdict, now);
	}
	return n;
}

/* ---- being asked ----------------------------------------------------------------------------------------------- */

uint64_t evict_take(const struct segment *seg, uint32_t member, uint32_t *ret_regions, uint32_t *ret_ask)
{
	struct member *m = member_of(seg, member);

	*ret_ask = mc_load_full(&m->device_ask); /* [O8] */
	*ret_regions = mc_exchange_full(&m->device_regions, 0);
	return mc_exchange_full(&m->device_wanted, 0);
}

void evict_answer(const struct segment *seg, uint32_t member, uint32_t ask)
{
	mc_store_full(&member_of(seg, member)->device_answered, ask);
	reclaim_wake(seg);
}
