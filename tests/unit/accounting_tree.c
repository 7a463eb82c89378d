/* SPDX-License-Identifier: MIT */
/* Changes of the tree: creating, removing, using slots again, repairing what a dead daemon left. */
#include "tests/lib/grounded.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum group_state state_of(uint16_t group)
{
	return group_state(&g.seg, group);
}

static void a_new_group_has_the_kernels_defaults(void **state)
{
	struct group *root = &g.seg.limits->group[GROUP_ROOT];
	uint16_t a = 0;
	struct limits *l;
	struct group *made;

	(void)state;
	root->oom_policy = OOM_WAIT;
	root->swappiness = 17;
	root->oom_group = 1;
	root->transient = 1;
	assert_int_equal(tree_create(&g.seg, "/a", &a), 0);
	made = &g.seg.limits->group[a];
	assert_int_equal(state_of(a), GROUP_LIVE);
	assert_int_equal(group_parent(&g.seg, a), GROUP_ROOT);
	assert_int_equal(made->depth, 1);
	assert_string_equal(made->name, "a");
	assert_int_equal(made->oom_policy, OOM_WAIT);
	assert_int_equal(made->swappiness, 17);
	assert_int_equal(made->charge_mode, root->charge_mode);
	assert_int_equal(made->oom_group, 0);
	assert_int_equal(made->transient, 0);
	l = ground_limits(&g, a);
	assert_int_equal(mc_load_full(&l->min), 0);
	assert_int_equal(mc_load_full(&l->low), 0);
	assert_int_equal(mc_load_full(&l->high), PAGES_MAX);
	assert_int_equal(mc_load_full(&l->max), PAGES_MAX);
	assert_int_equal(mc_load_full(&l->soft), PAGES_MAX);
	assert_true(tree_consistent(&g.seg));
}

static void creating_says_what_is_in_the_way(void **state)
{
	uint16_t group = 77;
	char path[GROUP_PATH_MAX] = "";

	(void)state;
	(void)ground_group(&g, "/a", PAGES_MAX);
	assert_int_equal(tree_create(&g.seg, "/", &group), -EEXIST);
	assert_int_equal(tree_create(&g.seg, "/a", &group), -EEXIST);
	assert_int_equal(tree_create(&g.seg, "/b/c", &group), -ENOENT);
	assert_int_equal(tree_create(&g.seg, "/a/", &group), -EINVAL);
	assert_int_equal(tree_create(&g.seg, "a", &group), -EINVAL);
	assert_int_equal(tree_create(&g.seg, "", &group), -EINVAL);
	for (int i = 0; i < GROUP_DEPTH_MAX; i++) {
		strcat(path, "/d");
		assert_int_equal(tree_create(&g.seg, path, &group), 0);
	}
	group = 77;
	strcat(path, "/d");
	assert_int_equal(tree_create(&g.seg, path, &group), -ELOOP);
	assert_int_equal(group, 77);
}

static void a_group_with_children_or_members_stays(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t ab = ground_group(&g, "/a/b", PAGES_MAX);
	struct actor daemon = ground_daemon(&g);
	struct party p = ground_join(&g, ab);

	(void)state;
	assert_int_equal(tree_close(&g.seg, GROUP_ROOT), -EPERM);
	assert_int_equal(tree_close(&g.seg, a), -EBUSY);
	assert_int_equal(state_of(a), GROUP_LIVE);
	assert_int_equal(ground_remove_group(&g, ab), -EBUSY);
	assert_int_equal(state_of(ab), GROUP_LIVE);
	(void)settle_dead(&daemon, p.member);
	assert_int_equal(ground_remove_group(&g, ab), 0);
	assert_int_equal(ground_remove_group(&g, a), 0);
	assert_true(tree_consistent(&g.seg));
}

static void a_closed_group_takes_no_members(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint32_t accounts = mc_load_full(&g.seg.counters->header.accounts_used);
	uint32_t member = 77;

	(void)state;
	assert_int_equal(tree_close(&g.seg, a), 0);
	assert_int_equal(member_join(&g.seg, 5, 5, a, MEMBER_LIVE, NULL, &member), -ENOENT);
	assert_int_equal(member, 77);
	assert_false(member_any_in(&g.seg, a));
	for (uint32_t i = accounts; i < mc_load_full(&g.seg.counters->header.accounts_used); i++)
		assert_int_equal(mc_load_full(&account_of(&g.seg, i)->member), 0);
	tree_reopen(&g.seg, a);
	assert_int_equal(member_join(&g.seg, 5, 5, a, MEMBER_LIVE, NULL, &member), 0);
	assert_true(member_any_in(&g.seg, a));
}

