/* SPDX-License-Identifier: MIT */
/* One level of a counter: the kernel's page_counter verbs, and the epoch in the word. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"
#include "tests/lib/intrude.h"

#include "accounting/check.h"

#include <errno.h>

static struct ground g;
static uint16_t a;

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", 100);
	return 0;
}

static int down(void **state)
{
	(void)state;
	ground_down(&g);
	return 0;
}

static uint32_t epoch(void)
{
	return (uint32_t)mc_load_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY]) & EPOCH_MASK;
}

static int try_charge(uint64_t n)
{
	return pool_try_charge(&g.seg, RESOURCE_MEMORY, a, n, epoch());
}

static int cancel(uint64_t n)
{
	return pool_cancel(&g.seg, RESOURCE_MEMORY, a, n, epoch());
}

static void the_word_keeps_its_three_parts_apart(void **state)
{
	uint64_t most = (1ull << POOL_USAGE_BITS) - 1;
	uint64_t word = pool_word(EPOCH_MASK, most);

	(void)state;
	assert_int_equal(pool_usage(word), most);
	assert_int_equal(pool_epoch(word), EPOCH_MASK);
	assert_false(pool_is_busy(word));
	assert_true(pool_is_busy(word | POOL_BUSY));
	assert_int_equal(pool_epoch(POOL_BUSY | pool_word(5, 0)), 5);
	assert_int_equal(pool_usage(POOL_BUSY | pool_word(5, 7)), 7);
	word = account_word(EPOCH_MASK, (1ull << ACCOUNT_HELD_BITS) - 1, ACCOUNT_STOCK_MAX);
	assert_int_equal(word, UINT64_MAX);
	word = account_word(1, 2, 3);
	assert_int_equal(account_epoch(word), 1);
	assert_int_equal(account_held(word), 2);
	assert_int_equal(account_stock(word), 3);
}

static void older_goes_round_the_circle(void **state)
{
	(void)state;
	assert_true(epoch_is_older(0, 1));
	assert_false(epoch_is_older(1, 0));
	assert_false(epoch_is_older(7, 7));
	assert_true(epoch_is_older(EPOCH_MASK, 0));
	assert_false(epoch_is_older(0, EPOCH_MASK));
	assert_true(epoch_is_older(EPOCH_MASK - 10, 10));
}

static void usage_may_equal_max_exactly(void **state)
{
	(void)state;
	assert_int_equal(try_charge(100), 0);
	assert_int_equal(ground_usage(&g, a), 100);
	assert_int_equal(try_charge(1), -ENOMEM);
	assert_int_equal(ground_usage(&g, a), 100);
	assert_int_equal(try_charge(0), 0);
	assert_int_equal(cancel(1), 0);
	assert_int_equal(try_charge(2), -ENOMEM);
	assert_int_equal(try_charge(1), 0);
}

static void a_max_of_zero_refuses_one(void **state)
{
	(void)state;
	ground_set_max(&g, a, 0);
	assert_int_equal(try_charge(1), -ENOMEM);
	assert_int_equal(ground_usage(&g, a), 0);
	ground_set_max(&g, a, PAGES_MAX);
	assert_int_equal(try_charge(1ull << 40), 0);
}

static void the_pool_counter_cannot_run_over(void **state)
{
	(void)state;
	ground_set_max(&g, a, PAGES_MAX); /* more than the word can hold */
	assert_int_equal(try_charge((1ull << POOL_USAGE_BITS) - 10), 0);
	assert_int_equal(try_charge(11), -ENOMEM);
	assert_int_equal(ground_usage(&g, a), (1ull << POOL_USAGE_BITS) - 10);
	assert_int_equal(pool_epoch(mc_load_full(&ground_pool(&g, a)->word)), epoch());
}

