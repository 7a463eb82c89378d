/* SPDX-License-Identifier: MIT */
/* Whom dmem.min and dmem.low leave alone, and the asks. */
#include "tests/lib/unit.h"

#include "accounting/evict.h"
#include "accounting/protection.h"
#include "accounting/region.h"
#include "tests/lib/ground.h"

#include <string.h>

#define HELD 100u /* units of each member */

static struct ground ground;
static unsigned region;

static int up(void **state)
{
	(void)state;
	ground_up(&ground);
	assert_int_equal(region_register(&ground.seg, "cuda/GPU-1/vram", "", 0, &region), 0);
	ground.resource = region;
	return 0;
}

static int down(void **state)
{
	(void)state;
	ground_down(&ground);
	return 0;
}

static void set(uint16_t group, uint64_t min, uint64_t low)
{
	struct limits *l = ground_limits(&ground, group);

	mc_store_full(&l->min, min);
	mc_store_full(&l->low, low);
}

/* A member that holds so much, listens, and may have something to give. */
static struct party member_in(uint16_t group, uint64_t units)
{
	struct party p = ground_join(&ground, group);
	struct member *m = member_of(&ground.seg, p.member);

	charge_force(&p.by, p.account, units, OVER_LAZY);
	mc_store_full(&m->device_gives, 1u << region);
	mc_store_full(&m->answers, 1);
	return p;
}

static uint64_t share(uint64_t has, uint64_t usage, uint64_t claimed, uint64_t own_usage, uint64_t own_setting)
{
	struct protection_parent parent = { has, usage, claimed, true };

	return protection_share(&parent, own_usage, own_setting);
}

/* The kernel's example: 50 for those who claim 75, 25, 0 and 500, and use 50, 50, 50 and 0. */
static void who_claims_too_much_gets_a_share(void **state)
{
	(void)state;
	assert_int_equal(share(50, 150, 75, 50, 75), 33);
	assert_int_equal(share(50, 150, 75, 50, 25), 16);
	assert_int_equal(share(50, 150, 75, 50, 0), 0);
	assert_int_equal(share(50, 150, 75, 0, 500), 0);
}

static void what_nobody_claims_is_divided_by_what_is_used(void **state)
{
	(void)state;
	assert_int_equal(share(100, 150, 50, 100, 50), 75);
	assert_int_equal(share(100, 150, 50, 50, 0), 25);
	assert_int_equal(share(100, 150, 100, 100, 100), 100);
	assert_int_equal(share(PAGES_MAX, 150, 50, 100, 50), 100); /* "max": all that is used */
	assert_int_equal(share(PAGES_MAX, 1ull << 32, 0, 1ull << 31, 0), 1ull << 31);
	assert_int_equal(share(0, 0, 0, 0, 0), 0);
}

static enum evict judge(uint16_t limit, uint16_t group, bool ignore_low)
{
	return evict_judge(&ground.seg, region, limit, group, ignore_low);
}

/* The rows of the rule, in its order. */
static void the_rule(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX), b = ground_group(&ground, "/a/b", PAGES_MAX),
		 other = ground_group(&ground, "/c", PAGES_MAX);

	(void)state;
	(void)member_in(b, HELD);
	set(a, PAGES_MAX, PAGES_MAX);
	assert_int_equal(judge(a, a, false), EVICT_TAKE); /* its own is always fair game */
	assert_int_equal(judge(a, other, false), EVICT_NEVER);
	assert_int_equal(judge(a, b, false), EVICT_TAKE); /* the limit's own does not protect below it */
	assert_int_equal(judge(GROUP_ROOT, b, false), EVICT_NEVER);
	set(a, 0, 0);
	set(b, HELD, 0);
	assert_int_equal(judge(a, b, true), EVICT_NEVER);
	set(b, HELD - 1, 0);
	assert_int_equal(judge(a, b, false), EVICT_TAKE);
	set(b, 0, HELD);
	assert_int_equal(judge(a, b, false), EVICT_LATER);
	assert_int_equal(judge(a, b, true), EVICT_BREACH);
	set(b, 0, HELD - 1);
	assert_int_equal(judge(a, b, false), EVICT_TAKE);
}

static void protection_is_divided_on_the_way_down(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX), b = ground_group(&ground, "/a/b", PAGES_MAX),
		 c = ground_group(&ground, "/a/c", PAGES_MAX);

	(void)state;
	(void)member_in(b, HELD);
	(void)member_in(c, HELD);
	set(a, 0, HELD);
	set(b, 0, HELD); /* all that there is */
	assert_int_equal(judge(GROUP_ROOT, b, false), EVICT_LATER);
	assert_int_equal(judge(GROUP_ROOT, c, false), EVICT_TAKE);
	set(c, 0, 1); /* now it has to be shared */
	assert_int_equal(judge(GROUP_ROOT, b, false), EVICT_TAKE);
	set(a, 0, 2 * HELD); /* what b and c do not claim goes to them */
	assert_int_equal(judge(GROUP_ROOT, c, false), EVICT_LATER);
}

static bool is_asked(const struct party *p)
{
	return evict_is_asked(member_of(&ground.seg, p->member));
}

