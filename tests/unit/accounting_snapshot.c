/* SPDX-License-Identifier: MIT */
/* Snapshots: what is really held, by whom and as what, summed up the tree; and seeing what is wrong. */
#include "tests/lib/grounded.h"

static uint16_t a, ab, b;
static struct snapshot s;

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", PAGES_MAX);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	b = ground_group(&g, "/b", PAGES_MAX);
	return 0;
}

static int down(void **state)
{
	(void)state;
	snapshot_free(&s);
	ground_down(&g);
	return 0;
}

static void take(void)
{
	snapshot_free(&s);
	assert_int_equal(snapshot_take(&g.seg, RESOURCE_MEMORY, &s), 0);
}

static void an_empty_tree_is_all_zero(void **state)
{
	(void)state;
	take();
	assert_int_equal(s.resource, RESOURCE_MEMORY);
	assert_int_equal(s.groups, 4);
	for (uint32_t i = 0; i < s.groups; i++) {
		assert_int_equal(s.pool[i].usage, 0);
		assert_int_equal(s.pool[i].current, 0);
		assert_int_equal(s.pool[i].peak, 0);
		assert_int_equal(s.pool[i].members, 0);
	}
}

/* usage has the stocks in it, current has not. */
static void current_is_what_is_held_here_and_below(void **state)
{
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, a);
	struct party r = ground_join(&g, b);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	assert_int_equal(charge_try(&q.by, q.account, 1000, NULL), 0);
	assert_int_equal(charge_try(&r.by, r.account, 30, NULL), 0);
	take();
	assert_int_equal(s.pool[ab].current, 1);
	assert_int_equal(s.pool[a].current, 1001);
	assert_int_equal(s.pool[b].current, 30);
	assert_int_equal(s.pool[GROUP_ROOT].current, 1031);
	assert_int_equal(s.pool[ab].usage, 1 + CHARGE_BATCH);
	assert_int_equal(s.pool[GROUP_ROOT].usage, 1031 + 2 * CHARGE_BATCH);
	assert_int_equal(s.pool[GROUP_ROOT].peak, 1031 + 2 * CHARGE_BATCH);
}

static void peak_is_never_below_current(void **state)
{
	struct party p = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_store_full(&ground_pool(&g, a)->peak, 7);
	charge_uncharge(&p.by, p.account, 300);
	take();
	assert_int_equal(s.pool[a].peak, 700);
	assert_int_equal(s.pool[ab].peak, 1000);
}

static void classes_are_summed_up_the_tree(void **state)
{
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, a);

	(void)state;
	account_class_add(&g.seg, p.account, CLASS_HEAP, 10);
	account_class_add(&g.seg, p.account, CLASS_ANON, 5);
	account_class_add(&g.seg, p.account, CLASS_HEAP, -3);
	account_class_add(&g.seg, q.account, CLASS_HEAP, 100);
	take();
	assert_int_equal(s.pool[ab].class[CLASS_HEAP], 7);
	assert_int_equal(s.pool[a].class[CLASS_HEAP], 107);
	assert_int_equal(s.pool[GROUP_ROOT].class[CLASS_HEAP], 107);
	assert_int_equal(s.pool[GROUP_ROOT].class[CLASS_ANON], 5);
	assert_int_equal(s.pool[GROUP_ROOT].class[CLASS_STACK], 0);
	assert_int_equal(s.pool[b].class[CLASS_HEAP], 0);
}

static void members_are_counted_where_they_are(void **state)
{
	struct actor daemon = ground_daemon(&g);
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, ab);
	struct party r = ground_join(&g, a);

	(void)state;
	mc_store_full(&member_of(&g.seg, q.member)->state, member_state_word(q.by.pid, MEMBER_OBSERVED));
	take();
	assert_int_equal(s.pool[ab].members, 2);
	assert_int_equal(s.pool[ab].members_local, 2);
	assert_int_equal(s.pool[a].members, 3);
	assert_int_equal(s.pool[a].members_local, 1);
	assert_int_equal(s.pool[GROUP_ROOT].members, 3);
	assert_int_equal(s.pool[GROUP_ROOT].members_local, 0);
	mc_store_full(&member_of(&g.seg, q.member)->state, member_state_word(q.by.pid, MEMBER_DEAD));
	(void)settle_dead(&daemon, p.member);
	mc_store_full(&member_of(&g.seg, r.member)->group, b); /* moved */
	take();
	assert_int_equal(s.pool[ab].members, 0);
	assert_int_equal(s.pool[b].members_local, 1);
	assert_int_equal(s.pool[GROUP_ROOT].members, 1);
}

