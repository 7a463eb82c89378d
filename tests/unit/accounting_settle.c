/* SPDX-License-Identifier: MIT */
/* Taking back: from the dead, from an image that exec replaced, and after a daemon that died. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"
#include "tests/lib/intrude.h"

#include "accounting/check.h"

#include <errno.h>

static struct ground g;
static uint16_t a, ab, b;
static struct actor self;  /* the daemon */
static struct party p;	   /* in ab */
static struct party other; /* in b; holds 500 all the time */

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", PAGES_MAX);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	b = ground_group(&g, "/b", PAGES_MAX);
	self = ground_daemon(&g);
	p = ground_join(&g, ab);
	other = ground_join(&g, b);
	assert_int_equal(charge_try(&other.by, other.account, 500, NULL), 0);
	return 0;
}

static int down(void **state)
{
	(void)state;
	assert_int_equal(ground_held(&g, other.account), 500);
	assert_int_equal(ground_usage(&g, b), 500 + ground_stock(&g, other.account));
	assert_int_equal(mc_load_full(self.open), 0);
	assert_true(ground_consistent(&g));
	(void)settle_dead(&self, other.member);
	assert_true(ground_empty(&g));
	assert_int_equal(check_failures(), 0);
	ground_down(&g);
	return 0;
}

static uint64_t epoch(void)
{
	return mc_load_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY]);
}

static void assert_slot_is_free(const struct party *of)
{
	struct member *m = member_of(&g.seg, of->member);

	assert_int_equal(mc_load_full(&m->state), 0);
	assert_int_equal(mc_load_full(&m->open), 0);
	for (int i = 0; i < MEMBER_ACCOUNTS_MAX; i++)
		assert_int_equal(mc_load_full(&m->account[i]), 0);
	for (uint32_t i = 0; i < mc_load_full(&g.seg.counters->header.accounts_used); i++)
		assert_int_not_equal(mc_load_full(&account_of(&g.seg, i)->member), of->member + 1);
}

/* ---- the dead ---- */

static void what_the_dead_held_comes_back(void **state)
{
	uint64_t then = epoch();

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 30, NULL), 0);
	assert_int_equal(settle_dead(&self, p.member), 30 + CHARGE_BATCH);
	assert_int_equal(ground_usage(&g, a), 0);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), 500);
	assert_slot_is_free(&p);
	assert_int_equal(epoch(), then); /* no slow path was open: no recount */
}

static void all_its_accounts_come_back(void **state)
{
	int in_b = member_account(&g.seg, p.member, RESOURCE_MEMORY, b);
	int swap = member_account(&g.seg, p.member, RESOURCE_SWAP, a);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	assert_int_equal(charge_try(&p.by, member_account_at(&g.seg, p.member, (unsigned)in_b), 200, NULL), 0);
	assert_int_equal(charge_try(&p.by, member_account_at(&g.seg, p.member, (unsigned)swap), 70, NULL), 0);
	assert_int_equal(settle_dead(&self, p.member), 1200); /* memory alone is told */
	assert_int_equal(pool_usage(mc_load_full(&pool_of(&g.seg, RESOURCE_SWAP, a)->word)), 0);
	assert_slot_is_free(&p);
}

/* What a charge that never ended has left in the pools, only a recount finds. */
static void one_that_died_in_a_slow_path_is_recounted(void **state)
{
	uint32_t e = (uint32_t)epoch();

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_add_full(p.by.open, 1);
	assert_int_equal(pool_try_charge(&g.seg, RESOURCE_MEMORY, ab, 77, e), 0);
	assert_int_equal(settle_dead(&self, p.member), 1000);
	assert_int_equal(ground_usage(&g, ab), 0);
	assert_int_not_equal(epoch(), e);
	assert_slot_is_free(&p);
}

static void one_that_died_while_joining_is_freed(void **state)
{
	uint32_t account;
	mc_word *word = &member_of(&g.seg, p.member)->state;

	(void)state;
	(void)settle_dead(&self, p.member);
	mc_store_full(word, member_state_word(p.by.pid, MEMBER_CLAIMED)); /* nothing filled in */
	assert_int_equal(settle_dead(&self, p.member), 0);
	assert_slot_is_free(&p);
	mc_store_full(word, member_state_word(p.by.pid, MEMBER_CLAIMED)); /* an account, not listed */
	assert_int_equal(account_claim(&g.seg, p.member, RESOURCE_MEMORY, ab, 0, &account), 0);
	assert_int_equal(settle_dead(&self, p.member), 0);
	assert_slot_is_free(&p);
}

/* Died between claiming a further account and listing it: its open counter was up then. */
static void an_account_not_listed_is_found(void **state)
{
	uint32_t account;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_add_full(p.by.open, 1);
	assert_int_equal(account_claim(&g.seg, p.member, RESOURCE_MEMORY, a, 1, &account), 0);
	assert_int_equal(settle_dead(&self, p.member), 1000);
	assert_slot_is_free(&p);
}

static jmp_buf grave;