static void peak_is_the_highest_usage(void **state)
{
	(void)state;
	assert_int_equal(try_charge(60), 0);
	assert_int_equal(cancel(50), 0);
	assert_int_equal(try_charge(20), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->peak), 60);
	assert_int_equal(try_charge(90), -ENOMEM);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->peak), 60);
	assert_int_equal(pool_charge(&g.seg, RESOURCE_MEMORY, a, 200, epoch()), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->peak), 230);
}

static void charge_says_whether_it_is_over(void **state)
{
	(void)state;
	assert_int_equal(pool_charge(&g.seg, RESOURCE_MEMORY, a, 100, epoch()), 0);
	assert_int_equal(pool_charge(&g.seg, RESOURCE_MEMORY, a, 1, epoch()), 1);
	assert_int_equal(ground_usage(&g, a), 101);
}

static void another_epoch_or_busy_changes_nothing(void **state)
{
	mc_word *word = &ground_pool(&g, a)->word;
	uint32_t e = epoch();

	(void)state;
	assert_int_equal(try_charge(10), 0);
	assert_int_equal(pool_try_charge(&g.seg, RESOURCE_MEMORY, a, 1, e + 1), -ESTALE);
	assert_int_equal(pool_charge(&g.seg, RESOURCE_MEMORY, a, 1, e - 1), -ESTALE);
	assert_int_equal(pool_cancel(&g.seg, RESOURCE_MEMORY, a, 1, e + 1), -ESTALE);
	assert_int_equal(mc_load_full(word), pool_word(e, 10));
	mc_store_full(word, POOL_BUSY | pool_word(e, 10));
	assert_int_equal(pool_try_charge(&g.seg, RESOURCE_MEMORY, a, 1, e), -ESTALE);
	assert_int_equal(pool_charge(&g.seg, RESOURCE_MEMORY, a, 1, e), -ESTALE);
	assert_int_equal(pool_cancel(&g.seg, RESOURCE_MEMORY, a, 1, e), -EBUSY);
	assert_int_equal(pool_cancel(&g.seg, RESOURCE_MEMORY, a, 1, e + 1), -ESTALE);
	assert_int_equal(mc_load_full(word), POOL_BUSY | pool_word(e, 10));
}

static unsigned reported;

static void count_report(const char *what, const char *file, int line)
{
	(void)what;
	(void)file;
	(void)line;
	reported++;
}

static void never_below_zero_and_it_is_said(void **state)
{
	unsigned before = check_failures();

	(void)state;
	reported = 0;
	check_on_failure = count_report;
	assert_int_equal(try_charge(10), 0);
	assert_int_equal(cancel(11), 0);
	check_on_failure = NULL;
	assert_int_equal(ground_usage(&g, a), 0);
	assert_int_equal(pool_epoch(mc_load_full(&ground_pool(&g, a)->word)), epoch());
	assert_int_equal(check_failures(), before + 1);
	assert_int_equal(reported, 1);
	assert_int_equal(cancel(1), 0); /* without a handler: counted all the same */
	assert_int_equal(check_failures(), before + 2);
}

static void lower_max(void *to)
{
	ground_set_max(&g, a, *(uint64_t *)to);
}

/* [O3]: the limit is lowered between the first look at it and the swap. */
static void a_limit_lowered_in_between_refuses(void **state)
{
	uint64_t to = 49;

	(void)state;
	assert_int_equal(try_charge(40), 0);
	intrude_before_write(ground_pool(&g, a), lower_max, &to);
	assert_int_equal(try_charge(10), -ENOMEM);
	assert_true(intrude_has_run());
	assert_int_equal(ground_usage(&g, a), 40);
}

static void a_limit_lowered_to_what_is_reached_does_not(void **state)
{
	uint64_t to = 50;

	(void)state;
	assert_int_equal(try_charge(40), 0);
	intrude_before_write(ground_pool(&g, a), lower_max, &to);
	assert_int_equal(try_charge(10), 0);
	assert_true(intrude_has_run());
	assert_int_equal(ground_usage(&g, a), 50);
}