static void removed_means_not_found_and_without_limits(void **state)
{
	uint16_t a = ground_group(&g, "/a", 10);
	uint16_t b = ground_group(&g, "/b", 20);
	uint16_t group = 77;

	(void)state;
	assert_int_equal(ground_remove_group(&g, a), 0);
	assert_int_equal(group_find(&g.seg, "/a", &group), -ENOENT);
	assert_int_equal(state_of(a), GROUP_GONE);
	assert_int_equal(mc_load_full(&ground_limits(&g, a)->max), PAGES_MAX);
	assert_int_equal(group_find(&g.seg, "/b", &group), 0);
	assert_int_equal(group, b);
	assert_int_equal(group_next_child(&g.seg, GROUP_ROOT, 0), b);
	assert_int_equal(group_next_child(&g.seg, GROUP_ROOT, b), 0);
}

static void any_of_several_siblings_can_go(void **state)
{
	(void)state;
	for (int gone = 0; gone < 4; gone++) {
		uint16_t id[4];
		unsigned left = 0;

		for (int i = 0; i < 4; i++) {
			char path[16];

			snprintf(path, sizeof(path), "/r%d/c%d", gone, i);
			id[i] = ground_group(&g, path, PAGES_MAX);
		}
		assert_int_equal(ground_remove_group(&g, id[gone]), 0);
		for (uint16_t c = group_next_child(&g.seg, group_parent(&g.seg, id[0]), 0); c;
		     c = group_next_child(&g.seg, group_parent(&g.seg, id[0]), c)) {
			assert_int_not_equal(c, id[gone]);
			left++;
		}
		assert_int_equal(left, 3);
	}
	assert_true(tree_consistent(&g.seg));
}

/* Removed, swept and asked for again: the slot may only come back in a later epoch. */
static void a_slot_is_used_again_only_after_a_recount(void **state)
{
	mc_word *epoch = &g.seg.counters->header.epoch[RESOURCE_MEMORY];
	uint64_t freed_in[512];
	int reused = 0;

	(void)state;
	memset(freed_in, 0xff, sizeof(freed_in));
	for (int i = 0; i < 400; i++) {
		uint16_t a = ground_group(&g, "/a", PAGES_MAX);

		assert_in_range(a, 1, 511);
		if (freed_in[a] != UINT64_MAX) {
			reused++;
			assert_int_not_equal(mc_load_full(epoch), freed_in[a]);
			assert_int_equal(pool_epoch(mc_load_full(&ground_pool(&g, a)->word)), mc_load_full(epoch));
		}
		freed_in[a] = mc_load_full(epoch);
		assert_int_equal(ground_remove_group(&g, a), 0);
		assert_int_equal(tree_sweep(&g.seg), 0);
		assert_int_not_equal(state_of(a), GROUP_LIVE);
	}
	assert_in_range(reused, 100, 400);
	assert_in_range(mc_load_full(&g.seg.limits->header.groups_used), 2, 300);
}

static void a_slot_used_again_is_as_new(void **state)
{
	uint16_t a = ground_group(&g, "/a", 10);
	uint32_t generation = g.seg.limits->group[a].generation;
	uint16_t again = 0;

	(void)state;
	pool_count_refusal(&g.seg, RESOURCE_MEMORY, a, 1, 2, 3);
	pool_count_over(&g.seg, RESOURCE_MEMORY, a, OVER_CREDIT);
	mc_store_full(&ground_pool(&g, a)->peak, 99);
	assert_int_equal(ground_remove_group(&g, a), 0);
	for (int i = 0; i < 1000 && again != a; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/x%d", i);
		again = ground_group(&g, path, PAGES_MAX);
		if (again != a)
			assert_int_equal(ground_remove_group(&g, again), 0);
		(void)tree_sweep(&g.seg);
	}
	assert_int_equal(again, a);
	assert_int_not_equal(g.seg.limits->group[a].generation, generation);
	assert_int_equal(mc_load_full(&ground_limits(&g, a)->max), PAGES_MAX);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->peak), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->failcnt), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->over[OVER_CREDIT]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_MAX]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event_local[EVENT_OVER]), 0);
}

