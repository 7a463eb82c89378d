/* SPDX-License-Identifier: MIT */
/* The device library's part in giving back. */
#include "preload/devices.h"

#include "accounting/evict.h"
#include "accounting/member.h"
#include "preload/helper.h"
#include "preload/self.h"
#include "preload/shrinker.h"

static cooperate_device_function *_Atomic offered;

void devices_offer(cooperate_device_function *function)
{
	mc_store_release(&offered, function);
	helper_tell();
	if (!helper_listens())
		helper_start();
}

bool devices_any(void)
{
	const struct self *self = mc_load_acquire(&offered) ? self_get() : NULL;

	return self && mc_load_relaxed(&member_of(self->actor.seg, self->member)->device_gives);
}

static uint64_t from_drivers(uint32_t regions, uint64_t units)
{
	cooperate_device_function *function = mc_load_acquire(&offered);

	return function && units ? function(regions, units) : 0;
}

/* What they free may come to lie in a driver's pool. They are told of one region at a time. */
static void from_shrinkers(uint32_t regions, uint64_t units)
{
	uint64_t given = 0;

	for (unsigned r = RESOURCE_REGION_FIRST; r < RESOURCES_MAX && given < units; r++)
		if (regions >> r & 1)
			given += shrinker_call(r, units - given);
	if (given)
		(void)from_drivers(regions, units);
}

void devices_meet(const struct self *self)
{
	const struct segment *seg = self->actor.seg;
	uint32_t regions, ask;
	uint64_t wanted, given;

	if (!evict_is_asked(member_of(seg, self->member)))
		return;
	wanted = evict_take(seg, self->member, &regions, &ask);
	given = from_drivers(regions, wanted);
	if (given < wanted && shrinker_any())
		from_shrinkers(regions, wanted - given);
	evict_answer(seg, self->member, ask);
}
