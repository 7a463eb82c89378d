/* SPDX-License-Identifier: MIT */
/* Members that wait for each other: when that is so, who is picked, and what is done about it in a made-up world. */
#include "tests/unit/controld_fixture.h"

#include "accounting/plea.h"
#include "controld/deadlock.h"
#include "controld/standstill.h"

#define M 256

/* ---- the decision -------------------------------------------------------------------------------------------- */

static void two_who_wait_are_a_deadlock(void **state)
{
	struct deadlock_member m[] = {
		{ .pid = 1, .held = 30, .waits = true },
		{ .pid = 2, .held = 30, .waits = true },
	};

	(void)state;
	assert_true(deadlock_is(m, 2, 1));
	assert_false(deadlock_is(m, 1, 1)); /* it waits for whoever has set the limit */
	assert_false(deadlock_is(m, 2, 0)); /* there is room */
	m[1].runs = true;		    /* another thread of it */
	assert_false(deadlock_is(m, 2, 1));
}

static void who_could_make_room_decides(void **state)
{
	struct deadlock_member m[] = {
		{ .pid = 1, .held = 30, .waits = true },
		{ .pid = 2, .held = 30, .waits = true },
		{ .pid = 3, .held = 10 },
		{ .pid = 4, .held = 10, .runs = true },
	};

	(void)state;
	assert_false(deadlock_is(m, 4, 20)); /* both together could */
	assert_true(deadlock_is(m, 4, 21));
	assert_true(deadlock_is(m, 3, 11));
}

static void an_ancestor_waits_with_its_child(void **state)
{
	struct deadlock_member m[] = {
		{ .pid = 10, .held = 500 },		  /* make */
		{ .pid = 11, .parent = 10, .held = 500 }, /* a shell */
		{ .pid = 12, .parent = 11, .held = 5, .waits = true },
		{ .pid = 13, .parent = 10, .held = 5, .waits = true },
	};

	(void)state;
	assert_true(deadlock_is(m, 4, 1));
	m[1].runs = true; /* then it does not wait for its child */
	assert_false(deadlock_is(m, 4, 1));
	m[1].runs = false;
	m[1].parent = m[2].parent = m[3].parent = 0;
	assert_false(deadlock_is(m, 4, 1));
	m[0].parent = 11; /* nonsense from a changing /proc ends */
	m[1].parent = 10;
	assert_false(deadlock_is(m, 4, 1));
}

static void who_is_picked(void **state)
{
	struct deadlock_member m[] = {
		{ .pid = 1, .held = 90, .start_time = 1 },
		{ .pid = 2, .held = 30, .start_time = 3, .waits = true },
		{ .pid = 3, .held = 30, .start_time = 2, .waits = true },
		{ .pid = 4, .held = 20, .start_time = 4, .waits = true, .has_leave = true },
		{ .pid = 5, .held = 10, .start_time = 5, .waits = true, .runs = true },
	};

	(void)state;
	assert_int_equal(deadlock_to_pass(m, 5), 2);
	assert_int_equal(deadlock_to_refuse(m, 5), 1);
	assert_int_equal(deadlock_to_refuse(m + 3, 1), 0);
	assert_int_equal(deadlock_to_pass(m, 1), 1);
	assert_int_equal(deadlock_to_refuse(m, 1), 1);
}

/* ---- what is done -------------------------------------------------------------------------------------------- */

static const struct segment *seg(void)
{
	return &fixture.served->seg;
}

static uint32_t member[3];

static void join(int i, uint64_t pages)
{
	struct fake_process *p = fake_add(100 + i, (uint64_t)(100 + i));

	p->usage.anon = pages;
	member[i] = fixture_join(p, "/a");
	fixture_charge(member[i], pages);
}

static void make(const char *values)
{
	char more[256];

	(void)snprintf(more, sizeof(more),
		       "\"group\":\"/a\",\"values\":{\"memory.max\":\"64M\",\"memory.oom.policy\":\"wait\"%s}", values);
	fixture_drop(fixture_do("create", more));
	join(0, 40 * M);
	join(1, 24 * M);
	fixture_turn();
}

