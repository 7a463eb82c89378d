/* SPDX-License-Identifier: MIT */
/* Asking members, who is worth waiting for, and who is woken. */
#include "tests/lib/unit.h"

#include "accounting/reclaim.h"
#include "tests/lib/ground.h"

#include <errno.h>

static struct ground g;
static uint16_t a, ab, c;
static struct party in_a, in_ab, in_c;

static struct member *slot(const struct party *p)
{
	return &g.seg.counters->member[p->member];
}

static void make_unused(const struct party *p, uint64_t pages)
{
	mc_store_full(&slot(p)->purgeable, pages);
	reclaim_listen(&g.seg, p->member, true);
}

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", 1000);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	c = ground_group(&g, "/c", PAGES_MAX);
	in_a = ground_join(&g, a);
	in_ab = ground_join(&g, ab);
	in_c = ground_join(&g, c);
	return 0;
}

static int down(void **state)
{
	(void)state;
	ground_down(&g);
	return 0;
}

static uint64_t asked(const struct party *p)
{
	uint32_t ask;

	return reclaim_take(&g.seg, p->member, &ask);
}

static void only_members_below_that_listen_are_asked(void **state)
{
	(void)state;
	make_unused(&in_ab, 100);
	make_unused(&in_c, 1000);
	mc_store_full(&slot(&in_a)->purgeable, 500);
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 50, 1), 100);
	assert_int_equal(asked(&in_ab), 50);
	assert_int_equal(asked(&in_a), 0);
	assert_int_equal(asked(&in_c), 0);
}

static void nobody_asks_itself(void **state)
{
	(void)state;
	make_unused(&in_ab, 100);
	assert_int_equal(reclaim_ask_below(&g.seg, a, in_ab.member, 50, 1), 0);
	assert_int_equal(asked(&in_ab), 0);
}

static void the_richest_is_asked_first_and_the_rest_if_need_be(void **state)
{
	(void)state;
	make_unused(&in_a, 30);
	make_unused(&in_ab, 100);
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 60, 1), 100);
	assert_int_equal(asked(&in_a), 0);
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 120, 1), 130);
	assert_int_equal(asked(&in_a), 20);
}

static void who_does_not_answer_is_waited_for_once_a_second(void **state)
{
	uint32_t ask;

	(void)state;
	make_unused(&in_a, 100);
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 10, 1000), 100);
	assert_true(reclaim_is_awaited(&g.seg, in_a.member, 1000 + RECLAIM_PATIENCE_MS - 1));
	assert_false(reclaim_is_awaited(&g.seg, in_a.member, 1000 + RECLAIM_PATIENCE_MS));
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 10, 1500), 0);
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 10, 1000 + RECLAIM_FORGIVE_MS), 100);
	(void)reclaim_take(&g.seg, in_a.member, &ask);
	reclaim_answer(&g.seg, in_a.member, ask);
	assert_false(reclaim_is_awaited(&g.seg, in_a.member, 1000 + RECLAIM_FORGIVE_MS));
	assert_int_equal(reclaim_ask_below(&g.seg, a, MEMBER_NIL, 10, 2900), 100);
}

static void room_that_is_wanted_wakes_and_less_does_not(void **state)
{
	uint32_t seen;

	(void)state;
	assert_int_equal(charge_try(&in_a.by, in_a.account, 1000, NULL), 0);
	reclaim_want_room(&g.seg, RESOURCE_MEMORY, a, 100);
	reclaim_want_room(&g.seg, RESOURCE_MEMORY, a, 500); /* the least decides */
	seen = reclaim_gave(&g.seg);
	charge_uncharge(&in_a.by, in_a.account, 50);
	assert_int_equal(reclaim_gave(&g.seg), seen);
	charge_uncharge(&in_a.by, in_a.account, 50);
	assert_int_not_equal(reclaim_gave(&g.seg), seen);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->waited), 0);
	seen = reclaim_gave(&g.seg);
	charge_uncharge(&in_a.by, in_a.account, 100);
	assert_int_equal(reclaim_gave(&g.seg), seen);
}

static void what_is_refused_first_is_not_refused_for_good(void **state)
{
	uint16_t by = GROUP_ROOT;

	(void)state;
	assert_int_equal(charge_try_as(&in_ab.by, in_ab.account, 1001, CHARGE_FIRST, &by), -ENOMEM);
	assert_int_equal(by, a);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_MAX]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_OOM]), 0);
	assert_int_equal(mc_load_full(&slot(&in_ab)->refused), 0);
	charge_refuse(&in_ab.by, in_ab.account, 1001, by);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_OOM]), 1);
	assert_int_equal(mc_load_full(&slot(&in_ab)->refused), 1);
}

static void large_requests_leave_the_last_room(void **state)
{
	uint64_t max = UNWIND_MAX_LEAST;

	(void)state;
	ground_set_max(&g, a, max);
	assert_int_equal(charge_room_to_unwind(&g.seg, RESOURCE_MEMORY, a), max / UNWIND_PART);
	assert_int_equal(charge_try_as(&in_a.by, in_a.account, max - max / UNWIND_PART + 1, CHARGE_LARGE, NULL),
			 -ENOMEM);
	assert_false(charge_has_room_large(&in_a.by, in_a.account, max - max / UNWIND_PART + 1));
	assert_int_equal(charge_try_as(&in_a.by, in_a.account, max - max / UNWIND_PART, CHARGE_LARGE, NULL), 0);
	assert_int_equal(charge_try(&in_a.by, in_a.account, max / UNWIND_PART, NULL), 0);
	ground_set_max(&g, ab, max - 1);
	assert_int_equal(charge_room_to_unwind(&g.seg, RESOURCE_MEMORY, ab), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_members_below_that_listen_are_asked),
		TEST(nobody_asks_itself),
		TEST(the_richest_is_asked_first_and_the_rest_if_need_be),
		TEST(who_does_not_answer_is_waited_for_once_a_second),
		TEST(room_that_is_wanted_wakes_and_less_does_not),
		TEST(what_is_refused_first_is_not_refused_for_good),
		TEST(large_requests_leave_the_last_room),
	};

	return cmocka_run_group_tests_name("accounting_reclaim", tests, NULL, NULL);
}
