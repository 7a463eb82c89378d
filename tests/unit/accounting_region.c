/* SPDX-License-Identifier: MIT */
/* Regions: registering, names people use, limits of groups there and to come, and settling without
 * their pools. */
#include "tests/lib/unit.h"

#include "accounting/region.h"
#include "tests/lib/ground.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIRST "cuda/GPU-00000000-0000-0000-0000-000000000001/vram"
#define SECOND "cuda/GPU-00000000-0000-0000-0000-000000000002/vram"
#define MIB_UNITS (1048576u / REGION_UNIT)

static struct ground ground;

static int up(void **state)
{
	(void)state;
	ground_up(&ground);
	return 0;
}

static int down(void **state)
{
	(void)state;
	ground_down(&ground);
	return 0;
}

static unsigned have(const char *name, const char *address)
{
	unsigned region = 0;

	assert_int_equal(region_register(&ground.seg, name, address, 1u << 30, &region), 0);
	return region;
}

static void a_name_is_registered_once(void **state)
{
	unsigned first = have(FIRST, "0000:02:00.0"), again = 0;

	(void)state;
	assert_int_equal(region_register(&ground.seg, FIRST, "", 0, &again), 0);
	assert_int_equal(again, first);
	assert_int_equal(region_capacity(&ground.seg, first), 1u << 30);
	assert_int_equal(region_register(&ground.seg, "", "", 0, &again), -EINVAL);
	assert_int_equal(region_register(&ground.seg, "a b", "", 0, &again), -EINVAL);
	assert_int_equal(region_find(&ground.seg, SECOND, &again), -ENODEV);
}

/* One API tells a UUID, the other where the device is plugged in: whoever comes first names it. */
static void one_device_has_one_region(void **state)
{
	unsigned by_address = have("opencl/0000:0a:00.0/vram", "0000:0a:00.0"), by_uuid, found = 0;

	(void)state;
	assert_int_equal(have(FIRST, "0000:0A:00.0"), by_address);
	assert_int_equal(region_find_device(&ground.seg, FIRST, "0000:0A:00.0", &found), 0);
	assert_int_equal(found, by_address);
	by_uuid = have(SECOND, "0000:0b:00.0");
	assert_int_not_equal(by_uuid, by_address);
	assert_int_equal(have("opencl/0000:0b:00.0/vram", "0000:0b:00.0"), by_uuid);
	/* parts of one device, each with a UUID */
	assert_int_not_equal(have("cuda/MIG-1/vram", "0000:0b:00.0"), by_uuid);
	assert_int_not_equal(have("cuda/MIG-2/vram", "0000:0b:00.0"), have("cuda/MIG-1/vram", "0000:0b:00.0"));
	/* none tells an address */
	assert_int_not_equal(have("vulkan/a/vram", ""), have("opencl/a/vram", ""));
	assert_int_equal(region_find_device(&ground.seg, "opencl/b/vram", "", &found), -ENODEV);
}

static void people_may_use_other_names(void **state)
{
	unsigned first = have(FIRST, "0000:02:00.0"), second = have(SECOND, "0000:01:00.0"), found = 0;

	(void)state;
	assert_int_equal(region_find_alias(&ground.seg, "gpu0", &found), 0);
	assert_int_equal(found, second); /* by address */
	assert_int_equal(region_find_alias(&ground.seg, "gpu1", &found), 0);
	assert_int_equal(found, first);
	assert_int_equal(region_find_alias(&ground.seg, "gpu2", &found), -ENODEV);
	assert_int_equal(region_find_alias(&ground.seg, "gpu01", &found), -ENODEV);
	assert_int_equal(region_find_alias(&ground.seg, "0000:02:00.0", &found), 0);
	assert_int_equal(found, first);
	assert_int_equal(region_find_alias(&ground.seg, "GPU-00000000-0000-0000-0000-000000000002", &found), 0);
	assert_int_equal(found, second);
	assert_int_equal(region_find_alias(&ground.seg, "GPU-0000", &found), -ENODEV);
}

static void all_holds_for_those_to_come(void **state)
{
	uint16_t group = ground_group(&ground, "/g", PAGES_MAX);
	unsigned all = have(REGION_ALL, ""), first;

	(void)state;
	mc_store_full(&ground.seg.limits->limits[all][group].max, 77);
	first = have(FIRST, "");
	assert_int_equal(pool_max(&ground.seg, first, group), 77);
	assert_true(pool_max(&ground.seg, first, ground_group(&ground, "/later", PAGES_MAX)) >= PAGES_MAX);
	assert_int_equal(region_next(&ground.seg, 0), first);
	assert_int_equal(region_next(&ground.seg, first + 1), RESOURCES_MAX);
}

static void there_is_an_end(void **state)
{
	char name[32];
	unsigned region;
	int err = 0;

	(void)state;
	for (unsigned i = 0; i < RESOURCES_MAX && !err; i++) {
		(void)snprintf(name, sizeof(name), "x/%u/y", i);
		err = region_register(&ground.seg, name, "", 0, &region);
		assert_true(err == 0 || i == RESOURCES_MAX - RESOURCE_REGION_FIRST);
	}
	assert_int_equal(err, -ENOSPC);
}

