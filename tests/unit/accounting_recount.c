/* SPDX-License-Identifier: MIT */
/* Recounts: the pools after it are what the accounts say, whatever was in them, whoever was interrupted. */
#include "tests/lib/grounded.h"
#include "tests/lib/intrude.h"

#include "accounting/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint16_t a, ab, b;
static mc_word *now;

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", PAGES_MAX);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	b = ground_group(&g, "/b", PAGES_MAX);
	now = &g.seg.counters->header.epoch[RESOURCE_MEMORY];
	return 0;
}

static int down(void **state)
{
	(void)state;
	assert_true(ground_consistent(&g));
	ground_down(&g);
	return 0;
}

static void spoil(uint16_t group, uint64_t usage)
{
	mc_word *word = &ground_pool(&g, group)->word;

	mc_store_full(word, pool_word(pool_epoch(mc_load_full(word)), usage));
}

static void pools_become_what_the_accounts_hold(void **state)
{
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, a);
	struct party r = ground_join(&g, b);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 100, NULL), 0);
	assert_int_equal(charge_try(&q.by, q.account, 2000, NULL), 0);
	assert_int_equal(charge_try(&r.by, r.account, 1, NULL), 0);
	spoil(ab, 5);
	spoil(a, 1ull << 40);
	spoil(b, 0);
	spoil(GROUP_ROOT, 12345);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(ground_usage(&g, ab), 100);
	assert_int_equal(ground_usage(&g, a), 2100);
	assert_int_equal(ground_usage(&g, b), 1);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), 2101);
	assert_int_equal(ground_held(&g, p.account), 100);
	assert_int_equal(ground_stock(&g, r.account), 0); /* stocks go with it */
}

static void all_words_move_to_the_new_epoch(void **state)
{
	struct party p = ground_join(&g, ab);
	uint64_t then = mc_load_full(now);

	(void)state;
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(mc_load_full(now), then + 1);
	assert_int_equal(account_epoch(mc_load_full(&account_of(&g.seg, p.account)->word)), then + 1);
	for (uint16_t i = 0; i <= b; i++)
		assert_int_equal(mc_load_full(&ground_pool(&g, i)->word), pool_word((uint32_t)then + 1, 0));
	assert_int_equal(charge_try(&p.by, p.account, 100, NULL), 0);
}

static void other_resources_stay_as_they_are(void **state)
{
	struct party p = ground_join(&g, ab);
	uint64_t swap_then = mc_load_full(&g.seg.counters->header.epoch[RESOURCE_SWAP]);
	int slot = member_account(&g.seg, p.member, RESOURCE_SWAP, ab);
	uint32_t swap = member_account_at(&g.seg, p.member, (unsigned)slot);

	(void)state;
	assert_int_equal(charge_try(&p.by, swap, 7, NULL), 0);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(mc_load_full(&g.seg.counters->header.epoch[RESOURCE_SWAP]), swap_then);
	assert_int_equal(ground_held(&g, swap), 7);
	assert_int_equal(ground_stock(&g, swap), CHARGE_BATCH);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), 0);
	assert_true(snapshot_consistent(&g.seg, RESOURCE_SWAP, NULL));
	recount_all(&g.seg);
	assert_int_equal(mc_load_full(&g.seg.counters->header.epoch[RESOURCE_SWAP]), swap_then + 1);
	assert_int_equal(ground_stock(&g, swap), 0);
}

/* The circle has 16,384 places; going round it more than once changes nothing. */
static void epochs_go_round(void **state)
{
	struct party p = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 100, NULL), 0);
	for (int i = 0; i < 40000; i++) {
		if (!recount(&g.seg, RESOURCE_MEMORY))
			fail_msg("recount %d", i);
		if (i % 1000 == 0) {
			assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
			charge_uncharge(&p.by, p.account, 1);
		}
	}
	assert_int_equal(ground_held(&g, p.account), 100);
	assert_int_equal(ground_usage(&g, a), 100 + ground_stock(&g, p.account));
}

/* ---- interrupted ones, made by hand: R1; R1 and R2; R1 to R3; R1 to half of R4 ---- */

static uint32_t begin_by_hand(void)
{
	uint32_t e = ((uint32_t)mc_load_full(now) + 1) & EPOCH_MASK;

	mc_store_full(now, EPOCH_RECOUNTING | e);
	return e;
}

static void hold_by_hand(uint32_t e, unsigned pools)
{
	for (uint16_t i = 0; i < pools; i++)
		mc_store_full(&ground_pool(&g, i)->word, POOL_BUSY | pool_word(e, 0));
}