static void other_charges(void *n)
{
	assert_int_equal(pool_charge(&g.seg, RESOURCE_MEMORY, a, *(uint64_t *)n, epoch()), 0);
}

/* The limit is judged by what is really there when the swap succeeds. */
static void a_charge_in_between_counts(void **state)
{
	uint64_t n = 95;

	(void)state;
	intrude_before_write(ground_pool(&g, a), other_charges, &n);
	assert_int_equal(try_charge(10), -ENOMEM);
	assert_true(intrude_has_run());
	assert_int_equal(ground_usage(&g, a), 95);
	n = 1;
	intrude_before_write(ground_pool(&g, a), other_charges, &n);
	assert_int_equal(cancel(5), 0);
	assert_true(intrude_has_run());
	assert_int_equal(ground_usage(&g, a), 91);
}

/* Under the limit by 1/16 of it, at least 64, at most 2048. */
static void tight_is_within_the_slack(void **state)
{
	static const struct {
		uint64_t max, slack;
	} rows[] = {
		{ 1000, 64 }, { 1024, 64 }, { 1600, 100 }, { 32768, 2048 }, { 1 << 20, 2048 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t usage = rows[i].max - rows[i].slack;

		ground_set_max(&g, a, rows[i].max);
		mc_store_full(&ground_pool(&g, a)->word, pool_word(epoch(), usage));
		assert_false(pool_is_tight(&g.seg, RESOURCE_MEMORY, a, 0));
		assert_true(pool_is_tight(&g.seg, RESOURCE_MEMORY, a, 1));
		mc_store_full(&ground_pool(&g, a)->word, pool_word(epoch(), usage - 64));
		assert_false(pool_is_tight(&g.seg, RESOURCE_MEMORY, a, 64));
		assert_true(pool_is_tight(&g.seg, RESOURCE_MEMORY, a, 65));
	}
	ground_set_max(&g, a, PAGES_MAX);
	mc_store_full(&ground_pool(&g, a)->word, pool_word(epoch(), 1ull << 48));
	assert_false(pool_is_tight(&g.seg, RESOURCE_MEMORY, a, 1ull << 48));
}

static void events_count_here_and_above(void **state)
{
	uint16_t ab = ground_group(&g, "/a/b", PAGES_MAX);
	uint16_t abc = ground_group(&g, "/a/b/c", PAGES_MAX);

	(void)state;
	pool_count_event(&g.seg, RESOURCE_MEMORY, ab, EVENT_HIGH);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->event[EVENT_HIGH]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->event[EVENT_HIGH]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_HIGH]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, GROUP_ROOT)->event[EVENT_HIGH]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->event_local[EVENT_HIGH]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event_local[EVENT_HIGH]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_LOW]), 0);
}

static void a_refusal_says_who_and_how_much(void **state)
{
	struct pool *pool = ground_pool(&g, a);
	struct pool *root = ground_pool(&g, GROUP_ROOT);

	(void)state;
	pool_count_hit(&g.seg, RESOURCE_MEMORY, a);
	pool_count_refusal(&g.seg, RESOURCE_MEMORY, a, 3, 4, 5);
	assert_int_equal(mc_load_full(&pool->failcnt), 1);
	assert_int_equal(mc_load_full(&root->failcnt), 0);
	assert_int_equal(mc_load_full(&pool->refused_member), 3);
	assert_int_equal(mc_load_full(&pool->refused_pid), 4);
	assert_int_equal(mc_load_full(&pool->refused_units), 5);
	assert_int_equal(mc_load_full(&pool->event[EVENT_MAX]), 1);
	assert_int_equal(mc_load_full(&pool->event_local[EVENT_OOM]), 1);
	assert_int_equal(mc_load_full(&root->event[EVENT_OOM]), 1);
	assert_int_equal(mc_load_full(&root->event_local[EVENT_MAX]), 0);
}