static void die(void *unused)
{
	(void)unused;
	longjmp(grave, 1);
}

static void die_at_the_list(void *unused)
{
	(void)unused;
	intrude_before_write(member_of(&g.seg, p.member), die, NULL);
}

/* The same by the code's own way: claimed is claimed when the account says so, listed a moment later. */
static void death_between_claiming_and_listing_leaves_no_account(void **state)
{
	uint32_t next = mc_load_full(&g.seg.counters->header.accounts_used);

	(void)state;
	if (setjmp(grave) == 0) {
		intrude_before_write(account_of(&g.seg, next), die_at_the_list, NULL);
		(void)member_account(&g.seg, p.member, RESOURCE_MEMORY, a);
		fail_msg("did not die");
	}
	assert_int_equal(mc_load_full(&account_of(&g.seg, next)->member), p.member + 1);
	assert_int_equal(mc_load_full(&member_of(&g.seg, p.member)->account[1]), 0);
	(void)settle_dead(&self, p.member);
	assert_slot_is_free(&p);
}

static void settling_again_takes_nothing(void **state)
{
	struct member *m = member_of(&g.seg, p.member);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	(void)settle_dead(&self, p.member);
	mc_store_full(&m->state, member_state_word(p.by.pid, MEMBER_DEAD));
	assert_int_equal(settle_dead(&self, p.member), 0);
	assert_slot_is_free(&p);
}

/* A settler died after it had freed an account and before it took it off the list; somebody else has it
 * by now. He keeps it, and what he holds there. */
static void an_account_that_is_somebody_elses_by_now_is_left_alone(void **state)
{
	static const enum member_state states[] = { MEMBER_DEAD, MEMBER_LIVE, MEMBER_CLAIMED };
	struct member *m = member_of(&g.seg, p.member);

	(void)state;
	(void)settle_dead(&self, p.member);
	for (int i = 0; i < 6; i++) {
		mc_store_full(&m->open, (uint32_t)i % 2);
		mc_store_full(&m->account[0], other.account + 1);
		mc_store_full(&m->state, member_state_word(p.by.pid, states[i / 2]));
		assert_int_equal(settle_dead(&self, p.member), 0);
		assert_slot_is_free(&p);
		assert_int_equal(ground_held(&g, other.account), 500);
		assert_int_equal(mc_load_full(&account_of(&g.seg, other.account)->member), other.member + 1);
	}
}

/* The stock of the dead is drained by somebody before it is settled. */
static void a_drain_before_settling_is_no_harm(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 30, NULL), 0);
	assert_int_equal(stock_drain(&other.by, RESOURCE_MEMORY, a), CHARGE_BATCH);
	assert_int_equal(settle_dead(&self, p.member), 30);
	assert_int_equal(ground_usage(&g, a), 0);
}

/* ---- exec ---- */

static void exec_in_place_starts_from_nothing(void **state)
{
	struct member *m = member_of(&g.seg, p.member);

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	(void)member_account(&g.seg, p.member, RESOURCE_MEMORY, b);
	member_set_flags(&g.seg, p.member, MEMBER_EXECING | MEMBER_PARTIAL | MEMBER_FOREIGN, 0);
	assert_int_equal(settle_exec(&g.seg, p.member, ab, "fresh"), 0);
	assert_int_equal(member_state(mc_load_full(&m->state)), MEMBER_LIVE);
	assert_int_equal(mc_load_full(&m->open), 0);
	assert_int_equal(mc_load_full(&m->flags), MEMBER_FOREIGN);
	assert_string_equal(m->comm, "fresh");
	assert_int_equal(ground_usage(&g, a), 0);
	assert_int_not_equal(mc_load_full(&m->account[0]), 0);
	assert_int_equal(mc_load_full(&m->account[1]), 0);
	p.account = member_account_at(&g.seg, p.member, 0);
	assert_int_equal(charge_try(&p.by, p.account, 10, NULL), 0);
	assert_int_equal(settle_dead(&self, p.member), 10 + CHARGE_BATCH);
	assert_slot_is_free(&p);
}

static void exec_in_a_slow_path_is_recounted(void **state)
{
	uint32_t e = (uint32_t)epoch();
	uint32_t unlisted;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_add_full(p.by.open, 2); /* two threads were in one */
	assert_int_equal(account_claim(&g.seg, p.member, RESOURCE_MEMORY, a, 1, &unlisted), 0);
	assert_int_equal(pool_try_charge(&g.seg, RESOURCE_MEMORY, ab, 77, e), 0);
	assert_int_equal(settle_exec(&g.seg, p.member, ab, "fresh"), 0);
	assert_int_equal(ground_usage(&g, a), 0);
	assert_int_not_equal(epoch(), e);
	assert_int_equal(mc_load_full(p.by.open), 0);
	(void)settle_dead(&self, p.member);
	assert_slot_is_free(&p);
}