static void visit_by_hand(uint32_t e, uint32_t account)
{
	mc_word *word = &account_of(&g.seg, account)->word;

	mc_store_full(word, account_word(e, account_held(mc_load_full(word)), 0));
}

static void interrupted_after(int stage, const struct party *p)
{
	uint32_t e = begin_by_hand();

	if (stage >= 1)
		hold_by_hand(e, stage == 1 ? 2 : b + 1u);
	if (stage >= 3)
		visit_by_hand(e, p->account);
	if (stage >= 4)
		mc_store_full(&ground_pool(&g, GROUP_ROOT)->word, pool_word(e, 150));
}

static void an_interrupted_one_is_taken_over_by_a_charge(void **state)
{
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, b);

	(void)state;
	for (int stage = 0; stage <= 4; stage++) {
		assert_int_equal(charge_try(&p.by, p.account, 100, NULL), 0);
		assert_int_equal(charge_try(&q.by, q.account, 50, NULL), 0);
		interrupted_after(stage, &p);
		assert_int_equal(charge_try(&q.by, q.account, 1000, NULL), 0);
		assert_int_equal(mc_load_full(now) & EPOCH_RECOUNTING, 0);
		assert_int_equal(ground_held(&g, q.account), 1050);
		assert_int_equal(ground_usage(&g, a), 100);
		assert_true(ground_consistent(&g));
		charge_uncharge(&q.by, q.account, 1050);
		charge_uncharge(&p.by, p.account, 100);
		(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
		assert_true(ground_empty(&g));
	}
}

static void an_interrupted_one_is_taken_over_by_an_uncharge(void **state)
{
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, b);

	(void)state;
	for (int stage = 0; stage <= 4; stage++) {
		assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
		assert_int_equal(charge_try(&q.by, q.account, 50, NULL), 0);
		interrupted_after(stage, &p);
		charge_uncharge(&p.by, p.account, 900);
		(void)recount_wait(&g.seg, RESOURCE_MEMORY); /* where no busy pool was met */
		assert_int_equal(mc_load_full(now) & EPOCH_RECOUNTING, 0);
		assert_int_equal(ground_held(&g, p.account), 100);
		assert_true(ground_consistent(&g));
		charge_uncharge(&q.by, q.account, 50);
		charge_uncharge(&p.by, p.account, 100);
		(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
		assert_true(ground_empty(&g));
	}
}

static void the_fast_paths_do_not_wait(void **state)
{
	struct party p = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	interrupted_after(2, &p);
	assert_int_equal(charge_try(&p.by, p.account, 10, NULL), 0);
	charge_uncharge(&p.by, p.account, 11);
	assert_int_equal(mc_load_full(now) & EPOCH_RECOUNTING, EPOCH_RECOUNTING);
	(void)recount_wait(&g.seg, RESOURCE_MEMORY);
}

static void waiting_ends_at_once_when_nothing_is_on(void **state)
{
	(void)state;
	mc_store_full(now, 9);
	assert_int_equal(recount_wait(&g.seg, RESOURCE_MEMORY), 9);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(recount_wait(&g.seg, RESOURCE_MEMORY), 10);
}

/* One that moves is left to itself for RECOUNT_WAIT_NS. */
static void a_takeover_is_not_hasty(void **state)
{
	uint64_t from = clock_now_ns();

	(void)state;
	(void)begin_by_hand();
	(void)recount_wait(&g.seg, RESOURCE_MEMORY);
	assert_true(clock_now_ns() - from >= RECOUNT_WAIT_NS);
}

/* ---- what others do meanwhile ---- */

/* A pool that mkdir brought to the new epoch between R1 and R2 is no younger recount. */
static void a_pool_of_its_own_epoch_does_not_stop_it(void **state)
{
	uint64_t then = mc_load_full(now);

	(void)state;
	mc_store_full(&ground_pool(&g, ab)->word, pool_word((uint32_t)then + 1, 0));
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(mc_load_full(now), then + 1);
}

/* An account claimed after R1 is of the new epoch and counts as it stands. */
static void an_account_of_its_own_epoch_counts_as_it_stands(void **state)
{
	struct party p = ground_join(&g, ab);
	uint64_t then = mc_load_full(now);

	(void)state;
	mc_store_full(&account_of(&g.seg, p.account)->word, account_word((uint32_t)then + 1, 30, 12));
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(ground_held(&g, p.account), 30);
	assert_int_equal(ground_stock(&g, p.account), 12);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), 42);
}