static void overs_are_counted_by_cause(void **state)
{
	struct pool *pool = ground_pool(&g, a);

	(void)state;
	pool_count_over(&g.seg, RESOURCE_MEMORY, a, OVER_CREDIT);
	pool_count_over(&g.seg, RESOURCE_MEMORY, a, OVER_START);
	pool_count_over(&g.seg, RESOURCE_MEMORY, a, OVER_START);
	assert_int_equal(mc_load_full(&pool->over[OVER_CREDIT]), 1);
	assert_int_equal(mc_load_full(&pool->over[OVER_START]), 2);
	assert_int_equal(mc_load_full(&pool->over[OVER_METADATA]), 0);
	assert_int_equal(mc_load_full(&pool->event_local[EVENT_OVER]), 3);
	assert_int_equal(mc_load_full(&ground_pool(&g, GROUP_ROOT)->event[EVENT_OVER]), 3);
	assert_int_equal(mc_load_full(&ground_pool(&g, GROUP_ROOT)->over[OVER_START]), 0);
}

static void a_new_pool_joins_the_epoch_unless_a_recount_is_on(void **state)
{
	mc_word *now = &g.seg.counters->header.epoch[RESOURCE_MEMORY];
	mc_word *word = &ground_pool(&g, a)->word;

	(void)state;
	mc_store_full(now, 9);
	mc_store_full(word, pool_word(5, 0));
	assert_true(pool_join_epoch(&g.seg, RESOURCE_MEMORY, a));
	assert_int_equal(mc_load_full(word), pool_word(9, 0));
	mc_store_full(now, EPOCH_RECOUNTING | 10);
	assert_false(pool_join_epoch(&g.seg, RESOURCE_MEMORY, a));
	assert_int_equal(mc_load_full(word), pool_word(9, 0));
	mc_store_full(word, POOL_BUSY | pool_word(10, 0)); /* held by that recount */
	assert_false(pool_join_epoch(&g.seg, RESOURCE_MEMORY, a));
	assert_int_equal(mc_load_full(word), POOL_BUSY | pool_word(10, 0));
}

static void recount_begins(void *epoch_then)
{
	mc_store_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY], EPOCH_RECOUNTING | *(uint64_t *)epoch_then);
	mc_store_full(&ground_pool(&g, a)->word, POOL_BUSY | pool_word((uint32_t) * (uint64_t *)epoch_then, 0));
}

static void a_recount_that_begins_in_between_is_seen(void **state)
{
	uint64_t then = 10;

	(void)state;
	mc_store_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY], 9);
	mc_store_full(&ground_pool(&g, a)->word, pool_word(5, 0));
	intrude_before_write(ground_pool(&g, a), recount_begins, &then);
	assert_false(pool_join_epoch(&g.seg, RESOURCE_MEMORY, a));
	assert_true(intrude_has_run());
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->word), POOL_BUSY | pool_word(10, 0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
	static const struct CMUnitTest tests[] = {
		TEST(the_word_keeps_its_three_parts_apart),
		TEST(older_goes_round_the_circle),
		TEST(usage_may_equal_max_exactly),
		TEST(a_max_of_zero_refuses_one),
		TEST(the_pool_counter_cannot_run_over),
		TEST(peak_is_the_highest_usage),
		TEST(charge_says_whether_it_is_over),
		TEST(another_epoch_or_busy_changes_nothing),
		TEST(never_below_zero_and_it_is_said),
		TEST(a_limit_lowered_in_between_refuses),
		TEST(a_limit_lowered_to_what_is_reached_does_not),
		TEST(a_charge_in_between_counts),
		TEST(tight_is_within_the_slack),
		TEST(events_count_here_and_above),
		TEST(a_refusal_says_who_and_how_much),
		TEST(overs_are_counted_by_cause),
		TEST(a_new_pool_joins_the_epoch_unless_a_recount_is_on),
		TEST(a_recount_that_begins_in_between_is_seen),
	};

	return cmocka_run_group_tests_name("accounting_pool", tests, NULL, NULL);
}
