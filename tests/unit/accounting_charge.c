/* SPDX-License-Identifier: MIT */
/* Charging up the tree: who refuses, what is undone, what is counted, and what may not be. */
#include "tests/lib/grounded.h"
#include "tests/lib/intrude.h"

#include "accounting/check.h"
#include "accounting/ticket.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

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

static int down(void **state)
{
	assert_int_equal(mc_load_full(p.by.open), 0);
	return grounded_down_empty(state);
}

static int charge(uint64_t n)
{
	return charge_try(&p.by, p.account, n, NULL);
}

static void assert_usage(uint64_t in_abc, uint64_t in_ab, uint64_t in_a, uint64_t in_root)
{
	assert_int_equal(ground_usage(&g, abc), in_abc);
	assert_int_equal(ground_usage(&g, ab), in_ab);
	assert_int_equal(ground_usage(&g, a), in_a);
	assert_int_equal(ground_usage(&g, GROUP_ROOT), in_root);
}

static void a_charge_counts_on_every_level(void **state)
{
	(void)state;
	assert_int_equal(charge(1000), 0);
	assert_usage(1000, 1000, 1000, 1000);
	assert_int_equal(ground_held(&g, p.account), 1000);
	assert_int_equal(ground_stock(&g, p.account), 0);
	charge_uncharge(&p.by, p.account, 1000);
	assert_usage(0, 0, 0, 0);
}

static void two_members_add_up(void **state)
{
	struct party q = ground_join(&g, ab);

	(void)state;
	assert_int_equal(charge(1000), 0);
	assert_int_equal(charge_try(&q.by, q.account, 500, NULL), 0);
	assert_usage(1000, 1500, 1500, 1500);
}

/* The level `limit` refuses: whatever was charged below is undone, whatever is above never charged. */
static void refused_at(uint16_t limit)
{
	const uint16_t all[] = { abc, ab, a, GROUP_ROOT };
	uint16_t refused = 77;

	ground_set_max(&g, limit, 1000);
	assert_int_equal(charge(999), 0);
	assert_int_equal(charge_try(&p.by, p.account, 2, &refused), -ENOMEM);
	assert_int_equal(refused, limit);
	assert_usage(999, 999, 999, 999);
	assert_int_equal(ground_held(&g, p.account), 999);
	assert_int_equal(ground_stock(&g, p.account), 0);
	for (int i = 0; i < 4; i++) {
		struct pool *pool = ground_pool(&g, all[i]);
		bool at_or_above = group_is_within(&g.seg, limit, all[i]);

		assert_int_equal(mc_load_full(&pool->failcnt), all[i] == limit);
		assert_int_equal(mc_load_full(&pool->event[EVENT_MAX]), at_or_above);
		assert_int_equal(mc_load_full(&pool->event[EVENT_OOM]), at_or_above);
		assert_int_equal(mc_load_full(&pool->event_local[EVENT_MAX]), all[i] == limit);
		assert_int_equal(mc_load_full(&pool->event_local[EVENT_OOM]), all[i] == limit);
		assert_int_equal(mc_load_full(&pool->event[EVENT_OVER]), 0);
	}
	assert_int_equal(mc_load_full(&ground_pool(&g, limit)->refused_pid), p.by.pid);
	assert_int_equal(mc_load_full(&ground_pool(&g, limit)->refused_member), p.member);
	assert_int_equal(mc_load_full(&ground_pool(&g, limit)->refused_units), 2);
	assert_int_equal(charge(1), 0);
	assert_usage(1000, 1000, 1000, 1000);
	assert_int_equal(charge(1), -ENOMEM);
	assert_int_equal(mc_load_full(&ground_pool(&g, limit)->failcnt), 2);
}

static void the_leaf_refuses(void **state)
{
	(void)state;
	refused_at(abc);
}

static void a_middle_level_refuses(void **state)
{
	(void)state;
	refused_at(ab);
}

static void the_root_refuses(void **state)
{
	(void)state;
	refused_at(GROUP_ROOT);
}