/* The first `n` of them stand still all the time, for `ms`. */
static void stand_still(int n, uint64_t ms)
{
	for (uint64_t passed = 0; passed < ms; passed += 100) {
		for (int i = 0; i < n; i++)
			mc_add_relaxed(&member_of(seg(), member[i])->stall_ns, 100000000);
		mc_store_full(&pool_of(seg(), RESOURCE_MEMORY, 1)->waited, M);
		fixture_pass(100);
	}
}

static void expect_report(const char *words)
{
	json_t *report = fixture_get("/a", "memory.oom.report");

	if (!strstr(json_string_value(report), words))
		print_error("no '%s' in:\n%s\n", words, json_string_value(report));
	assert_non_null(strstr(json_string_value(report), words));
	json_decref(report);
}

static bool may_go_beyond(int i, uint64_t pages)
{
	struct actor by = { .seg = seg(), .member = member[i] };

	return leave_covers(&by, RESOURCE_MEMORY, 1, 1, pages);
}

static void the_largest_is_let_through(void **state)
{
	(void)state;
	make("");
	stand_still(2, 300);
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 0);
	stand_still(2, 1000);
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 1); /* once an episode */
	assert_true(may_go_beyond(0, 16 * M));
	assert_false(may_go_beyond(0, 16 * M + 1)); /* a quarter */
	assert_false(may_go_beyond(1, 1));
	expect_report("members of /a wait for each other: memory.current 64.0 MiB, max 64.0 MiB\n"
		      "let through beyond memory.max, for a quarter of it at most: pid 100 (new-100) holds 40.0 MiB");
	assert_false(leave_is_refused(seg(), RESOURCE_MEMORY, member[1], 1));
	stand_still(2, 2000); /* it was not enough */
	expect_report("refused, for the others to go on: pid 101");
	assert_true(leave_is_refused(seg(), RESOURCE_MEMORY, member[1], 1));
	assert_false(leave_is_refused(seg(), RESOURCE_MEMORY, member[1], 1)); /* once */
}

static void leave_ends_with_the_need(void **state)
{
	(void)state;
	make("");
	stand_still(2, 1300);
	assert_true(may_go_beyond(0, 1));
	mc_store_full(&pool_of(seg(), RESOURCE_MEMORY, 1)->waited, 0);
	fake_end(fake_find(101));
	fixture_pass(1000);
	fixture_pass(1000);
	assert_false(leave_is_given(seg(), RESOURCE_MEMORY, member[0], 1));
}

static void or_one_is_refused(void **state)
{
	(void)state;
	make(",\"memory.oom.deadlock\":\"refuse\"");
	stand_still(2, 2500);
	assert_false(may_go_beyond(0, 1));
	assert_true(leave_is_refused(seg(), RESOURCE_MEMORY, member[1], 1));
	assert_false(leave_is_refused(seg(), RESOURCE_MEMORY, member[0], 1));
}

static void or_nothing_is_done(void **state)
{
	(void)state;
	make(",\"memory.oom.deadlock\":\"wait\"");
	stand_still(2, 5000);
	assert_false(leave_is_given(seg(), RESOURCE_MEMORY, member[0], 1));
	assert_false(leave_is_given(seg(), RESOURCE_MEMORY, member[1], 1));
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 1);
}

static void one_alone_waits(void **state)
{
	(void)state;
	make("");
	stand_still(1, 5000);
	assert_false(leave_is_given(seg(), RESOURCE_MEMORY, member[0], 1));
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 1);
}

static void leave_is_of_one_member_and_group(void **state)
{
	(void)state;
	make("");
	leave_grant(seg(), RESOURCE_MEMORY, member[0], 1, 10);
	assert_true(may_go_beyond(0, 10));
	assert_false(leave_is_given(seg(), RESOURCE_MEMORY, member[0], 0));
	mc_add_relaxed(&member_of(seg(), member[0])->generation, 1); /* the slot is another's */
	assert_false(may_go_beyond(0, 1));
	leave_refuse(seg(), RESOURCE_MEMORY, member[0], 1);
	assert_false(may_go_beyond(0, 1));
	leave_grant(seg(), RESOURCE_MEMORY, member[0], 1, 10);
	fixture_drop(fixture_do("set", "\"group\":\"/\",\"values\":{\"memory.max\":\"64M\"}"));
	assert_false(may_go_beyond(0, 1)); /* that of / holds */
}