/* Something younger anywhere: the older one stops and says so, and spoils nothing. */
static void a_younger_one_makes_it_stop(void **state)
{
	struct party p = ground_join(&g, ab);
	mc_word *word = &account_of(&g.seg, p.account)->word;
	uint32_t e = (uint32_t)mc_load_full(now);

	(void)state;
	mc_store_full(word, account_word(e + 2, 5, 0));
	assert_false(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(mc_load_full(word), account_word(e + 2, 5, 0));
	mc_store_full(word, account_word(e, 0, 0));
	mc_store_full(&ground_pool(&g, b)->word, POOL_BUSY | pool_word(e + 3, 0));
	assert_false(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(mc_load_full(&ground_pool(&g, b)->word), POOL_BUSY | pool_word(e + 3, 0));
	(void)recount_wait(&g.seg, RESOURCE_MEMORY);
	assert_int_equal(mc_load_full(now), e + 3);
}

/* Freed and claimed for another resource, whose epochs have nothing to do with ours. */
static void account_changes_its_resource(void *account)
{
	uint32_t again = 77;

	account_free(&g.seg, *(uint32_t *)account);
	assert_int_equal(account_claim(&g.seg, 9, RESOURCE_SWAP, b, 0, &again), 0);
	assert_int_equal(again, *(uint32_t *)account);
}

static void an_account_that_leaves_the_resource_is_left_alone(void **state)
{
	struct party p = ground_join(&g, ab);

	(void)state;
	mc_store_full(&member_of(&g.seg, p.member)->account[0], 0);
	intrude_before_write(account_of(&g.seg, p.account), account_changes_its_resource, &p.account);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_true(intrude_has_run());
	assert_int_equal(account_epoch(mc_load_full(&account_of(&g.seg, p.account)->word)),
			 mc_load_full(&g.seg.counters->header.epoch[RESOURCE_SWAP]));
}

static _Atomic bool busy;
static _Atomic unsigned done;

static void *recount_all_the_time(void *unused)
{
	(void)unused;
	while (busy)
		done += recount(&g.seg, RESOURCE_MEMORY);
	return NULL;
}

static void several_at_once_end_in_one_truth(void **state)
{
	struct party p = ground_join(&g, ab);
	struct party q = ground_join(&g, b);
	pthread_t thread[2];
	unsigned n = 0;

	(void)state;
	busy = true;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, recount_all_the_time, NULL), 0);
	for (; n < 3000 || done < 100; n++) {
		assert_int_equal(charge_try(&p.by, p.account, 300, NULL), 0);
		assert_int_equal(charge_try(&q.by, q.account, 5, NULL), 0);
		charge_uncharge(&p.by, p.account, 299);
		charge_uncharge(&q.by, q.account, 5);
	}
	busy = false;
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	(void)recount_wait(&g.seg, RESOURCE_MEMORY);
	assert_true(ground_consistent(&g));
	assert_int_equal(ground_held(&g, p.account), n);
	assert_int_equal(ground_usage(&g, a), n + ground_stock(&g, p.account));
}

/* At its limit of address space a process must be able to recount, or all who wait would wait on. */
static void address_space_is_not_needed(void **state)
{
	struct party p = ground_join(&g, ab);
	struct rlimit none = { 0, 0 };
	int status = -1;
	pid_t child;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	spoil(a, 7);
	child = fork();
	if (child == 0) {
		bool ok = setrlimit(RLIMIT_AS, &none) == 0;

		ok = ok && recount(&g.seg, RESOURCE_MEMORY);
		ok = ok && recount(&g.seg, RESOURCE_MEMORY);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(ground_usage(&g, a), 1000);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
	static const struct CMUnitTest tests[] = {
		TEST(pools_become_what_the_accounts_hold),
		TEST(all_words_move_to_the_new_epoch),
		TEST(other_resources_stay_as_they_are),
		TEST(epochs_go_round),
		TEST(an_interrupted_one_is_taken_over_by_a_charge),
		TEST(an_interrupted_one_is_taken_over_by_an_uncharge),
		TEST(the_fast_paths_do_not_wait),
		TEST(waiting_ends_at_once_when_nothing_is_on),
		TEST(a_takeover_is_not_hasty),
		TEST(a_pool_of_its_own_epoch_does_not_stop_it),
		TEST(an_account_of_its_own_epoch_counts_as_it_stands),
		TEST(a_younger_one_makes_it_stop),
		TEST(an_account_that_leaves_the_resource_is_left_alone),
		TEST(several_at_once_end_in_one_truth),
		TEST(address_space_is_not_needed),
	};

	return cmocka_run_group_tests_name("accounting_recount", tests, NULL, NULL);
}