static void the_lowest_refusing_level_is_the_one(void **state)
{
	uint16_t refused = 77;

	(void)state;
	ground_set_max(&g, a, 10);
	ground_set_max(&g, abc, 20);
	assert_int_equal(charge_try(&p.by, p.account, 15, &refused), -ENOMEM);
	assert_int_equal(refused, a);
	assert_int_equal(charge_try(&p.by, p.account, 25, &refused), -ENOMEM);
	assert_int_equal(refused, abc);
	assert_usage(0, 0, 0, 0);
}

static void a_refusal_is_counted_for_the_member_too(void **state)
{
	(void)state;
	ground_set_max(&g, a, 10);
	assert_int_equal(charge(11), -ENOMEM);
	assert_int_equal(charge(10), 0);
	assert_int_equal(charge(1), -ENOMEM);
	assert_int_equal(mc_load_full(&member_of(&g.seg, p.member)->refused), 2);
}

static void room_is_what_every_level_has(void **state)
{
	(void)state;
	assert_true(charge_has_room(&p.by, p.account, 1000));
	ground_set_max(&g, a, 10);
	ground_set_max(&g, abc, 5);
	assert_true(charge_has_room(&p.by, p.account, 5));
	assert_false(charge_has_room(&p.by, p.account, 6));
	ground_set_max(&g, abc, PAGES_MAX);
	assert_true(charge_has_room(&p.by, p.account, 10));
	assert_false(charge_has_room(&p.by, p.account, 11));
}

static void ret_refused_is_left_alone_on_success(void **state)
{
	uint16_t refused = 77;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 15, &refused), 0);
	assert_int_equal(refused, 77);
}

static void nothing_is_a_charge_too(void **state)
{
	(void)state;
	ground_set_max(&g, abc, 0);
	assert_int_equal(charge(0), 0);
	charge_uncharge(&p.by, p.account, 0);
	charge_force(&p.by, p.account, 0, OVER_CREDIT);
	assert_usage(0, 0, 0, 0);
}

/* More than an account's word can hold is refused, not wrapped. */
static void too_much_is_refused(void **state)
{
	static const uint64_t too_much[] = {
		UINT64_MAX, PAGES_MAX, PAGES_MAX >> 4, 1ull << 40, 1ull << ACCOUNT_HELD_BITS,
	};
	uint64_t half = ACCOUNT_HELD_MAX / 2;

	(void)state;
	for (size_t i = 0; i < sizeof(too_much) / sizeof(too_much[0]); i++) {
		uint16_t refused = 77;

		assert_int_equal(charge_try(&p.by, p.account, too_much[i], &refused), -ENOMEM);
		assert_int_equal(refused, abc);
		assert_usage(0, 0, 0, 0);
		assert_int_equal(ground_held(&g, p.account), 0);
	}
	assert_int_equal(charge(half), 0);
	assert_int_equal(charge(half), 0);
	assert_int_equal(charge(half), -ENOMEM);
	assert_int_equal(ground_held(&g, p.account), 2 * half);
	assert_usage(2 * half, 2 * half, 2 * half, 2 * half);
	charge_uncharge(&p.by, p.account, 2 * half);
	assert_usage(0, 0, 0, 0);
}

static void peak_is_per_level(void **state)
{
	struct party q = ground_join(&g, a);

	(void)state;
	assert_int_equal(charge(1000), 0);
	charge_uncharge(&p.by, p.account, 900);
	assert_int_equal(charge_try(&q.by, q.account, 500, NULL), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->peak), 1000);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->peak), 1000);
	assert_int_equal(charge_try(&q.by, q.account, 600, NULL), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->peak), 1200);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->peak), 1000);
}

/* ---- forced ---- */

