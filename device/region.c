/* SPDX-License-Identifier: MIT */
/* Regions as this process uses them. */
#include "device/region.h"

#include "accounting/member.h"
#include "accounting/region.h"
#include "device/ask.h"

#include <errno.h>
#include <stdio.h>

int device_region_meet(const char *name, const char *address, uint64_t capacity)
{
	struct device_member *m = device_member();
	unsigned resource = 0;
	int err;

	if (!m)
		return -ENOTCONN;
	if (region_find_device(m->actor.seg, name, address, &resource) == 0 && region_capacity(m->actor.seg, resource))
		return (int)resource;
	err = ask_for_region(device_member_dir(), name, address, capacity);
	if (!err && region_find_device(m->actor.seg, name, address, &resource))
		err = -ENODEV;
	return err ? err : (int)resource;
}

void device_region_name_nvidia(const unsigned char uuid[16], char *name)
{
	char *at = name + sprintf(name, "cuda/GPU-");

	for (unsigned i = 0; i < 16; i++)
		at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	(void)sprintf(at, "/vram");
}

bool device_region_target_slowly(struct device_member *m, unsigned resource, struct device_target *ret)
{
	uint16_t group = mc_load_full(m->group);
	int slot = member_account(m->actor.seg, m->member, resource, group);
	uint32_t account;

	if (slot < 0)
		return false;
	account = member_account_at(m->actor.seg, m->member, (unsigned)slot);
	mc_store_relaxed(&m->target[resource],
			 DEVICE_TARGET_VALID | (uint64_t)slot << 48 | (uint64_t)group << 32 | account);
	*ret = (struct device_target){ .account = account, .slot = (unsigned)slot };
	return true;
}
