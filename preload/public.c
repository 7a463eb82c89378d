/* SPDX-License-Identifier: MIT */
/* What a cooperating program finds here by way of libmemctl. */
#include "accounting/cooperate.h"
#include "accounting/member.h"
#include "accounting/units.h"
#include "preload/devices.h"
#include "preload/explicit.h"
#include "preload/export.h"
#include "preload/heap.h"
#include "preload/helper.h"
#include "preload/self.h"
#include "preload/shrinker.h"
#include "preload/sites.h"
#include "preload/volatile.h"

static uint64_t bytes_of(uint64_t pages)
{
	return pages >= PAGES_MAX ? UINT64_MAX : pages << MC_PAGE_SHIFT;
}

static uint64_t usage_of(const struct segment *seg, uint16_t group)
{
	return pool_usage(mc_load_full(&pool_of(seg, RESOURCE_MEMORY, group)->word));
}

static uint64_t room_of(const struct segment *seg, uint16_t group)
{
	uint64_t least = PAGES_MAX;

	for (; group != GROUP_NIL; group = group_parent(seg, group)) {
		uint64_t max = pool_max(seg, RESOURCE_MEMORY, group);
		uint64_t usage = usage_of(seg, group);
		uint64_t room = max >= PAGES_MAX ? PAGES_MAX : usage < max ? max - usage : 0;

		least = room < least ? room : least;
	}
	return least;
}

static void usage(struct cooperate_usage *ret)
{
	const struct self *self = self_get();
	const struct segment *seg;
	uint16_t group;

	*ret = (struct cooperate_usage){ .max = UINT64_MAX, .room = UINT64_MAX };
	if (!self)
		return;
	seg = self->actor.seg;
	group = (uint16_t)mc_load_relaxed(&self->group);
	ret->held = bytes_of(member_held(seg, self->member, RESOURCE_MEMORY));
	ret->unused = bytes_of(heap_unused());
	ret->current = bytes_of(usage_of(seg, group));
	ret->max = bytes_of(charge_least_max(&self->actor, self_target(self).account));
	ret->room = bytes_of(room_of(seg, group));
}

/* The helper listens for those who would want it; without one a refusal of our own still drops what is marked. */
static void offer(void)
{
	helper_tell();
	if (!helper_listens())
		helper_start();
}

static int register_shrinker(shrinker_function *function, void *arg)
{
	int err = shrinker_register(function, arg);

	if (!err)
		offer();
	return err;
}

static void unregister_shrinker(shrinker_function *function, void *arg)
{
	shrinker_unregister(function, arg);
	helper_tell();
}

static int mark_volatile(void *addr, size_t size)
{
	int err = volatile_mark(addr, size);

	if (!err)
		offer();
	return err;
}

static int unmark_volatile(void *addr, size_t size)
{
	int ret = volatile_unmark(addr, size);

	helper_tell();
	return ret;
}

EXPORT const struct cooperate memctl_cooperate = {
	.version = COOPERATE_VERSION,
	.usage = usage,
	.shrinker_register = register_shrinker,
	.shrinker_unregister = unregister_shrinker,
	.mark_volatile = mark_volatile,
	.unmark_volatile = unmark_volatile,
	.charge = explicit_charge,
	.uncharge = explicit_uncharge,
	.devices_offer = devices_offer,
	.device_got = sites_device,
	.device_ended = sites_device_end,
	.shrinking = shrinker_resource,
};