static uint32_t charge(struct party *p, unsigned region, uint16_t group, uint64_t units)
{
	int slot = member_account(&ground.seg, p->member, region, group);
	uint32_t account;

	assert_true(slot >= 0);
	account = member_account_at(&ground.seg, p->member, (unsigned)slot);
	assert_int_equal(charge_try(&p->by, account, units, NULL), 0);
	return account;
}

static uint64_t usage(unsigned region, uint16_t group)
{
	return pool_usage(mc_load_full(&pool_of(&ground.seg, region, group)->word));
}

static void a_dead_member_gives_back(void **state)
{
	uint16_t group = ground_group(&ground, "/g", PAGES_MAX);
	struct party p = ground_join(&ground, group);
	unsigned region = have(FIRST, "");
	struct actor daemon = ground_daemon(&ground);

	(void)state;
	(void)charge(&p, region, group, 100 * MIB_UNITS);
	assert_int_equal(usage(region, GROUP_ROOT), 100 * MIB_UNITS);
	(void)settle_dead(&daemon, p.member);
	assert_int_equal(usage(region, group), 0);
	assert_int_equal(usage(region, GROUP_ROOT), 0);
}

/* Most members map the pools of host memory alone, and settle what they did not charge themselves.
 */
static void who_maps_less_settles_all(void **state)
{
	uint16_t group = ground_group(&ground, "/g", PAGES_MAX);
	struct party p = ground_join(&ground, group);
	unsigned region = have(FIRST, "");
	struct segment narrow;

	(void)state;
	assert_int_equal(segment_attach(ground.dir, SEGMENT_MEMBER, &narrow), 0);
	(void)charge(&p, region, group, 3 * MIB_UNITS);
	settle_leave(&narrow, p.member);
	assert_int_equal(usage(region, group), 0);
	(void)charge(&p, region, group, 3 * MIB_UNITS);
	assert_int_equal(settle_exec(&narrow, p.member, group, "new"), 0);
	assert_int_equal(usage(region, group), 0);
	assert_int_equal(usage(region, GROUP_ROOT), 0);
	segment_detach(&narrow);
}

/* Where the rest cannot be mapped it stays charged, and the daemon gives it back. */
static void what_cannot_be_mapped_is_left_to_the_daemon(void **state)
{
	uint16_t group = ground_group(&ground, "/g", PAGES_MAX);
	struct party p = ground_join(&ground, group);
	unsigned region = have(FIRST, "");
	struct actor daemon = ground_daemon(&ground);
	struct segment narrow;

	(void)state;
	assert_int_equal(segment_attach(ground.dir, SEGMENT_MEMBER, &narrow), 0);
	strcpy(narrow.dir, "/nonexistent");
	(void)charge(&p, region, group, 3 * MIB_UNITS);
	settle_leave(&narrow, p.member);
	assert_int_equal(usage(region, group), 3 * MIB_UNITS);
	assert_int_equal(settle_exec(&narrow, p.member, group, "new"), 0);
	assert_int_equal(usage(region, group), 3 * MIB_UNITS);
	segment_detach(&narrow);
	(void)settle_dead(&daemon, p.member);
	assert_int_equal(usage(region, group), 0);
}

static void large_pieces_stay_in_stock(void **state)
{
	uint16_t group = ground_group(&ground, "/g", PAGES_MAX);
	struct party p = ground_join(&ground, group);
	unsigned region = have(FIRST, "");
	uint32_t account = charge(&p, region, group, MIB_UNITS);

	(void)state;
	charge_uncharge_keeping(&p.by, account, MIB_UNITS, 2048);
	assert_int_equal(ground_held(&ground, account), 0);
	assert_int_equal(ground_stock(&ground, account), MIB_UNITS);
	mc_store_full(&ground.seg.limits->limits[region][group].max, 2 * MIB_UNITS);
	assert_int_equal(charge_try(&p.by, account, 2 * MIB_UNITS, NULL), 0); /* the stock is part of it */
	charge_uncharge_keeping(&p.by, account, MIB_UNITS, 2048);
	assert_int_equal(ground_stock(&ground, account), 0); /* a limit is near */
	charge_uncharge(&p.by, account, MIB_UNITS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_registered_once, up, down),
		cmocka_unit_test_setup_teardown(one_device_has_one_region, up, down),
		cmocka_unit_test_setup_teardown(people_may_use_other_names, up, down),
		cmocka_unit_test_setup_teardown(all_holds_for_those_to_come, up, down),
		cmocka_unit_test_setup_teardown(there_is_an_end, up, down),
		cmocka_unit_test_setup_teardown(a_dead_member_gives_back, up, down),
		cmocka_unit_test_setup_teardown(who_maps_less_settles_all, up, down),
		cmocka_unit_test_setup_teardown(what_cannot_be_mapped_is_left_to_the_daemon, up, down),
		cmocka_unit_test_setup_teardown(large_pieces_stay_in_stock, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
