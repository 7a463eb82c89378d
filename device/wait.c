/* SPDX-License-Identifier: MIT */
/* Waiting for room in a region. */
#include "device/wait.h"

#include "accounting/account.h"
#include "accounting/group.h"
#include "accounting/pool.h"
#include "accounting/reclaim.h"

/* What lies in another's stock wakes nobody: the next try drains it. */
#define LOOK_MS 250u

static void want_room(const struct segment *seg, unsigned resource, uint16_t leaf, uint64_t units)
{
	for (uint16_t g = leaf; g != GROUP_NIL; g = group_parent(seg, g))
		if (pool_usage(mc_load_full(&pool_of(seg, resource, g)->word)) + units >
		    pool_max(seg, resource, g))
			reclaim_want_room(seg, resource, g, units);
}

bool device_wait(const struct actor *by, uint32_t account, uint16_t group, uint64_t units)
{
	const struct segment *seg = by->seg;
	uint64_t meta = mc_load_relaxed(&account_of(seg, account)->meta);
	unsigned resource = account_meta_resource(meta);
	uint32_t seen = reclaim_gave(seg);

	if (seg->limits->group[group].oom_policy != OOM_WAIT ||
	    units > pool_max(seg, resource, group))
		return false;
	want_room(seg, resource, account_meta_group(meta), units);
	if (!charge_has_room(by, account, units))
		reclaim_wait(seg, seen, LOOK_MS);
	return true;
}
