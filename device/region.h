/* SPDX-License-Identifier: MIT */
/* Regions as this process uses them: which one a device is, and which account of ours charges go
 * to. */
#ifndef DEVICE_REGION_H
#define DEVICE_REGION_H

#include "device/member.h"

/* The resource of the region `name`, registered with the daemon if this is the first time anybody
 * meets it. `address` (may be "") is where the device is plugged in, `capacity` in bytes, 0
 * unknown. Negative: it cannot be charged, -ENODEV for lack of a daemon, -ENOTCONN: not a member.
 * Takes up to 2 s at the first time. */
int device_region_meet(const char *name, const char *address, uint64_t capacity);

/* "cuda/GPU-<uuid>/vram" into name[REGION_NAME_MAX + 1]: the one name under which every API knows a
 * device of NVIDIA's. */
void device_region_name_nvidia(const unsigned char uuid[16], char *name);

struct device_target {
	uint32_t account;
	unsigned slot; /* its place in the member's table: what a ledger keeps */
};

/* Where charges to a region go now: the account in the group that this process is in. False: none
 * can be had. */
bool device_region_target_slowly(struct device_member *m, unsigned resource, struct device_target *ret);

#define DEVICE_TARGET_VALID (1ull << 63)

static inline bool device_region_target(struct device_member *m, unsigned resource, struct device_target *ret)
{
	uint64_t target = mc_load_relaxed(&m->target[resource]);

	if (__builtin_expect(!(target & DEVICE_TARGET_VALID) || (uint16_t)(target >> 32) != mc_load_relaxed(m->group),
			     0))
		return device_region_target_slowly(m, resource, ret);
	ret->account = (uint32_t)target;
	ret->slot = (unsigned)(target >> 48) & 0xff;
	return true;
}

#endif
