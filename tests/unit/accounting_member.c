/* SPDX-License-Identifier: MIT */
/* Members and their accounts: joining, being found, claiming, full tables. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

#include "accounting/bell.h"
#include "accounting/check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct ground g;
static uint16_t a, b;

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", PAGES_MAX);
	b = ground_group(&g, "/b", PAGES_MAX);
	return 0;
}

static int down(void **state)
{
	(void)state;
	ground_down(&g);
	return 0;
}

static int join(uint32_t pid, uint64_t start, uint16_t group, uint32_t *ret)
{
	return member_join(&g.seg, pid, start, group, MEMBER_LIVE, "name", ret);
}

/* ---- joining ---- */

static void joining_fills_the_slot(void **state)
{
	uint32_t bell = bell_read(&g.seg);
	uint32_t changed = mc_load_full(&g.seg.counters->header.members_changed);
	uint32_t slot = 77;
	struct member *m;

	(void)state;
	assert_int_equal(member_join(&g.seg, 4711, 99, b, MEMBER_LIVE, "a very long name for a process", &slot), 0);
	m = member_of(&g.seg, slot);
	assert_int_equal(member_pid(mc_load_full(&m->state)), 4711);
	assert_int_equal(member_state(mc_load_full(&m->state)), MEMBER_LIVE);
	assert_int_equal(mc_load_full(&m->start_time), 99);
	assert_int_equal(mc_load_full(&m->group), b);
	assert_int_equal(mc_load_full(&m->asked), b);
	assert_int_equal(mc_load_full(&m->open), 0);
	assert_string_equal(m->comm, "a very long nam");
	assert_int_equal(
		account_meta_group(mc_load_full(&account_of(&g.seg, member_account_at(&g.seg, slot, 0))->meta)), b);
	assert_int_not_equal(bell_read(&g.seg), bell);
	assert_int_not_equal(mc_load_full(&g.seg.counters->header.members_changed), changed);
	assert_true(member_is_present(&g.seg, slot));
}

static void an_observed_member_is_one_too(void **state)
{
	uint32_t slot = 77;
	uint32_t found = 78;

	(void)state;
	assert_int_equal(member_join(&g.seg, 5, 6, a, MEMBER_OBSERVED, NULL, &slot), 0);
	assert_string_equal(member_of(&g.seg, slot)->comm, "");
	assert_true(member_is_present(&g.seg, slot));
	assert_int_equal(member_find(&g.seg, 5, 6, &found), 0);
	assert_int_equal(found, slot);
}

static void joining_what_is_not_live_leaves_no_trace(void **state)
{
	static const uint32_t states[] = { GROUP_FREE, GROUP_DYING, GROUP_GONE, GROUP_COOLING };
	uint32_t bell = bell_read(&g.seg);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		uint32_t slot = 77;

		mc_store_full(&g.seg.limits->group[a].state, states[i]);
		assert_int_equal(join(10, 20, a, &slot), -ENOENT);
		assert_int_equal(slot, 77);
		assert_int_equal(member_find(&g.seg, 10, 20, &slot), -ESRCH);
		for (uint32_t m = 0; m < member_mark(&g.seg); m++)
			assert_int_equal(mc_load_full(&member_of(&g.seg, m)->state), 0);
		for (uint32_t k = 0; k < mc_load_full(&g.seg.counters->header.accounts_used); k++)
			assert_int_equal(mc_load_full(&account_of(&g.seg, k)->member), 0);
	}
	assert_int_equal(bell_read(&g.seg), bell);
}

static void low_slots_are_taken_first(void **state)
{
	struct actor daemon = ground_daemon(&g);
	uint32_t slot[10];

	(void)state;
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(join(1000 + i, 1, a, &slot[i]), 0);
		assert_int_equal(slot[i], i);
		assert_int_equal(member_account_at(&g.seg, slot[i], 0), i);
	}
	(void)settle_dead(&daemon, slot[3]);
	(void)settle_dead(&daemon, slot[7]);
	assert_int_equal(join(2000, 1, a, &slot[3]), 0);
	assert_int_equal(slot[3], 3);
	assert_int_equal(join(2001, 1, a, &slot[7]), 0);
	assert_int_equal(slot[7], 7);
	assert_int_equal(member_mark(&g.seg), 10);
	assert_int_equal(mc_load_full(&g.seg.counters->header.accounts_used), 10);
}