static void forced_goes_over_and_is_counted_by_cause(void **state)
{
	(void)state;
	ground_set_max(&g, ab, 10);
	charge_force(&p.by, p.account, 10, OVER_CREDIT);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->over[OVER_CREDIT]), 0);
	charge_force(&p.by, p.account, 5, OVER_METADATA);
	assert_usage(15, 15, 15, 15);
	assert_int_equal(ground_held(&g, p.account), 15);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->over[OVER_METADATA]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->over[OVER_CREDIT]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->over[OVER_METADATA]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->over[OVER_METADATA]), 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->event_local[EVENT_OVER]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->event[EVENT_OVER]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, ab)->failcnt), 0);
	assert_int_equal(charge(1), -ENOMEM);
	charge_uncharge(&p.by, p.account, 6);
	assert_int_equal(charge(1), 0);
}

static void forced_counts_each_level_that_is_over(void **state)
{
	(void)state;
	ground_set_max(&g, abc, 3);
	ground_set_max(&g, GROUP_ROOT, 4);
	charge_force(&p.by, p.account, 5, OVER_START);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->over[OVER_START]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, GROUP_ROOT)->over[OVER_START]), 1);
	assert_int_equal(mc_load_full(&ground_pool(&g, GROUP_ROOT)->event[EVENT_OVER]), 2);
	assert_int_equal(mc_load_full(&ground_pool(&g, abc)->event[EVENT_OVER]), 1);
}

/* ---- the limit moves ---- */

static void a_limit_below_usage_refuses_all_growth(void **state)
{
	(void)state;
	assert_int_equal(charge(1000), 0);
	ground_set_max(&g, ab, 500);
	assert_int_equal(charge(1), -ENOMEM);
	charge_uncharge(&p.by, p.account, 501);
	assert_usage(499, 499, 499, 499);
	assert_int_equal(charge(1), 0);
	assert_int_equal(charge(1), -ENOMEM);
	ground_set_max(&g, ab, 600);
	assert_int_equal(charge(100), 0);
}

static void lower(void *to)
{
	ground_set_max(&g, a, *(uint64_t *)to);
}

static void a_limit_lowered_during_a_charge_holds(void **state)
{
	uint64_t to = 100;

	(void)state;
	ground_set_max(&g, a, 5000);
	intrude_before_write(ground_pool(&g, a), lower, &to);
	assert_int_equal(charge(101), -ENOMEM);
	assert_true(intrude_has_run());
	assert_usage(0, 0, 0, 0);
	assert_int_equal(mc_load_full(&ground_pool(&g, a)->failcnt), 1);
}

/* As the daemon does it: write the limit, then read the usage. What it reads below the limit stays. */
struct mover {
	_Atomic bool end;
	_Atomic uint64_t charged;
};

static void *charge_and_give(void *arg)
{
	struct mover *m = arg;
	uint64_t seed = 99;

	while (!m->end) {
		uint64_t n = ground_random(&seed) % 7 + 1;

		if (charge(n) == 0) {
			if (m->charged % 3 == 0)
				charge_uncharge(&p.by, p.account, n);
			m->charged++;
		} else if (ground_held(&g, p.account) > 500) {
			charge_uncharge(&p.by, p.account, 400);
		}
	}
	return NULL;
}

static void what_is_below_a_new_limit_stays_below(void **state)
{
	struct mover m = { 0 };
	uint64_t seed = 7;
	pthread_t charger;

	(void)state;
	ground_set_max(&g, a, 1000);
	assert_int_equal(pthread_create(&charger, NULL, charge_and_give, &m), 0);
	for (int i = 0; i < 20000 || m.charged < 1000; i++) {
		uint64_t max = 500 + ground_random(&seed) % 500;
		uint64_t seen;

		ground_set_max(&g, a, max);
		seen = ground_usage(&g, a);
		for (int k = 0; seen <= max && k < 20; k++)
			if (ground_held(&g, p.account) > max)
				fail_msg("%llu held above %llu", (unsigned long long)ground_held(&g, p.account),
					 (unsigned long long)max);
	}
	m.end = true;
	pthread_join(charger, NULL);
}

/* ---- giving back ---- */

static int adjust(uint64_t from, uint64_t to)
{
	uint64_t meta = mc_load_full(&account_of(&g.seg, p.account)->meta);

	return charge_adjust(&p.by, p.account, meta, from, to, OVER_LAZY);
}