/* The daemon moved it to b; the new image names the same group as the old one did, so b it is. */
static void exec_stays_where_the_daemon_put_it(void **state)
{
	struct member *m = member_of(&g.seg, p.member);

	(void)state;
	mc_store_full(&m->group, b);
	assert_int_equal(settle_exec(&g.seg, p.member, ab, "same"), 0);
	assert_int_equal(mc_load_full(&m->group), b);
	assert_int_equal(
		account_meta_group(mc_load_full(&account_of(&g.seg, member_account_at(&g.seg, p.member, 0))->meta)), b);
	assert_int_equal(settle_exec(&g.seg, p.member, a, "another"), 0);
	assert_int_equal(mc_load_full(&m->group), a);
	assert_int_equal(mc_load_full(&m->asked), a);
	(void)settle_dead(&self, p.member);
}

static void exec_of_one_taken_for_observed_is_live_again(void **state)
{
	mc_word *word = &member_of(&g.seg, p.member)->state;

	(void)state;
	mc_store_full(word, member_state_word(p.by.pid, MEMBER_OBSERVED));
	assert_int_equal(settle_exec(&g.seg, p.member, ab, "slow"), 0);
	assert_int_equal(mc_load_full(word), member_state_word(p.by.pid, MEMBER_LIVE));
	(void)settle_dead(&self, p.member);
}

static void exec_of_one_declared_dead_joins_anew(void **state)
{
	mc_word *word = &member_of(&g.seg, p.member)->state;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_store_full(word, member_state_word(p.by.pid, MEMBER_DEAD));
	assert_int_equal(settle_exec(&g.seg, p.member, ab, "late"), -ESRCH);
	assert_int_equal(ground_held(&g, p.account), 1000); /* the daemon's business */
	assert_int_equal(mc_load_full(p.by.open), 0);
	(void)settle_dead(&self, p.member);
	assert_slot_is_free(&p);
}

/* A new image that dies half-way: its open counter says so, the slot is settled with a recount. */
static void one_that_died_in_exec_is_settled(void **state)
{
	uint64_t then = epoch();

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_add_full(p.by.open, 1);
	mc_store_full(&account_of(&g.seg, p.account)->word, account_word((uint32_t)then, 0, 0)); /* S2 */
	assert_int_equal(settle_dead(&self, p.member), 0);
	assert_int_equal(ground_usage(&g, a), 0);
	assert_slot_is_free(&p);
}

/* ---- the daemon ---- */

static void a_daemon_that_ended_well_leaves_nothing_to_do(void **state)
{
	uint64_t then = epoch();

	(void)state;
	assert_int_equal(settle_daemon(&g.seg), 0);
	assert_int_equal(epoch(), then);
	(void)settle_dead(&self, p.member);
}

static void a_daemon_that_died_in_a_slow_path_is_recounted(void **state)
{
	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	mc_store_full(self.open, 3);
	assert_int_equal(stock_drain(&self, RESOURCE_MEMORY, GROUP_ROOT), 0);
	mc_store_full(&account_of(&g.seg, p.account)->word, account_word((uint32_t)epoch(), 0, 0)); /* S2 */
	assert_int_equal(settle_daemon(&g.seg), 2);
	assert_int_equal(mc_load_full(self.open), 0);
	assert_int_equal(ground_usage(&g, a), 0);
	(void)settle_dead(&self, p.member);
}

static void an_unfinished_recount_is_finished(void **state)
{
	(void)state;
	mc_store_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY], EPOCH_RECOUNTING | (epoch() + 1));
	mc_store_full(&ground_pool(&g, a)->word, POOL_BUSY | pool_word((uint32_t)epoch(), 0));
	assert_int_equal(settle_daemon(&g.seg), 1);
	assert_int_equal(epoch() & EPOCH_RECOUNTING, 0);
	assert_int_equal(charge_try(&p.by, p.account, 1000, NULL), 0);
	(void)settle_dead(&self, p.member);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
	static const struct CMUnitTest tests[] = {
		TEST(what_the_dead_held_comes_back),
		TEST(all_its_accounts_come_back),
		TEST(one_that_died_in_a_slow_path_is_recounted),
		TEST(one_that_died_while_joining_is_freed),
		TEST(an_account_not_listed_is_found),
		TEST(death_between_claiming_and_listing_leaves_no_account),
		TEST(settling_again_takes_nothing),
		TEST(an_account_that_is_somebody_elses_by_now_is_left_alone),
		TEST(a_drain_before_settling_is_no_harm),
		TEST(exec_in_place_starts_from_nothing),
		TEST(exec_in_a_slow_path_is_recounted),
		TEST(exec_stays_where_the_daemon_put_it),
		TEST(exec_of_one_taken_for_observed_is_live_again),
		TEST(exec_of_one_declared_dead_joins_anew),
		TEST(one_that_died_in_exec_is_settled),
		TEST(a_daemon_that_ended_well_leaves_nothing_to_do),
		TEST(a_daemon_that_died_in_a_slow_path_is_recounted),
		TEST(an_unfinished_recount_is_finished),
	};

	return cmocka_run_group_tests_name("accounting_settle", tests, NULL, NULL);
}
