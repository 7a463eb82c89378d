/* SPDX-License-Identifier: MIT */
/* When memory is short as a whole, in a made-up world: who gives first, and when. */
#include "tests/unit/giver_fixture.h"

#include "controld/reclaim.h"

#define PAGE 4096
#define M 256
#define STEP ((SOFTLIMIT_ROUNDS + 1) * SOFTLIMIT_GOAL) /* a quarter of 60 MiB would be more than a run takes */

static void set(const char *group, const char *key, long long pages)
{
	char more[256];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{\"%s\":%lld}", group, key, pages * PAGE);
	fixture_drop(fixture_do("set", more));
}

/* Three groups with 100 MiB each, of which all can be given: a is 20 MiB above its soft limit, b 60, c has none. */
static uint32_t a, b, c;

static void make_groups(void)
{
	giver_make_group("/a");
	giver_make_group("/b");
	giver_make_group("/c");
	a = giver_join(100, "/a", 100 * M, 100 * M);
	b = giver_join(101, "/b", 100 * M, 100 * M);
	c = giver_join(102, "/c", 100 * M, 100 * M);
	set("/a", "memory.soft", 80 * M);
	set("/b", "memory.soft", 40 * M);
	fixture_turn();
}

static void nobody_is_asked_while_there_is_enough(void **state)
{
	(void)state;
	make_groups();
	fixture_pass(3000);
	assert_int_equal(giver_wanted(a) + giver_wanted(b) + giver_wanted(c), 0);
}

/* Until the roots' budget is met: the worst first. */
static void the_worst_gives_first(void **state)
{
	unsigned before = 0;

	(void)state;
	make_groups();
	set("/", "memory.high", 250 * M);
	fixture_turn();
	assert_int_equal(giver_wanted(b), STEP);
	assert_int_equal(giver_wanted(a) + giver_wanted(c), 0);
	for (int i = 0; i < 100 && fixture_number("/", "memory.current") > 250 * M * PAGE; i++) {
		if (!giver_wanted(a))
			before++;
		assert_int_equal(giver_wanted(c), 0);
		giver_give(a, 100 * M);
		giver_give(b, 100 * M);
		fixture_turn();
	}
	assert_true(fixture_number("/", "memory.current") <= 250 * M * PAGE);
	assert_true(before >= 3); /* b alone, until it is no worse than a */
	assert_true(fixture_row("/", "memory.events", "high") > 0);
	fixture_turn();
	assert_int_equal(giver_wanted(a) + giver_wanted(b) + giver_wanted(c), 0);
}

static void all_give_when_soft_limits_are_met(void **state)
{
	(void)state;
	make_groups();
	set("/", "memory.high", 100 * M);
	for (int i = 0; i < 1000 && fixture_number("/", "memory.current") > 100 * M * PAGE; i++) {
		giver_give(a, 100 * M);
		giver_give(b, 100 * M);
		giver_give(c, 100 * M);
		fixture_pass(100);
	}
	assert_true(fixture_number("/", "memory.current") <= 100 * M * PAGE);
	assert_true(fixture_number("/c", "memory.current") < 100 * M * PAGE);
}

static void a_machine_without_memory_is_a_reason(void **state)
{
	(void)state;
	make_groups();
	fake_machine.available = fake_machine.total / 20 - 1;
	fixture_pass(1100);
	assert_int_equal(giver_wanted(b), STEP);
	giver_give(b, STEP);
	fake_machine.available = fake_machine.total / 20;
	fixture_pass(1100);
	giver_give(b, 0);
	fixture_pass(1100);
	assert_int_equal(giver_wanted(a) + giver_wanted(b) + giver_wanted(c), 0);
}

static void who_has_nothing_is_left_alone_for_a_while(void **state)
{
	(void)state;
	make_groups();
	mc_store_relaxed(&member_of(&fixture.served->seg, b)->purgeable, 0);
	set("/", "memory.high", 299 * M);
	fixture_turn();
	giver_give(b, 0);
	giver_give(a, 0);
	fixture_turn();
	giver_give(c, 0);
	giver_give(a, 0);
	giver_give(b, 0);
	fixture_turn();
	giver_give(a, 0);
	giver_give(b, 0);
	giver_give(c, 0);
	fixture_turn();
	assert_null(fixture.served->reclaims);
	assert_true(fixture.served->next_look_ns > fake_now);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(nobody_is_asked_while_there_is_enough),
		TEST(the_worst_gives_first),
		TEST(all_give_when_soft_limits_are_met),
		TEST(a_machine_without_memory_is_a_reason),
		TEST(who_has_nothing_is_left_alone_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