static void an_account_is_adjusted_only_from_what_was_seen(void **state)
{
	(void)state;
	ground_set_max(&g, abc, 500);
	assert_int_equal(charge(400), 0);
	assert_int_equal(adjust(399, 10), -EAGAIN);
	assert_int_equal(adjust(401, 1000), -EAGAIN);
	assert_int_equal(ground_held(&g, p.account), 400);
	assert_true(ground_consistent(&g));
	assert_int_equal(adjust(400, 100), 0);
	assert_int_equal(ground_held(&g, p.account), 100);
	assert_true(ground_consistent(&g));
	assert_int_equal(adjust(100, 700), 0);
	assert_int_equal(ground_held(&g, p.account), 700);
	assert_int_equal(mc_load_relaxed(&pool_of(&g.seg, RESOURCE_MEMORY, abc)->over[OVER_LAZY]), 1);
	assert_true(ground_consistent(&g));
	assert_int_equal(charge(1), -ENOMEM);
}

static void an_account_claimed_anew_leaves_nothing_wrong(void **state)
{
	(void)state;
	assert_int_equal(charge(400), 0);
	assert_int_equal(charge_adjust(&p.by, p.account, 0, 400, 450, OVER_LAZY), -EAGAIN);
	assert_int_equal(ground_held(&g, p.account), 400);
	assert_true(ground_consistent(&g));
	assert_int_equal(charge_adjust(&p.by, p.account, 0, 400, 350, OVER_LAZY), 0);
	assert_true(ground_consistent(&g));
}

static void what_an_account_holds_moves_with_its_label(void **state)
{
	uint16_t to = ground_group(&g, "/elsewhere", PAGES_MAX);

	(void)state;
	assert_int_equal(charge(400), 0);
	recount_relabel(&g.seg, p.account, mc_load_full(&account_of(&g.seg, p.account)->meta), to);
	assert_true(ground_consistent(&g));
	assert_int_equal(ground_usage(&g, to), 400);
	assert_int_equal(ground_usage(&g, abc), 0);
	assert_int_equal(charge(10), 0);
	charge_uncharge(&p.by, p.account, 400);
	charge_uncharge(&p.by, p.account, 10);
	(void)stock_drain(&p.by, RESOURCE_MEMORY, GROUP_ROOT);
	assert_int_equal(ground_usage(&g, to), 0);
	assert_true(ground_consistent(&g));
}

static void giving_back_more_than_is_held_gives_what_there_is(void **state)
{
	(void)state;
	assert_int_equal(charge(1000), 0);
	charge_uncharge(&p.by, p.account, 1001);
	assert_int_equal(ground_held(&g, p.account), 0);
	assert_usage(0, 0, 0, 0);
}

static void errno_is_left_alone(void **state)
{
	(void)state;
	ground_set_max(&g, abc, 100);
	errno = 1234;
	assert_int_equal(charge(1), 0);
	assert_int_equal(charge(1000), -ENOMEM);
	charge_force(&p.by, p.account, 1000, OVER_CREDIT);
	charge_uncharge(&p.by, p.account, 1001);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	assert_int_equal(errno, 1234);
}

static void resources_do_not_mix(void **state)
{
	int slot = member_account(&g.seg, p.member, RESOURCE_SWAP, abc);
	uint32_t swap;

	(void)state;
	assert_int_equal(slot, 1);
	swap = member_account_at(&g.seg, p.member, 1);
	ground_set_max(&g, abc, 10);
	assert_int_equal(charge_try(&p.by, swap, 1000, NULL), 0);
	assert_usage(0, 0, 0, 0);
	assert_int_equal(pool_usage(mc_load_full(&pool_of(&g.seg, RESOURCE_SWAP, a)->word)), 1000);
	assert_int_equal(charge(11), -ENOMEM);
	assert_true(snapshot_consistent(&g.seg, RESOURCE_SWAP, NULL));
}

