/* SPDX-License-Identifier: MIT */
/* Charging device memory. */
#include "device/charge.h"

#include "accounting/account.h"
#include "accounting/group.h"
#include "accounting/member.h"
#include "accounting/region.h"
#include "device/refused.h"

static bool take_slowly(struct device_charge *c, unsigned resource, uint64_t units, bool may_wait)
{
	uint16_t refused = GROUP_ROOT;

	if (charge_try_as(&c->member->actor, c->to.account, units, CHARGE_FIRST, &refused) &&
	    !device_refused(c, resource, units, refused, may_wait))
		return false;
	if (may_wait)
		device_charged(c, resource, units);
	return true;
}

/* What comes out of the stock was counted before: no limit refuses it, nor is it above high anew.
 */
static bool take_units(struct device_charge *c, unsigned resource, uint64_t units, bool may_wait)
{
	return __builtin_expect(charge_from_stock(account_of(c->member->actor.seg, c->to.account), units), 1) ||
	       take_slowly(c, resource, units, may_wait);
}

bool device_charge_reserve(struct device_charge *c, int resource, uint64_t bytes)
{
	c->units = 0;
	c->member = resource < 0 ? NULL : device_member();
	if (!c->member)
		return true;
	if (!device_region_target(c->member, (unsigned)resource, &c->to)) {
		device_member_mark_partial();
		c->member = NULL;
		return true;
	}
	if (!take_units(c, (unsigned)resource, device_units(bytes), true))
		return false;
	c->units = device_units(bytes);
	return true;
}

bool device_charge_reserve_more(struct device_charge *c, uint64_t bytes)
{
	uint64_t units = device_units(bytes);
	unsigned resource;

	if (!c->member)
		return true;
	resource = account_meta_resource(mc_load_relaxed(&account_of(c->member->actor.seg, c->to.account)->meta));
	if (!take_units(c, resource, units, false))
		return false;
	c->units += units;
	return true;
}

static void give(struct device_member *m, uint32_t account, uint64_t units)
{
	charge_uncharge_keeping(&m->actor, account, units, DEVICE_STOCK_MOST);
}

void device_charge_cancel(struct device_charge *c)
{
	if (c->member && c->units)
		give(c->member, c->to.account, c->units);
	c->units = 0;
}

void device_charge_commit_other(struct device_charge *c, uint64_t units, struct device_paid *ret)
{
	*ret = (struct device_paid){ 0 };
	if (!c->member)
		return;
	if (units < c->units)
		give(c->member, c->to.account, c->units - units);
	else
		charge_force(&c->member->actor, c->to.account, units - c->units, OVER_LAZY);
	*ret = device_paid_of(units, c->to.slot);
}

void device_charge_return(const struct device_paid *paid)
{
	struct device_member *m = paid->units ? device_member() : NULL;

	if (m)
		give(m, member_account_at(m->actor.seg, m->member, paid->slot), paid->units);
}

/* A pool that was paid for from the group we were in before is paid for from there until it is
 * given back. */
void device_charge_settle(struct device_charge *c, int resource, struct device_paid *paid, uint64_t bytes)
{
	struct device_charge own = { 0 };
	uint64_t units = device_units(bytes);
	uint32_t account;

	if (!c && (units == paid->units || !device_charge_reserve(&own, resource, 0)))
		return;
	if (!c)
		c = &own;
	if (!c->member)
		return;
	if (paid->units == 0)
		paid->slot = (uint8_t)c->to.slot;
	account = member_account_at(c->member->actor.seg, c->member->member, paid->slot);
	if (account == c->to.account && units >= paid->units + c->units) {
		if (units > paid->units + c->units)
			charge_force(&c->member->actor, account, units - paid->units - c->units, OVER_LAZY);
	} else if (account == c->to.account) {
		give(c->member, account, paid->units + c->units - units);
	} else {
		device_charge_cancel(c);
		if (units > paid->units)
			charge_force(&c->member->actor, account, units - paid->units, OVER_LAZY);
		else
			give(c->member, account, paid->units - units);
	}
	c->units = 0;
	paid->units = units;
}

/* ---- the group's share ----------------------------------------------------------------------------------- */

/* Stocks count as free: they are given back to whoever is refused. */
static uint64_t usage_of(const struct segment *seg, unsigned resource, uint16_t group)
{
	return pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word));
}

bool device_charge_share(int resource, struct device_share *ret)
{
	struct device_member *m = resource < 0 ? NULL : device_member();
	uint64_t least = PAGES_MAX, left = PAGES_MAX, used = 0;
	const struct segment *seg;
	struct device_target to;

	if (!m || !device_region_target(m, (unsigned)resource, &to))
		return false;
	seg = m->actor.seg;
	if (seg->limits->group[mc_load_relaxed(m->group)].view == VIEW_REAL)
		return false;
	for (uint16_t g = mc_load_relaxed(m->group); g != GROUP_NIL; g = group_parent(seg, g)) {
		uint64_t max = mc_load_relaxed(&seg->limits->limits[resource][g].max);
		uint64_t usage = max < PAGES_MAX ? usage_of(seg, (unsigned)resource, g) : 0;
		uint64_t room = usage < max ? max - usage : 0;

		if (max < least) {
			least = max;
			used = usage;
			ret->group = g;
		}
		left = room < left ? room : left;
	}
	if (least >= PAGES_MAX)
		return false;
	left += account_stock(mc_load_relaxed(&account_of(seg, to.account)->word));
	ret->total = least * REGION_UNIT;
	ret->available = left * REGION_UNIT;
	ret->used = used * REGION_UNIT;
	return true;
}
