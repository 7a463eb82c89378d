/* SPDX-License-Identifier: MIT */
/* When memory is short as a whole, in a made-up world: who gives first, and when. */
#include "tests/unit/giver_fixture.h"

#include "accounting/effort.h"
#include "controld/reclaim.h"
#include "controld/scarcity.h"

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

/* What all give for memory.high of `/` is pressure there; what soft limits give is not. */
static void the_rest_is_booked_as_pressure(void **state)
{
	mc_word *effort = NULL;

	(void)state;
	make_groups();
	effort = &pool_of(&fixture.served->seg, RESOURCE_MEMORY, GROUP_ROOT)->effort;
	mc_store_full(&fixture.served->seg.limits->header.watched, 1u << MARK_STRAINED);
	set("/", "memory.high", 300 * M - 400);
	fixture_turn();
	giver_give(b, 300); /* for the soft limit */
	fixture_turn();
	assert_int_equal(fixture_number("/", "memory.current"), (300 * M - 300) * PAGE);
	assert_int_equal(mc_load_full(effort), 0);
	for (int i = 0; i < 100 && fixture_number("/", "memory.current") > (300 * M - 400) * PAGE; i++) {
		giver_give(a, 0);
		giver_give(b, 0);
		giver_give(c, 100);
		fixture_pass(100);
	}
	fixture_turn();
	assert_true(fixture_number("/", "memory.current") <= (300 * M - 400) * PAGE);
	assert_int_equal(effort_scanned(mc_load_full(effort)), 100);
	assert_int_equal(effort_reclaimed(mc_load_full(effort)), 100);
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

/* ---- two memory nodes ------------------------------------------------------------------------------------------ */

#define PER_NODE (1024u * M)

static int two_nodes(void **state)
{
	fake_node[0] = fake_node[1] = (struct numa_node){ .total = PER_NODE, .available = PER_NODE / 2 };
	return fixture_setup(state);
}

static void lies(pid_t pid, uint64_t first, uint64_t second)
{
	fake_find(pid)->spread = (struct numa_spread){ { first, second } };
}

/* a lies on the first, b on the second, c on both. */
static void make_groups_on_nodes(void)
{
	make_groups();
	lies(100, 100 * M, 0);
	lies(101, 0, 100 * M);
	lies(102, 50 * M, 50 * M);
	set("/a", "memory.soft", 79 * M); /* keys are made anew */
	set("/b", "memory.soft", 39 * M);
	fixture_turn();
}

/* However many are further above their soft limit and lie elsewhere: a run tries three groups. */
static void a_node_that_is_short_is_a_reason(void **state)
{
	uint32_t d;

	(void)state;
	make_groups_on_nodes();
	giver_make_group("/d");
	d = giver_join(103, "/d", 100 * M, 100 * M);
	lies(102, 0, 100 * M);
	lies(103, 0, 100 * M);
	set("/c", "memory.soft", 38 * M);
	set("/d", "memory.soft", 37 * M);
	fixture_pass(1100);
	assert_int_equal(giver_wanted(a) + giver_wanted(b) + giver_wanted(c) + giver_wanted(d), 0);
	fake_node[0].available = PER_NODE / SCARCITY_PART - 1;
	fixture_pass(1100);
	assert_true(giver_wanted(a) >= SOFTLIMIT_GOAL);
	assert_int_equal(giver_wanted(b) + giver_wanted(c) + giver_wanted(d), 0);
}

static void only_what_lies_there_is_asked_for(void **state)
{
	(void)state;
	make_groups_on_nodes();
	lies(101, 40, 100 * M - 40);
	set("/b", "memory.soft", 40 * M);
	fixture_turn();
	fake_node[0].available = PER_NODE / SCARCITY_PART - 1;
	fixture_pass(1100);
	assert_int_equal(giver_wanted(b), 40); /* it is the worst there too, with one page in 600 */
	assert_int_equal(giver_wanted(c), 0);
}

static void a_short_machine_goes_from_node_to_node(void **state)
{
	(void)state;
	make_groups_on_nodes();
	fake_node[1].available = PER_NODE / 4;
	fixture_pass(1100);
	mc_store_relaxed(&member_of(&fixture.served->seg, b)->purgeable, 0);
	set("/", "memory.high", 299 * M);
	for (int i = 0; i < 10 && !giver_wanted(a); i++) {
		giver_give(b, 0); /* on the node that is shortest; it is asked for its shrinkers, too */
		assert_int_equal(giver_wanted(c), 0);
		fixture_pass(100);
	}
	assert_true(giver_wanted(a) >= SOFTLIMIT_GOAL);
	assert_int_equal(giver_wanted(c), 0);
}

#define TEST_OF_TWO(name) cmocka_unit_test_setup_teardown(name, two_nodes, fixture_teardown)
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(nobody_is_asked_while_there_is_enough),	 TEST(the_worst_gives_first),
		TEST(all_give_when_soft_limits_are_met),	 TEST(the_rest_is_booked_as_pressure),
		TEST(a_machine_without_memory_is_a_reason),	 TEST_OF_TWO(a_node_that_is_short_is_a_reason),
		TEST_OF_TWO(only_what_lies_there_is_asked_for),	 TEST_OF_TWO(a_short_machine_goes_from_node_to_node),
		TEST(who_has_nothing_is_left_alone_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