/* ---- an account left behind in an older epoch ---- */

/* A claim that was slow may have written an epoch that was over by then; nothing is held, so the owner
 * goes on in the present one. The alarm is for code that would try for ever. */
static void an_idle_account_of_an_older_epoch_is_brought_forward(void **state)
{
	mc_word *word = &account_of(&g.seg, p.account)->word;
	uint64_t then = mc_load_full(word);

	(void)state;
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	mc_store_full(word, then);
	alarm(5);
	assert_int_equal(charge(1000), 0);
	alarm(0);
	assert_usage(1000, 1000, 1000, 1000);
	assert_true(ground_consistent(&g));
	mc_store_full(word, account_word(account_epoch(mc_load_full(word)), 1000, 0));
	charge_uncharge(&p.by, p.account, 1000);
	assert_true(recount(&g.seg, RESOURCE_MEMORY));
	mc_store_full(word, then);
	alarm(5);
	charge_force(&p.by, p.account, 10, OVER_CREDIT);
	alarm(0);
	assert_usage(10, 10, 10, 10);
}

/* ---- tickets ---- */

static uint64_t class_of(enum class class)
{
	return mc_load_full(&account_of(&g.seg, p.account)->class[class]);
}

static void what_a_ticket_does_not_commit_is_not_left(void **state)
{
	struct ticket t;
	uint16_t refused = 77;

	(void)state;
	ground_set_max(&g, a, 1000);
	assert_int_equal(ticket_reserve(&p.by, p.account, 800, &t, &refused), 0);
	assert_usage(800, 800, 800, 800);
	ticket_commit(&p.by, &t, 300, CLASS_ANON);
	assert_int_equal(ground_held(&g, p.account), 300);
	assert_usage(300, 300, 300, 300);
	assert_int_equal(class_of(CLASS_ANON), 300);
	assert_int_equal(ticket_reserve(&p.by, p.account, 700, &t, &refused), 0);
	ticket_cancel(&p.by, &t);
	ticket_cancel(&p.by, &t); /* a cancelled one is empty */
	assert_usage(300, 300, 300, 300);
	assert_int_equal(ticket_reserve(&p.by, p.account, 701, &t, &refused), -ENOMEM);
	assert_int_equal(refused, a);
	assert_int_equal(t.units, 0);
	ticket_cancel(&p.by, &t);
	ticket_return(&p.by, p.account, 300, CLASS_ANON);
	assert_int_equal(class_of(CLASS_ANON), 0);
	assert_usage(0, 0, 0, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
	static const struct CMUnitTest tests[] = {
		TEST(a_charge_counts_on_every_level),
		TEST(two_members_add_up),
		TEST(the_leaf_refuses),
		TEST(a_middle_level_refuses),
		TEST(the_root_refuses),
		TEST(the_lowest_refusing_level_is_the_one),
		TEST(a_refusal_is_counted_for_the_member_too),
		TEST(room_is_what_every_level_has),
		TEST(ret_refused_is_left_alone_on_success),
		TEST(nothing_is_a_charge_too),
		TEST(too_much_is_refused),
		TEST(peak_is_per_level),
		TEST(forced_goes_over_and_is_counted_by_cause),
		TEST(forced_counts_each_level_that_is_over),
		TEST(a_limit_below_usage_refuses_all_growth),
		TEST(a_limit_lowered_during_a_charge_holds),
		TEST(what_is_below_a_new_limit_stays_below),
		TEST(an_account_is_adjusted_only_from_what_was_seen),
		TEST(an_account_claimed_anew_leaves_nothing_wrong),
		TEST(what_an_account_holds_moves_with_its_label),
		TEST(giving_back_more_than_is_held_gives_what_there_is),
		TEST(errno_is_left_alone),
		TEST(resources_do_not_mix),
		TEST(an_idle_account_of_an_older_epoch_is_brought_forward),
		TEST(what_a_ticket_does_not_commit_is_not_left),
	};

	return cmocka_run_group_tests_name("accounting_charge", tests, NULL, NULL);
}
