/* SPDX-License-Identifier: MIT */
/* Stocks: they save slow paths, are never seen as a refusal, and are not there when it gets tight. */
#include "tests/lib/grounded.h"
#include "tests/lib/intrude.h"

#include <errno.h>

static uint16_t a, ab, abc;
static struct party p; /* in abc */

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", PAGES_MAX);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	abc = ground_group(&g, "/a/b/c", PAGES_MAX);
	p = ground_join(&g, abc);
	return 0;
}

static void a_small_charge_takes_a_batch(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	assert_int_equal(ground_held(&g, p.account), 1);
	assert_int_equal(ground_stock(&g, p.account), CHARGE_BATCH);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), CHARGE_BATCH + 1);
	assert_true(stock_may_be_below(&g.seg, RESOURCE_MEMORY, a));
}

static void the_stock_serves_without_touching_the_pools(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	ground_set_max(&g, abc, 0); /* who asked a pool would be refused */
	for (unsigned i = 0; i < CHARGE_BATCH; i++)
		assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	assert_int_equal(ground_stock(&g, p.account), 0);
	assert_int_equal(ground_held(&g, p.account), CHARGE_BATCH + 1);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), CHARGE_BATCH + 1);
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), -ENOMEM);
}

static void the_stock_serves_a_forced_charge_too(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	ground_set_max(&g, abc, 0);
	charge_force(&p.by, p.account, CHARGE_BATCH, OVER_CREDIT);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->over[OVER_CREDIT]), 0);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), CHARGE_BATCH + 1);
}

static void a_large_charge_takes_none(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, CHARGE_BATCH, NULL), 0);
	assert_int_equal(ground_stock(&g, p.account), 0);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), CHARGE_BATCH);
}

static void what_comes_back_is_kept_up_to_two_batches(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	charge_uncharge(&p.by, p.account, 100);
	assert_int_equal(ground_stock(&g, p.account), 100);
	assert_int_equal(ground_usage(&g, a), 1000);
	charge_uncharge(&p.by, p.account, 28);
	assert_int_equal(ground_stock(&g, p.account), 2 * CHARGE_BATCH);
	assert_int_equal(ground_usage(&g, a), 1000);
	charge_uncharge(&p.by, p.account, 1);
	assert_in_range(ground_stock(&g, p.account), 0, CHARGE_BATCH);
	assert_int_equal(ground_held(&g, p.account), 871);
	assert_int_equal(ground_usage(&g, a), 871 + ground_stock(&g, p.account));
}

static void no_stock_is_taken_near_any_limit_above(void **state)
{
	const uint16_t levels[] = { abc, ab, a, GROUP_ROOT };

	(void)state;
	for (int i = 0; i < 4; i++) {
		ground_set_max(&g, levels[i], 1 + CHARGE_BATCH + 63); /* the slack is 64 */
		assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
		assert_int_equal(ground_stock(&g, p.account), 0);
		assert_int_equal(ground_usage(&g, GROUP_ROOT), 1);
		ground_set_max(&g, levels[i], PAGES_MAX);
		charge_uncharge(&p.by, p.account, 1);
		(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
		ground_set_max(&g, levels[i], 1 + CHARGE_BATCH + 64);
		assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
		assert_int_equal(ground_stock(&g, p.account), CHARGE_BATCH);
		ground_set_max(&g, levels[i], PAGES_MAX);
		(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
		charge_uncharge(&p.by, p.account, 1);
		(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
	}
}

/* Near the limit what is given back is there for others at once, the stock with it. */
static void near_a_limit_others_get_what_is_given_back(void **state)
{
	struct party q = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 500, NULL), 0);
	charge_uncharge(&p.by, p.account, 50);
	assert_int_equal(ground_stock(&g, p.account), 50);
	ground_set_max(&g, a, 500);
	charge_uncharge(&p.by, p.account, 1);
	assert_int_equal(ground_stock(&g, p.account), 0);
	assert_int_equal(ground_usage(&g, a), 449);
	assert_int_equal(charge_try(&q.by, q.account, 51, NULL), 0);
	assert_int_equal(charge_try(&q.by, q.account, 1, NULL), -ENOMEM);
	charge_uncharge(&p.by, p.account, 1);
	assert_int_equal(charge_try(&q.by, q.account, 1, NULL), 0);
}

/* `n` members below different levels of `a`, each with a stock; the last page still goes in. */
static void fill_to_the_page(unsigned n)
{
	struct party q[40];
	uint64_t held = 0;

	for (unsigned i = 0; i < n; i++) {
		q[i] = ground_join(&g, i % 3 == 0 ? a : i % 3 == 1 ? ab : abc);
		assert_int_equal(charge_try(&q[i].by, q[i].account, 1 + i, NULL), 0);
		assert_int_equal(ground_stock(&g, q[i].account), CHARGE_BATCH);
		held += 1 + i;
	}
	ground_set_max(&g, a, held + 10);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
		assert_int_equal(ground_held(&g, p.account), i + 1);
	}
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), -ENOMEM);
	assert_int_equal(ground_usage(&g, a), held + 10);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(ground_stock(&g, q[i].account), 0);
	ground_set_max(&g, a, PAGES_MAX);
}