/* ---- a device's memory ------------------------------------------------------------------------------------- */

static unsigned region;

static bool may_go_beyond_in_region(int i, uint64_t units)
{
	struct actor by = { .seg = seg(), .member = member[i] };

	return leave_covers(&by, region, 1, 1, units);
}

static void make_region(const char *values)
{
	char more[256];

	region = fixture_region();
	make(values);
	(void)snprintf(more, sizeof(more), "\"group\":\"/a\",\"values\":{\"dmem.max\":\"all 64M\"}");
	fixture_drop(fixture_do("set", more));
	fixture_charge_region(member[0], region, 40 * M);
	fixture_charge_region(member[1], region, 24 * M);
}

static void stand_still_for_region(uint64_t ms)
{
	for (uint64_t passed = 0; passed < ms; passed += 100) {
		for (int i = 0; i < 2; i++)
			mc_add_relaxed(&account_of(seg(), fixture_region_account(member[i], region))->stall_ns,
				       100000000);
		mc_store_full(&pool_of(seg(), region, 1)->waited, M);
		fixture_pass(100);
	}
}

static void of_a_region_the_largest_is_let_through(void **state)
{
	(void)state;
	make_region("");
	stand_still_for_region(1300);
	assert_true(may_go_beyond_in_region(0, 16 * M));
	assert_false(may_go_beyond_in_region(0, 16 * M + 1));
	assert_false(may_go_beyond_in_region(1, 1));
	assert_false(may_go_beyond(0, 1)); /* host memory's limit holds */
	assert_int_equal(fixture_row("/a", "dmem.events", FIXTURE_REGION ".oom"), 1);
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 0);
	expect_report("members of /a wait for each other: dmem.current of " FIXTURE_REGION " 64.0 MiB, max 64.0 MiB\n"
		      "let through beyond dmem.max, for a quarter of it at most: pid 100 (new-100) holds 40.0 MiB");
	stand_still_for_region(2000);
	assert_false(leave_is_refused(seg(), RESOURCE_MEMORY, member[1], 1));
	assert_true(leave_is_refused(seg(), region, member[1], 1));
}

static void or_of_a_region_one_is_refused(void **state)
{
	(void)state;
	make_region(",\"memory.oom.deadlock\":\"refuse\"");
	stand_still_for_region(2500);
	assert_false(may_go_beyond_in_region(0, 1));
	assert_true(leave_is_refused(seg(), region, member[1], 1));
}

/* Who has leave in one region has none in another. */
static void leave_is_of_one_resource(void **state)
{
	(void)state;
	make_region("");
	leave_grant(seg(), region, member[0], 1, 10);
	assert_true(may_go_beyond_in_region(0, 10));
	assert_false(leave_is_given(seg(), region + 1, member[0], 1));
	assert_false(leave_is_given(seg(), RESOURCE_MEMORY, member[0], 1));
	leave_grant(seg(), RESOURCE_MEMORY, member[0], 1, 5); /* beside that: both hold */
	assert_true(may_go_beyond_in_region(0, 10) && may_go_beyond(0, 5) && !may_go_beyond(0, 6));
	leave_withdraw(seg(), region, member[0]);
	assert_false(may_go_beyond_in_region(0, 1));
	assert_true(may_go_beyond(0, 5));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_who_wait_are_a_deadlock),
		cmocka_unit_test(who_could_make_room_decides),
		cmocka_unit_test(an_ancestor_waits_with_its_child),
		cmocka_unit_test(who_is_picked),
		TEST(the_largest_is_let_through),
		TEST(leave_ends_with_the_need),
		TEST(or_one_is_refused),
		TEST(or_nothing_is_done),
		TEST(one_alone_waits),
		TEST(leave_is_of_one_member_and_group),
		TEST(of_a_region_the_largest_is_let_through),
		TEST(or_of_a_region_one_is_refused),
		TEST(leave_is_of_one_resource),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