static void a_freed_account_shows_nothing(void **state)
{
	struct actor daemon = ground_daemon(&g);
	struct party p = ground_join(&g, ab);

	(void)state;
	account_class_add(&g.seg, p.account, CLASS_HEAP, 10);
	(void)settle_dead(&daemon, p.member);
	take();
	assert_int_equal(s.pool[ab].class[CLASS_HEAP], 0);
	assert_int_equal(s.pool[ab].current, 0);
}

static void another_resource_is_another_snapshot(void **state)
{
	struct party p = ground_join(&g, ab);
	int slot = member_account(&g.seg, p.member, RESOURCE_SWAP, ab);

	(void)state;
	assert_int_equal(charge_try(&p.by, member_account_at(&g.seg, p.member, (unsigned)slot), 70, NULL), 0);
	take();
	assert_int_equal(s.pool[a].current, 0);
	snapshot_free(&s);
	assert_int_equal(snapshot_take(&g.seg, RESOURCE_SWAP, &s), 0);
	assert_int_equal(s.pool[a].current, 70);
	assert_int_equal(s.pool[a].usage, 70);
}

/* A group that is gone but still charged counts in those above it. */
static void a_lingering_group_still_counts(void **state)
{
	struct party p = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_store_full(&member_of(&g.seg, p.member)->group, b);
	assert_int_equal(ground_remove_group(&g, ab), 0);
	take();
	assert_int_equal(s.pool[a].current, 1000);
	assert_int_equal(s.pool[a].usage, 1000);
	assert_int_equal(s.pool[b].members, 1);
	assert_true(snapshot_consistent(&g.seg, RESOURCE_MEMORY, NULL));
}

static void a_reader_may_take_one(void **state)
{
	struct party p = ground_join(&g, ab);
	struct segment reader;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	assert_int_equal(segment_attach(g.dir, SEGMENT_READER, &reader), 0);
	assert_int_equal(snapshot_take(&reader, RESOURCE_MEMORY, &s), 0);
	assert_int_equal(s.pool[a].current, 1000);
	assert_true(snapshot_consistent(&reader, RESOURCE_MEMORY, NULL));
	assert_true(tree_consistent(&reader));
	segment_detach(&reader);
}

static void assert_wrong_at(uint16_t expected)
{
	uint16_t group = 77;

	assert_false(snapshot_consistent(&g.seg, RESOURCE_MEMORY, &group));
	assert_int_equal(group, expected);
	assert_false(snapshot_consistent(&g.seg, RESOURCE_MEMORY, NULL));
	assert_true(snapshot_consistent(&g.seg, RESOURCE_SWAP, NULL));
}

static void one_unit_too_many_or_too_few_is_seen(void **state)
{
	struct party p = ground_join(&g, ab);
	uint32_t e = (uint32_t)mc_load_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY]);
	mc_word *word = &account_of(&g.seg, p.account)->word;
	uint16_t group = 77;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 10, NULL), 0);
	assert_true(snapshot_consistent(&g.seg, RESOURCE_MEMORY, &group));
	assert_int_equal(group, 77);
	mc_add_full(word, 1); /* stock */
	assert_wrong_at(ab);
	mc_sub_full(word, 1);
	mc_sub_full(word, 1 << ACCOUNT_STOCK_BITS); /* held */
	assert_wrong_at(ab);
	mc_add_full(word, 1 << ACCOUNT_STOCK_BITS);
	mc_add_full(&ground_pool(&g, GROUP_ROOT)->word, 1);
	assert_wrong_at(GROUP_ROOT);
	mc_sub_full(&ground_pool(&g, GROUP_ROOT)->word, 1);
	assert_int_equal(pool_cancel(&g.seg, RESOURCE_MEMORY, a, 1, e), 0);
	assert_wrong_at(GROUP_ROOT); /* its children's sum */
	assert_int_equal(pool_cancel(&g.seg, RESOURCE_MEMORY, GROUP_ROOT, 1, e), 0);
	assert_wrong_at(a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
	static const struct CMUnitTest tests[] = {
		TEST(an_empty_tree_is_all_zero),
		TEST(current_is_what_is_held_here_and_below),
		TEST(peak_is_never_below_current),
		TEST(classes_are_summed_up_the_tree),
		TEST(members_are_counted_where_they_are),
		TEST(a_freed_account_shows_nothing),
		TEST(another_resource_is_another_snapshot),
		TEST(a_lingering_group_still_counts),
		TEST(a_reader_may_take_one),
		TEST(one_unit_too_many_or_too_few_is_seen),
	};

	return cmocka_run_group_tests_name("accounting_snapshot", tests, NULL, NULL);
}