static void no_stock_of_another_is_a_reason_to_refuse(void **state)
{
	static const unsigned counts[] = { 1, 2, 3, 7, 40 };
	struct actor daemon = ground_daemon(&g);

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		fill_to_the_page(counts[i]);
		charge_uncharge(&p.by, p.account, 10);
		for (uint32_t m = 0; m < member_mark(&g.seg); m++)
			if (m != p.member && member_is_present(&g.seg, m))
				(void)settle_dead(&daemon, m);
		(void)stock_drain(&daemon, RESOURCE_MEMORY, GROUP_ROOT);
	}
}

static void the_own_stock_is_no_reason_to_refuse(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	ground_set_max(&g, a, 30);
	assert_int_equal(ground_stock(&g, p.account), CHARGE_BATCH);
	/* More than the stock: it must come back first. */
	ground_set_max(&g, a, 100);
	assert_int_equal(charge_try(&p.by, p.account, 99, NULL), 0);
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), -ENOMEM);
	assert_int_equal(ground_usage(&g, a), 100);
}

/* Beyond 256 accounts only the announcement says that there is something to drain. */
static void a_stock_among_many_accounts_is_found(void **state)
{
	struct party q[300];

	(void)state;
	for (int i = 0; i < 300; i++)
		q[i] = ground_join(&g, ab);
	assert_int_equal(charge_try(&q[299].by, q[299].account, 1, NULL), 0);
	mc_store_full(&ground_pool(&g, a)->failcnt, 1); /* not by the 64th-time rule */
	ground_set_max(&g, a, 11);
	assert_int_equal(charge_try(&p.by, p.account, 10, NULL), 0);
	assert_int_equal(ground_stock(&g, q[299].account), 0);
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), -ENOMEM);
	ground_set_max(&g, a, PAGES_MAX);
	charge_uncharge(&q[299].by, q[299].account, 1); /* into the stock: announced as well */
	ground_set_max(&g, a, 11);
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
}

static void an_unannounced_stock_is_found_in_the_end(void **state)
{
	struct party q[300];
	int refusals = 0;

	(void)state;
	for (int i = 0; i < 300; i++)
		q[i] = ground_join(&g, ab);
	assert_int_equal(charge_try(&q[7].by, q[7].account, 1, NULL), 0);
	for (uint16_t i = 0; i <= abc; i++) /* the owner is stopped before it could say so */
		mc_store_full(&ground_pool(&g, i)->stocked, 0);
	mc_store_full(&ground_pool(&g, a)->failcnt, 1);
	ground_set_max(&g, a, 11);
	while (charge_try(&p.by, p.account, 10, NULL) && refusals < 64)
		refusals++;
	assert_int_equal(ground_stock(&g, q[7].account), 0);
	assert_int_equal(ground_held(&g, p.account), 10);
	assert_in_range(refusals, 1, 63);
}

static void a_drain_takes_what_lies_below_and_nothing_else(void **state)
{
	uint16_t other = ground_group(&g, "/other", PAGES_MAX);
	struct party in_a = ground_join(&g, a);
	struct party outside = ground_join(&g, other);
	struct actor daemon = ground_daemon(&g);
	uint32_t swap =
		member_account_at(&g.seg, p.member, (unsigned)member_account(&g.seg, p.member, RESOURCE_SWAP, abc));

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 5, NULL), 0);
	assert_int_equal(charge_try(&p.by, swap, 5, NULL), 0);
	assert_int_equal(charge_try(&in_a.by, in_a.account, 5, NULL), 0);
	assert_int_equal(charge_try(&outside.by, outside.account, 5, NULL), 0);
	assert_int_equal(stock_drain(&daemon, RESOURCE_MEMORY, ab), CHARGE_BATCH);
	assert_int_equal(mc_load_full(daemon.open), 0);
	assert_int_equal(ground_stock(&g, p.account), 0);
	assert_int_equal(ground_held(&g, p.account), 5);
	assert_int_equal(ground_stock(&g, swap), CHARGE_BATCH);
	assert_int_equal(ground_stock(&g, in_a.account), CHARGE_BATCH);
	assert_int_equal(ground_stock(&g, outside.account), CHARGE_BATCH);
	assert_int_equal(ground_usage(&g, abc), 5);
	assert_int_equal(ground_usage(&g, a), 5 + 5 + CHARGE_BATCH);
	assert_int_equal(stock_drain(&daemon, RESOURCE_MEMORY, ab), 0);
	assert_int_equal(stock_drain(&daemon, RESOURCE_MEMORY, GROUP_ROOT), 2 * CHARGE_BATCH);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), 15);
	assert_true(snapshot_consistent(&g.seg, RESOURCE_SWAP, NULL));
}