static void a_slot_used_again_is_as_new(void **state)
{
	struct actor daemon = ground_daemon(&g);
	struct party p = ground_join(&g, a);
	struct member *m = member_of(&g.seg, p.member);
	uint32_t generation = mc_load_full(&m->generation);
	uint32_t slot = 77;

	(void)state;
	(void)member_account(&g.seg, p.member, RESOURCE_MEMORY, b);
	account_class_add(&g.seg, p.account, CLASS_HEAP, 5);
	member_set_flags(&g.seg, p.member, MEMBER_PARTIAL, 0);
	mc_store_full(&m->refused, 3);
	(void)settle_dead(&daemon, p.member);
	assert_int_equal(join(50, 60, b, &slot), 0);
	assert_int_equal(slot, p.member);
	assert_int_not_equal(mc_load_full(&m->generation), generation);
	assert_int_equal(mc_load_full(&m->flags), 0);
	assert_int_equal(mc_load_full(&m->refused), 0);
	assert_int_equal(mc_load_full(&m->account[1]), 0);
	assert_int_equal(member_account_at(&g.seg, slot, 0), p.account);
	assert_int_equal(mc_load_full(&account_of(&g.seg, p.account)->class[CLASS_HEAP]), 0);
}

/* ---- finding ---- */

static void found_by_pid_and_start_time_only(void **state)
{
	uint32_t slot = 77;
	uint32_t found = 78;

	(void)state;
	assert_int_equal(join(10, 20, a, &slot), 0);
	assert_int_equal(member_find(&g.seg, 10, 20, &found), 0);
	assert_int_equal(found, slot);
	found = 78;
	assert_int_equal(member_find(&g.seg, 10, 21, &found), -ESRCH);
	assert_int_equal(member_find(&g.seg, 11, 20, &found), -ESRCH);
	assert_int_equal(member_find(&g.seg, 10 + MEMBERS_MAX, 20, &found), -ESRCH);
	assert_int_equal(found, 78);
}

static void only_live_and_observed_are_found(void **state)
{
	struct party p = ground_join(&g, a);
	struct member *m = member_of(&g.seg, p.member);
	uint32_t found = 78;

	(void)state;
	mc_store_full(&m->state, member_state_word(p.by.pid, MEMBER_CLAIMED));
	assert_int_equal(member_find(&g.seg, p.by.pid, p.by.pid * 7ull, &found), -ESRCH);
	assert_true(member_is_present(&g.seg, p.member));
	mc_store_full(&m->state, member_state_word(p.by.pid, MEMBER_DEAD));
	assert_int_equal(member_find(&g.seg, p.by.pid, p.by.pid * 7ull, &found), -ESRCH);
	assert_false(member_is_present(&g.seg, p.member));
	assert_false(member_any_in(&g.seg, a));
}

/* Pids of one residue share a hint; each is found whatever became of the others. */
static void pids_of_one_residue_are_all_found(void **state)
{
	struct actor daemon = ground_daemon(&g);
	uint32_t slot[4];

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(join(100 + i * MEMBERS_MAX, 1, a, &slot[i]), 0);
	for (uint32_t gone = 4; gone > 0; gone--) {
		for (uint32_t i = 0; i < gone; i++) {
			uint32_t found = 78;

			assert_int_equal(member_find(&g.seg, 100 + i * MEMBERS_MAX, 1, &found), 0);
			assert_int_equal(found, slot[i]);
		}
		(void)settle_dead(&daemon, slot[gone - 1]);
		assert_int_equal(member_find(&g.seg, 100 + (gone - 1) * MEMBERS_MAX, 1, &slot[3]), -ESRCH);
	}
}

static void all_slots_are_used_and_then_it_is_said(void **state)
{
	struct actor daemon = ground_daemon(&g);
	uint32_t slot = 77;

	(void)state;
	for (uint32_t i = 0; i < MEMBERS_MAX; i++)
		if (join(i * 3 + 1, i, a, &slot))
			fail_msg("join %u", i);
	slot = 77;
	assert_int_equal(join(200000, 1, a, &slot), -ENOSPC);
	assert_int_equal(slot, 77);
	assert_int_equal(member_mark(&g.seg), MEMBERS_MAX);
	for (uint32_t i = 0; i < MEMBERS_MAX; i += 4099) {
		assert_int_equal(member_find(&g.seg, i * 3 + 1, i, &slot), 0);
		assert_int_equal(mc_load_full(&member_of(&g.seg, slot)->start_time), i);
	}
	(void)settle_dead(&daemon, 12345);
	assert_int_equal(join(200000, 1, a, &slot), 0);
	assert_int_equal(slot, 12345);
	assert_true(member_any_in(&g.seg, a));
	assert_false(member_any_in(&g.seg, b));
}

