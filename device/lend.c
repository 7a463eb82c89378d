/* SPDX-License-Identifier: MIT */
/* What this process's drivers keep and do not use, given back because another process wants it. */
#include "device/lend.h"

#include "accounting/cooperate.h"
#include "accounting/region.h"
#include "device/refused.h"

/* In this namespace there may be no preload library: then nobody else can ask. */
extern const struct cooperate memctl_cooperate __attribute__((weak));

static uint64_t held(const struct device_member *m, unsigned resource)
{
	return member_held(m->actor.seg, m->member, resource);
}

static uint64_t give_of(const struct device_member *m, unsigned resource, uint64_t units)
{
	uint64_t before = held(m, resource), after;

	(void)device_trim(resource, units * REGION_UNIT);
	after = held(m, resource);
	return before > after ? before - after : 0;
}

static uint64_t give(uint32_t regions, uint64_t units)
{
	const struct device_member *m = device_member();
	uint64_t given = 0;

	for (unsigned r = RESOURCE_REGION_FIRST; m && r < RESOURCES_MAX && given < units; r++)
		if (regions >> r & 1)
			given += give_of(m, r, units - given);
	return given;
}

void device_lend_now(struct device_member *m)
{
	uint32_t regions, ask;
	uint64_t wanted;

	if (mc_load_relaxed(&member_of(m->actor.seg, m->member)->answers))
		return;
	wanted = evict_take(m->actor.seg, m->member, &regions, &ask);
	(void)give(regions, wanted);
	evict_answer(m->actor.seg, m->member, ask);
}

void device_lend_from(struct device_member *m, unsigned resource)
{
	(void)mc_or_full(&member_of(m->actor.seg, m->member)->device_gives, 1u << resource);
	if (&memctl_cooperate && memctl_cooperate.version >= 2)
		memctl_cooperate.devices_offer(give);
}