static void other_fills_up(void *other)
{
	struct party *q = other;

	assert_int_equal(charge_try(&q->by, q->account, 900, NULL), 0);
}

/* Room for a batch when it looked, but not when it charged: what was asked for still goes in. */
static void a_batch_that_does_not_fit_is_no_reason_to_refuse(void **state)
{
	struct party q = ground_join(&g, a);

	(void)state;
	ground_set_max(&g, a, 905);
	intrude_before_write(ground_pool(&g, a), other_fills_up, &q);
	assert_int_equal(charge_try(&p.by, p.account, 5, NULL), 0);
	assert_true(intrude_has_run());
	assert_int_equal(ground_usage(&g, a), 905);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->failcnt), 0);
}

/* The account is freed and claimed by somebody in another group, who has a stock in it. */
static void account_changes_hands(void *owner)
{
	struct party *q = owner;
	struct actor daemon = ground_daemon(&g);
	struct party next;

	(void)settle_dead(&daemon, q->member);
	next = ground_join(&g, ground_group(&g, "/elsewhere", PAGES_MAX));
	assert_int_equal(next.account, q->account);
	assert_int_equal(charge_try(&next.by, next.account, 1, NULL), 0);
	*q = next;
}

static void a_stock_is_taken_from_the_group_it_belongs_to(void **state)
{
	struct party q = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge_try(&q.by, q.account, 7, NULL), 0);
	intrude_before_write(account_of(&g.seg, q.account), account_changes_hands, &q);
	(void)stock_drain(&p.by, RESOURCE_MEMORY, a);
	assert_true(intrude_has_run());
	assert_true(ground_consistent(&g));
	assert_int_equal(ground_held(&g, q.account), 1);
	assert_int_equal(ground_usage(&g, a), 0);
}

static void announcing_marks_every_level_and_asking_clears_one(void **state)
{
	struct pool *pool = ground_pool(&g, ab);

	(void)state;
	mc_store_full(&g.seg.counters->header.accounts_used, 300); /* past "look always" */
	mc_store_full(&pool->failcnt, 1);
	assert_false(stock_may_be_below(&g.seg, RESOURCE_MEMORY, ab));
	stock_announce(&g.seg, RESOURCE_MEMORY, abc);
	assert_int_equal(mc_load_full(&ground_pool(&g, GROUP_ROOT)->stocked), 1);
	assert_true(stock_may_be_below(&g.seg, RESOURCE_MEMORY, ab));
	assert_false(stock_may_be_below(&g.seg, RESOURCE_MEMORY, ab));
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->stocked), 1);
	mc_store_full(&pool->failcnt, 128);
	assert_true(stock_may_be_below(&g.seg, RESOURCE_MEMORY, ab));
	mc_store_full(&g.seg.counters->header.accounts_used, 1);
	mc_store_full(&pool->failcnt, 1);
	assert_true(stock_may_be_below(&g.seg, RESOURCE_MEMORY, ab));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, grounded_down_empty)
	static const struct CMUnitTest tests[] = {
		TEST(a_small_charge_takes_a_batch),
		TEST(the_stock_serves_without_touching_the_pools),
		TEST(the_stock_serves_a_forced_charge_too),
		TEST(a_large_charge_takes_none),
		TEST(what_comes_back_is_kept_up_to_two_batches),
		TEST(no_stock_is_taken_near_any_limit_above),
		TEST(near_a_limit_others_get_what_is_given_back),
		TEST(no_stock_of_another_is_a_reason_to_refuse),
		TEST(the_own_stock_is_no_reason_to_refuse),
		TEST(a_stock_among_many_accounts_is_found),
		TEST(an_unannounced_stock_is_found_in_the_end),
		TEST(a_drain_takes_what_lies_below_and_nothing_else),
		TEST(a_batch_that_does_not_fit_is_no_reason_to_refuse),
		TEST(a_stock_is_taken_from_the_group_it_belongs_to),
		TEST(announcing_marks_every_level_and_asking_clears_one),
	};

	return cmocka_run_group_tests_name("accounting_stock", tests, NULL, NULL);
}