/* ---- accounts ---- */

static void one_account_for_each_pool(void **state)
{
	struct party p = ground_join(&g, a);

	(void)state;
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, a), 0);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_SWAP, a), 1);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, b), 2);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_SWAP, a), 1);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, a), 0);
	assert_int_equal(mc_load_full(&g.seg.counters->header.accounts_used), 3);
	assert_int_equal(mc_load_full(p.by.open), 0);
}

static void fifteen_and_no_more(void **state)
{
	struct party p = ground_join(&g, a);
	char path[16];

	(void)state;
	for (int i = 1; i < MEMBER_ACCOUNTS_MAX; i++) {
		snprintf(path, sizeof(path), "/x%d", i);
		assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, ground_group(&g, path, PAGES_MAX)),
				 i);
	}
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_SWAP, a), -ENOSPC);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, a), 0);
	assert_int_equal(mc_load_full(p.by.open), 0);
	for (uint32_t i = MEMBER_ACCOUNTS_MAX; i < mc_load_full(&g.seg.counters->header.accounts_used); i++)
		assert_int_equal(mc_load_full(&account_of(&g.seg, i)->member), 0);
}

static void all_accounts_are_used_and_then_it_is_said(void **state)
{
	struct party p = ground_join(&g, a);
	uint32_t account = 77;
	uint32_t slot = 78;

	(void)state;
	for (uint32_t i = 1; i < ACCOUNTS_MAX; i++)
		if (account_claim(&g.seg, 9, RESOURCE_MEMORY, a, 0, &account))
			fail_msg("claim %u", i);
	assert_int_equal(account_claim(&g.seg, 9, RESOURCE_MEMORY, a, 0, &account), -ENOSPC);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, b), -ENOSPC);
	assert_int_equal(join(5, 5, a, &slot), -ENOSPC);
	assert_int_equal(slot, 78);
	assert_int_equal(mc_load_full(&member_of(&g.seg, 1)->state), 0);
	account_free(&g.seg, 70000);
	assert_int_equal(join(5, 5, a, &slot), 0);
	assert_int_equal(member_account_at(&g.seg, slot, 0), 70000);
	assert_int_equal(charge_try(&p.by, p.account, 5, NULL), 0);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_true(ground_consistent(&g));
}

static void each_claim_is_told_from_the_last(void **state)
{
	uint32_t account = 77;
	uint64_t meta;

	(void)state;
	assert_int_equal(account_claim(&g.seg, 9, RESOURCE_MEMORY, b, 3, &account), 0);
	meta = mc_load_full(&account_of(&g.seg, account)->meta);
	assert_int_equal(account_meta_group(meta), b);
	assert_int_equal(account_meta_resource(meta), RESOURCE_MEMORY);
	assert_int_equal(mc_load_full(&account_of(&g.seg, account)->member), 10);
	account_free(&g.seg, account);
	assert_int_equal(account_claim(&g.seg, 9, RESOURCE_MEMORY, b, 3, &account), 0);
	assert_int_not_equal(mc_load_full(&account_of(&g.seg, account)->meta), meta);
}

/* An account that served one resource is of the epoch of the other when it serves that. */
static void an_account_changes_its_resource(void **state)
{
	struct party p = ground_join(&g, a);
	struct actor daemon = ground_daemon(&g);
	uint32_t swap;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(recount(&g.seg, RESOURCE_MEMORY));
	(void)settle_dead(&daemon, p.member);
	assert_int_equal(account_claim(&g.seg, 9, RESOURCE_SWAP, b, 0, &swap), 0);
	assert_int_equal(swap, p.account);
	assert_int_equal(account_epoch(mc_load_full(&account_of(&g.seg, swap)->word)),
			 mc_load_full(&g.seg.counters->header.epoch[RESOURCE_SWAP]));
}