static void meet(const struct party *p, uint64_t units)
{
	uint32_t regions, ask;

	assert_int_equal(evict_take(&ground.seg, p->member, &regions, &ask), units);
	assert_int_equal(regions, 1u << region);
	evict_answer(&ground.seg, p->member, ask);
	assert_false(is_asked(p));
}

static struct evict_wish wish_of(uint16_t limit, uint64_t units)
{
	return (struct evict_wish){ .resource = region, .limit = limit, .except = MEMBER_NIL, .units = units };
}

static void the_largest_is_asked_or_all(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX), other = ground_group(&ground, "/c", PAGES_MAX);
	struct party small = member_in(a, HELD), large = member_in(a, 2 * HELD), outside = member_in(other, 9 * HELD);
	struct evict_wish w = wish_of(a, 7);

	(void)state;
	w.only_largest = true;
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 1);
	assert_true(is_asked(&large) && !is_asked(&small) && !is_asked(&outside));
	assert_true(evict_is_awaited_below(&ground.seg, a, 1000));
	assert_false(evict_is_awaited_below(&ground.seg, other, 1000));
	meet(&large, 7);
	assert_false(evict_is_awaited_below(&ground.seg, a, 1000));
	w.only_largest = false;
	w.except = large.member;
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 1);
	assert_true(!is_asked(&large) && is_asked(&small) && !is_asked(&outside));
	meet(&small, 7);
}

static void who_has_nothing_to_give_is_not_asked(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX);
	struct party idle = member_in(a, HELD), poor = member_in(a, 0), used = member_in(a, HELD);
	struct evict_wish w = wish_of(a, 7);

	(void)state;
	mc_store_full(&member_of(&ground.seg, idle.member)->answers, 0); /* nobody calls its shrinkers */
	mc_store_full(&member_of(&ground.seg, idle.member)->device_gives, 0);
	mc_store_full(&member_of(&ground.seg, idle.member)->shrinkers, 1);
	mc_store_full(&member_of(&ground.seg, used.member)->device_gives, 0);
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 0);
	assert_false(is_asked(&idle) || is_asked(&poor) || is_asked(&used));
	mc_store_full(&member_of(&ground.seg, used.member)->shrinkers, 1);
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 1);
	assert_true(is_asked(&used));
}

static void who_does_not_listen_is_asked_with_all_others(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX);
	struct party deaf = member_in(a, 2 * HELD), p = member_in(a, HELD);
	struct evict_wish w = wish_of(a, 7);

	(void)state;
	mc_store_full(&member_of(&ground.seg, deaf.member)->answers, 0);
	w.only_largest = true;
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 1);
	assert_true(!is_asked(&deaf) && is_asked(&p));
	w.only_largest = false;
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 2);
	assert_true(is_asked(&deaf) && evict_is_awaited(&ground.seg, deaf.member, 1000));
}

static void those_below_their_low_come_last(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX), b = ground_group(&ground, "/a/b", PAGES_MAX);
	struct party p = member_in(b, HELD);
	struct evict_wish w = wish_of(a, 7);
	bool spared = false;

	(void)state;
	set(b, 0, HELD);
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, &spared), 0);
	assert_true(spared && !is_asked(&p));
	w.ignore_low = true;
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 1);
	assert_true(is_asked(&p));
	assert_int_equal(mc_load_full(&ground_pool(&ground, b)->event_local[EVENT_LOW]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&ground, a)->event_local[EVENT_LOW]), 0);
}

static void who_does_not_answer_is_waited_for_once(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX);
	struct party p = member_in(a, HELD);
	struct evict_wish w = wish_of(a, 7);

	(void)state;
	assert_int_equal(evict_ask(&ground.seg, &w, 1000, NULL), 1);
	assert_true(evict_is_awaited(&ground.seg, p.member, 1000 + RECLAIM_PATIENCE_MS - 1));
	assert_false(evict_is_awaited(&ground.seg, p.member, 1000 + RECLAIM_PATIENCE_MS));
	assert_int_equal(evict_ask(&ground.seg, &w, 2000, NULL), 0); /* asked, but not worth waiting for */
	assert_int_equal(evict_ask(&ground.seg, &w, 1000 + RECLAIM_FORGIVE_MS, NULL), 1);
	meet(&p, 21);
}

static void a_slot_that_begins_anew_was_not_asked(void **state)
{
	uint16_t a = ground_group(&ground, "/a", PAGES_MAX);
	struct party p = member_in(a, HELD);
	struct member *m = member_of(&ground.seg, p.member);

	(void)state;
	evict_ask_one(&ground.seg, region, p.member, 5, 1000);
	reclaim_forget(m);
	assert_false(is_asked(&p));
	assert_int_equal(mc_load_full(&m->device_wanted), 0);
	assert_int_equal(mc_load_full(&m->device_regions), 0);
	assert_int_equal(mc_load_full(&m->device_gives), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_claims_too_much_gets_a_share),
		cmocka_unit_test(what_nobody_claims_is_divided_by_what_is_used),
		TEST(the_rule),
		TEST(protection_is_divided_on_the_way_down),
		TEST(the_largest_is_asked_or_all),
		TEST(who_has_nothing_to_give_is_not_asked),
		TEST(who_does_not_listen_is_asked_with_all_others),
		TEST(those_below_their_low_come_last),
		TEST(who_does_not_answer_is_waited_for_once),
		TEST(a_slot_that_begins_anew_was_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