static void a_charged_group_lingers_until_it_is_not(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t b = ground_group(&g, "/b", PAGES_MAX);
	struct party p = ground_join(&g, a);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_store_full(&member_of(&g.seg, p.member)->group, b); /* moved on, the charge stays */
	assert_int_equal(ground_remove_group(&g, a), 0);
	assert_int_equal(tree_sweep(&g.seg), 1);
	assert_int_equal(state_of(a), GROUP_GONE);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), 1000);
	charge_uncharge(&p.by, p.account, 1000);
	(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
	assert_int_equal(tree_sweep(&g.seg), 1); /* the account is still there */
	mc_store_full(&member_of(&g.seg, p.member)->account[0], 0);
	account_free(&g.seg, p.account);
	assert_int_equal(tree_sweep(&g.seg), 0);
	assert_int_not_equal(state_of(a), GROUP_GONE);
	assert_true(ground_empty(&g));
}

static void a_parent_lingers_as_long_as_its_child(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t ab = ground_group(&g, "/a/b", PAGES_MAX);
	struct party p = ground_join(&g, ab);

	(void)state;
	mc_store_full(&member_of(&g.seg, p.member)->group, GROUP_ROOT);
	assert_int_equal(ground_remove_group(&g, ab), 0);
	assert_int_equal(ground_remove_group(&g, a), 0);
	assert_int_equal(tree_sweep(&g.seg), 2);
	assert_int_equal(charge_try(&p.by, p.account, 500, NULL), 0); /* still goes up the old way */
	assert_int_equal(ground_usage(&g, GROUP_ROOT) >= 500, 1);
	assert_true(ground_consistent(&g));
}

/* All 65,535 slots; then one comes free and is found. */
static void a_full_tree_says_so_and_recovers(void **state)
{
	char path[32];
	uint16_t group = 77;
	unsigned made = 0;
	int err = 0;

	(void)state;
	for (unsigned i = 0; i < 256 && !err; i++) {
		snprintf(path, sizeof(path), "/%u", i);
		err = tree_create(&g.seg, path, &group);
		made += !err;
		for (unsigned j = 0; j < 256 && !err; j++) {
			snprintf(path, sizeof(path), "/%u/%u", i, j);
			err = tree_create(&g.seg, path, &group);
			made += !err;
		}
	}
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(made + 1, GROUPS_MAX);
	assert_int_equal(tree_create(&g.seg, "/more", &group), -ENOSPC);
	assert_true(tree_consistent(&g.seg));
	assert_int_equal(group_find(&g.seg, "/100/100", &group), 0);
	assert_int_equal(ground_remove_group(&g, group), 0);
	assert_int_equal(tree_create(&g.seg, "/more", &group), 0);
	assert_int_equal(tree_create(&g.seg, "/evenmore", &group), -ENOSPC);
	assert_int_equal(group_find(&g.seg, "/more", &group), 0);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_true(ground_consistent(&g));
}

/* ---- what a daemon that died leaves ---- */

static void leave_open(void)
{
	mc_store_full(&g.seg.limits->header.tree_seq, mc_load_full(&g.seg.limits->header.tree_seq) | 1);
}

static void repair_rebuilds_all_links(void **state)
{
	static const char *const paths[] = { "/a", "/a/b", "/a/b/c", "/d", "/d/b" };
	uint16_t id[5];

	(void)state;
	for (int i = 0; i < 5; i++)
		id[i] = ground_group(&g, paths[i], (uint64_t)i + 100);
	leave_open();
	memset((void *)g.seg.limits->hash, 0, sizeof(g.seg.limits->hash)); /* NOLINT */
	for (int i = 0; i < 5; i++) {
		mc_store_full(&g.seg.limits->group[id[i]].next_sibling, id[i]);
		mc_store_full(&g.seg.limits->group[id[i]].next_in_hash, id[(i + 1) % 5]);
		mc_store_full(&g.seg.limits->group[id[i]].first_child, 0);
	}
	assert_false(tree_consistent(&g.seg));
	tree_repair(&g.seg);
	assert_true(tree_consistent(&g.seg));
	for (int i = 0; i < 5; i++) {
		uint16_t group = 0;

		assert_int_equal(group_find(&g.seg, paths[i], &group), 0);
		assert_int_equal(group, id[i]);
		assert_int_equal(mc_load_full(&ground_limits(&g, group)->max), i + 100);
	}
	assert_int_equal(tree_close(&g.seg, id[0]), -EBUSY);
}