static void what_is_held_when_freed_is_nobodys(void **state)
{
	struct party p = ground_join(&g, a);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 5, NULL), 0);
	account_free(&g.seg, p.account);
	assert_true(ground_consistent(&g));
	assert_int_equal(ground_usage(&g, a), 0);
}

static void held_is_the_sum_of_its_accounts_of_a_resource(void **state)
{
	struct party p = ground_join(&g, a);
	uint32_t in_b =
		member_account_at(&g.seg, p.member, (unsigned)member_account(&g.seg, p.member, RESOURCE_MEMORY, b));
	uint32_t swap =
		member_account_at(&g.seg, p.member, (unsigned)member_account(&g.seg, p.member, RESOURCE_SWAP, a));

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 5, NULL), 0);
	assert_int_equal(charge_try(&p.by, in_b, 700, NULL), 0);
	assert_int_equal(charge_try(&p.by, swap, 11, NULL), 0);
	assert_int_equal(member_held(&g.seg, p.member, RESOURCE_MEMORY), 705);
	assert_int_equal(member_held(&g.seg, p.member, RESOURCE_SWAP), 11);
}

static void flags_are_set_and_cleared_and_exec_rings(void **state)
{
	struct party p = ground_join(&g, a);
	mc_word32 *flags = &member_of(&g.seg, p.member)->flags;
	uint32_t bell = bell_read(&g.seg);

	(void)state;
	member_set_flags(&g.seg, p.member, MEMBER_PARTIAL | MEMBER_FOREIGN, 0);
	assert_int_equal(mc_load_full(flags), MEMBER_PARTIAL | MEMBER_FOREIGN);
	assert_int_equal(bell_read(&g.seg), bell);
	member_set_flags(&g.seg, p.member, MEMBER_EXECING, MEMBER_PARTIAL);
	assert_int_equal(mc_load_full(flags), MEMBER_EXECING | MEMBER_FOREIGN);
	assert_int_not_equal(bell_read(&g.seg), bell);
}

/* ---- many at once ---- */

struct racer {
	pthread_t thread;
	uint32_t first_pid;
	uint32_t slot[200];
	int wrong;
};

static _Atomic int ready;

static void *join_many(void *arg)
{
	struct racer *r = arg;

	ready++;
	while (ready < 4)
		sched_yield();
	for (uint32_t i = 0; i < 200; i++)
		if (join(r->first_pid + i, 1, i % 2 ? a : b, &r->slot[i]))
			r->wrong++;
	return NULL;
}

static void racing_joins_get_different_slots_and_accounts(void **state)
{
	static bool slot_seen[MEMBERS_MAX], account_seen[ACCOUNTS_MAX];
	static struct racer r[4];

	(void)state;
	ready = 0;
	for (uint32_t i = 0; i < 4; i++) {
		r[i].first_pid = 1000 * (i + 1);
		assert_int_equal(pthread_create(&r[i].thread, NULL, join_many, &r[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].wrong, 0);
		for (int k = 0; k < 200; k++) {
			uint32_t slot = r[i].slot[k];
			uint32_t account = member_account_at(&g.seg, slot, 0);

			assert_false(slot_seen[slot] || account_seen[account]);
			slot_seen[slot] = account_seen[account] = true;
			assert_int_equal(mc_load_full(&account_of(&g.seg, account)->member), slot + 1);
		}
	}
}

#define ROUNDS 500

static struct party shared;
static pthread_barrier_t begin, end;
static _Atomic int claiming;

static void *claim_each_round(void *ret_slot)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&begin);
		claiming++;
		while (claiming < 2)
			sched_yield();
		*(int *)ret_slot = member_account(&g.seg, shared.member, RESOURCE_MEMORY, b);
		pthread_barrier_wait(&end);
	}
	return NULL;
}

static uint32_t accounts_in_use(void)
{
	uint32_t mark = mc_load_full(&g.seg.counters->header.accounts_used);
	uint32_t n = 0;

	for (uint32_t i = 0; i < mark; i++)
		n += mc_load_full(&account_of(&g.seg, i)->member) != 0;
	return n;
}