static void repair_finishes_no_removal_that_only_began(void **state)
{
	uint16_t a = ground_group(&g, "/a", 10);
	uint16_t group = 77;

	(void)state;
	assert_int_equal(tree_close(&g.seg, a), 0);
	tree_repair(&g.seg);
	assert_int_equal(state_of(a), GROUP_LIVE);
	assert_int_equal(mc_load_full(&ground_limits(&g, a)->max), 10);
	assert_int_equal(group_find(&g.seg, "/a", &group), 0);
	assert_int_equal(group, a);
	assert_true(tree_consistent(&g.seg));
}

static void repair_keeps_the_removed_out(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t b = ground_group(&g, "/b", PAGES_MAX);
	uint16_t group = 77;

	(void)state;
	leave_open();
	mc_store_full(&g.seg.limits->group[a].state, GROUP_GONE); /* died before the chains were cut */
	tree_repair(&g.seg);
	assert_int_equal(group_find(&g.seg, "/a", &group), -ENOENT);
	assert_int_equal(group_next_child(&g.seg, GROUP_ROOT, 0), b);
	assert_int_equal(group_next_child(&g.seg, GROUP_ROOT, b), 0);
	assert_int_equal(tree_sweep(&g.seg), 0);
	assert_int_not_equal(state_of(a), GROUP_GONE);
}

/* A slot that has its name and its mark but never became LIVE is nobody's. */
static void repair_leaves_the_half_made_out(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t group = 77;

	(void)state;
	leave_open();
	mc_store_full(&g.seg.limits->group[a].state, GROUP_FREE);
	tree_repair(&g.seg);
	assert_int_equal(group_find(&g.seg, "/a", &group), -ENOENT);
	assert_int_equal(tree_create(&g.seg, "/a", &group), 0);
	assert_true(tree_consistent(&g.seg));
}

static void repair_of_a_sound_tree_changes_nothing(void **state)
{
	uint16_t ab = ground_group(&g, "/a/b", 42);
	uint16_t group = 0;
	uint32_t seq = mc_load_full(&g.seg.limits->header.tree_seq);

	(void)state;
	tree_repair(&g.seg);
	assert_true(tree_consistent(&g.seg));
	assert_int_equal(mc_load_full(&g.seg.limits->header.tree_seq) & 1, 0);
	assert_int_not_equal(mc_load_full(&g.seg.limits->header.tree_seq), seq);
	assert_int_equal(group_find(&g.seg, "/a/b", &group), 0);
	assert_int_equal(group, ab);
	assert_int_equal(mc_load_full(&ground_limits(&g, ab)->max), 42);
}

static void consistent_sees_what_is_wrong(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	struct group *at = &g.seg.limits->group[a];

	(void)state;
	assert_true(tree_consistent(&g.seg));
	leave_open();
	assert_false(tree_consistent(&g.seg));
	mc_add_full(&g.seg.limits->header.tree_seq, 1);
	at->depth = 2;
	assert_false(tree_consistent(&g.seg));
	at->depth = 1;
	at->name[0] = 'b';
	assert_false(tree_consistent(&g.seg));
	at->name[0] = 'a';
	mc_store_full(&at->parent, 999);
	assert_false(tree_consistent(&g.seg));
	mc_store_full(&at->parent, GROUP_ROOT);
	assert_true(tree_consistent(&g.seg));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, grounded_up, grounded_down)
	static const struct CMUnitTest tests[] = {
		TEST(a_new_group_has_the_kernels_defaults),
		TEST(creating_says_what_is_in_the_way),
		TEST(a_group_with_children_or_members_stays),
		TEST(a_closed_group_takes_no_members),
		TEST(removed_means_not_found_and_without_limits),
		TEST(any_of_several_siblings_can_go),
		TEST(a_slot_is_used_again_only_after_a_recount),
		TEST(a_slot_used_again_is_as_new),
		TEST(a_charged_group_lingers_until_it_is_not),
		TEST(a_parent_lingers_as_long_as_its_child),
		TEST(a_full_tree_says_so_and_recovers),
		TEST(repair_rebuilds_all_links),
		TEST(repair_finishes_no_removal_that_only_began),
		TEST(repair_keeps_the_removed_out),
		TEST(repair_leaves_the_half_made_out),
		TEST(repair_of_a_sound_tree_changes_nothing),
		TEST(consistent_sees_what_is_wrong),
	};

	return cmocka_run_group_tests_name("accounting_tree", tests, NULL, NULL);
}