/* Two threads of one process want the same account at once: one is claimed, nothing is lost. */
static void two_threads_share_one_account(void **state)
{
	pthread_t thread[2];
	int slot[2] = { 0 };

	(void)state;
	shared = ground_join(&g, a);
	pthread_barrier_init(&begin, NULL, 3);
	pthread_barrier_init(&end, NULL, 3);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, claim_each_round, &slot[i]), 0);
	for (int i = 0; i < ROUNDS; i++) {
		claiming = 0;
		pthread_barrier_wait(&begin);
		pthread_barrier_wait(&end);
		assert_int_equal(slot[0], 1);
		assert_int_equal(slot[1], 1);
		assert_int_equal(accounts_in_use(), 2);
		account_free(&g.seg, member_account_at(&g.seg, shared.member, 1));
		mc_store_full(&member_of(&g.seg, shared.member)->account[1], 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

/* ---- start times ---- */

static uint64_t start_time_by_libc(void)
{
	char text[1024];
	unsigned long long ticks = 0;
	FILE *f = fopen("/proc/self/stat", "r");
	size_t n = fread(text, 1, sizeof(text) - 1, f);

	fclose(f);
	text[n] = 0;
	sscanf(strrchr(text, ')') + 1,
	       " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &ticks);
	return ticks;
}

static void what_is_inherited_has_an_account_of_its_own(void **state)
{
	struct party p = ground_join(&g, a);
	int own = member_find_account(&g.seg, p.member, RESOURCE_MEMORY, a);
	int inherited = member_inherited_account(&g.seg, p.member, RESOURCE_MEMORY, a);

	(void)state;
	assert_true(own >= 0 && inherited >= 0 && own != inherited);
	assert_int_equal(member_inherited_account(&g.seg, p.member, RESOURCE_MEMORY, a), inherited);
	assert_int_equal(member_account(&g.seg, p.member, RESOURCE_MEMORY, a), own);
	assert_int_equal(member_find_account(&g.seg, p.member, RESOURCE_MEMORY, a), own);
	charge_force(&p.by, member_account_at(&g.seg, p.member, (unsigned)inherited), 7, OVER_LAZY);
	assert_int_equal(member_held(&g.seg, p.member, RESOURCE_MEMORY), 7);
	settle_leave(&g.seg, p.member);
	assert_int_equal(member_held(&g.seg, p.member, RESOURCE_MEMORY), 0);
	assert_true(ground_consistent(&g));
}

static void start_times_are_read_whatever_the_name(void **state)
{
	static const char *const names[] = { "plain", "a b", ") 1 2 3", "(((", "))))" };
	uint64_t self = 0;
	uint64_t by_pid = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(prctl(PR_SET_NAME, names[i], 0, 0, 0), 0);
		assert_int_equal(member_read_start_time(0, &self), 0);
		assert_int_equal(member_read_start_time((uint32_t)getpid(), &by_pid), 0);
		assert_int_equal(self, by_pid);
		assert_int_equal(self, start_time_by_libc());
		assert_int_not_equal(self, 0);
	}
	assert_int_equal(member_read_start_time(4194304 + 5, &self), -ESRCH);
	assert_int_equal(self, by_pid);
	assert_int_equal(member_read_start_time(1, &self), 0);
	assert_true(self <= by_pid);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
	static const struct CMUnitTest tests[] = {
		TEST(joining_fills_the_slot),
		TEST(an_observed_member_is_one_too),
		TEST(joining_what_is_not_live_leaves_no_trace),
		TEST(low_slots_are_taken_first),
		TEST(a_slot_used_again_is_as_new),
		TEST(found_by_pid_and_start_time_only),
		TEST(only_live_and_observed_are_found),
		TEST(pids_of_one_residue_are_all_found),
		TEST(all_slots_are_used_and_then_it_is_said),
		TEST(one_account_for_each_pool),
		TEST(fifteen_and_no_more),
		TEST(all_accounts_are_used_and_then_it_is_said),
		TEST(each_claim_is_told_from_the_last),
		TEST(an_account_changes_its_resource),
		TEST(what_is_held_when_freed_is_nobodys),
		TEST(held_is_the_sum_of_its_accounts_of_a_resource),
		TEST(flags_are_set_and_cleared_and_exec_rings),
		TEST(racing_joins_get_different_slots_and_accounts),
		TEST(two_threads_share_one_account),
		TEST(what_is_inherited_has_an_account_of_its_own),
		TEST(start_times_are_read_whatever_the_name),
	};

	return cmocka_run_group_tests_name("accounting_member", tests, NULL, NULL);
}
