/* SPDX-License-Identifier: MIT */
/* Arming words, marks and efforts: who changes usage tells of a crossing, at the very unit, and only where anybody
 * wants to know. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

#include "accounting/arm.h"
#include "accounting/effort.h"
#include "accounting/stock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct ground g;
static uint16_t top, leaf;
static struct party p;

static int up(void **state)
{
	(void)state;
	ground_up(&g);
	top = ground_group(&g, "/top", PAGES_MAX);
	leaf = ground_group(&g, "/top/leaf", PAGES_MAX);
	p = ground_join(&g, leaf);
	return 0;
}

static int down(void **state)
{
	(void)state;
	ground_down(&g);
	return 0;
}

static void want(unsigned bits)
{
	mc_store_full(&g.seg.limits->header.watched, bits);
}

static void arm(uint16_t group, uint64_t up_at, uint64_t down_at)
{
	mc_store_full(arm_of(&g.seg, RESOURCE_MEMORY, group), arm_word(up_at, down_at));
}

static char taken[256];

static void note(void *arg, uint16_t group)
{
	enum mark_reason *why = arg;
	char text[32];

	mark_clear(&g.seg, *why, group);
	(void)snprintf(text, sizeof(text), "%s%s", *taken ? " " : "",
		       group == top	     ? "top"
		       : group == leaf	     ? "leaf"
		       : group == GROUP_ROOT ? "/"
					     : "?");
	(void)strcat(taken, text);
}

/* The groups marked since the last time, in the order of their slots. */
static const char *marked(enum mark_reason why)
{
	taken[0] = 0;
	mark_take(&g.seg, why, note, &why);
	return taken;
}

static void nobody_wants_to_know(void **state)
{
	uint32_t seen = mark_read(&g.seg);

	(void)state;
	arm(leaf, 10, 0);
	assert_int_equal(charge_try(&p.by, p.account, 100, NULL), 0);
	charge_refuse(&p.by, p.account, 1, leaf);
	for (unsigned why = 0; why < MARKS; why++)
		assert_string_equal(marked((enum mark_reason)why), "");
	assert_int_equal(mark_read(&g.seg), seen);
	assert_int_equal(mc_load_full(&ground_pool(&g, leaf)->effort), 0);
}

/* Each way in which usage changes. */
static void a_crossing_is_told_at_its_unit(void **state)
{
	uint64_t meta = mc_load_full(&account_of(&g.seg, p.account)->meta);

	(void)state;
	want(1u << MARK_CROSSED);
	arm(leaf, 100, 0);
	arm(top, 150, 50);
	assert_string_equal(marked(MARK_CROSSED), "");
	assert_int_equal(charge_try(&p.by, p.account, 50, NULL), 0);
	assert_int_equal(charge_try(&p.by, p.account, 49, NULL), 0);
	assert_int_equal(ground_usage(&g, leaf), 99); /* no stock was taken so near */
	assert_string_equal(marked(MARK_CROSSED), "");
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	assert_string_equal(marked(MARK_CROSSED), "leaf");
	assert_string_equal(marked(MARK_CROSSED), "");
	charge_force(&p.by, p.account, 49, OVER_LAZY);
	assert_string_equal(marked(MARK_CROSSED), "leaf"); /* it still is */
	arm(leaf, 0, 100);
	assert_string_equal(marked(MARK_CROSSED), "");
	charge_force(&p.by, p.account, 1, OVER_LAZY);
	assert_string_equal(marked(MARK_CROSSED), "top");
	arm(top, 0, 150);
	charge_uncharge(&p.by, p.account, 1);
	assert_string_equal(marked(MARK_CROSSED), "top");
	arm(top, 150, 0);
	assert_int_equal(charge_adjust(&p.by, p.account, meta, 149, 150, OVER_LAZY), 0);
	assert_string_equal(marked(MARK_CROSSED), "top");
	arm(top, 0, 0);
	assert_int_equal(charge_adjust(&p.by, p.account, meta, 150, 99, OVER_LAZY), 0);
	assert_string_equal(marked(MARK_CROSSED), "leaf");
}

static void what_a_refused_charge_undoes_is_looked_at_again(void **state)
{
	(void)state;
	want(1u << MARK_CROSSED);
	ground_set_max(&g, GROUP_ROOT, 100);
	assert_int_equal(charge_try(&p.by, p.account, 20, NULL), 0);
	arm(leaf, 60, 0);
	(void)marked(MARK_CROSSED);
	assert_int_equal(charge_try(&p.by, p.account, 90, NULL), -ENOMEM);
	assert_string_equal(marked(MARK_CROSSED), "");
	arm(leaf, 0, 60); /* as if the notifier had seen it in between */
	assert_int_equal(charge_try(&p.by, p.account, 90, NULL), -ENOMEM);
	assert_string_equal(marked(MARK_CROSSED), "leaf");
}

static void a_recount_tells_what_it_has_changed(void **state)
{
	(void)state;
	want(1u << MARK_CROSSED);
	assert_int_equal(charge_try(&p.by, p.account, 200, NULL), 0);
	(void)pool_charge(&g.seg, RESOURCE_MEMORY, leaf, 500, recount_wait(&g.seg, RESOURCE_MEMORY)); /* nobody's */
	arm(leaf, 0, 600);
	assert_string_equal(marked(MARK_CROSSED), "");
	recount_all(&g.seg);
	assert_int_equal(ground_usage(&g, leaf), 200);
	assert_string_equal(marked(MARK_CROSSED), "leaf");
}

static void near_a_threshold_no_stock_is_kept(void **state)
{
	struct actor daemon = ground_daemon(&g);
	struct party other = ground_join(&g, leaf);

	(void)state;
	assert_int_equal(charge_try(&other.by, other.account, 1, NULL), 0);
	assert_int_equal(ground_stock(&g, other.account), CHARGE_BATCH);
	assert_int_equal(charge_try(&p.by, p.account, 300, NULL), 0);
	want(1u << MARK_CROSSED);
	arm(top, 0, 240);
	charge_uncharge(&p.by, p.account, 100);
	assert_int_equal(ground_usage(&g, top), 265);
	assert_string_equal(marked(MARK_CROSSED), "top"); /* the stock hides the fall: the daemon drains it */
	assert_true(stock_may_be_below(&g.seg, RESOURCE_MEMORY, top));
	(void)stock_drain(&daemon, RESOURCE_MEMORY, top);
	assert_int_equal(ground_usage(&g, top), 201);
	assert_string_equal(marked(MARK_CROSSED), "top");
	arm(top, 250, 0);
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	assert_int_equal(ground_stock(&g, p.account), 0);
	arm(top, 100000, 0);
	assert_int_equal(charge_try(&p.by, p.account, 1, NULL), 0);
	assert_int_equal(ground_stock(&g, p.account), CHARGE_BATCH);
}

static void events_mark_the_whole_path_once(void **state)
{
	uint32_t seen;

	(void)state;
	want(1u << MARK_COUNTED);
	seen = mark_read(&g.seg);
	pool_count_event(&g.seg, RESOURCE_MEMORY, leaf, EVENT_MAX);
	assert_int_equal(mark_read(&g.seg), seen + 3);
	pool_count_event(&g.seg, RESOURCE_MEMORY, leaf, EVENT_MAX);
	assert_int_equal(mark_read(&g.seg), seen + 3); /* they are marked */
	assert_string_equal(marked(MARK_COUNTED), "/ top leaf");
	assert_string_equal(marked(MARK_COUNTED), "");
}

static void efforts_fill_a_window(void **state)
{
	uint64_t word;

	(void)state;
	want(1u << MARK_STRAINED);
	effort_book(&g.seg, RESOURCE_MEMORY, leaf, 500, 400);
	assert_string_equal(marked(MARK_STRAINED), "");
	assert_int_equal(effort_take(&g.seg, RESOURCE_MEMORY, leaf), 0);
	effort_book(&g.seg, RESOURCE_MEMORY, leaf, 0, 0);
	effort_book(&g.seg, RESOURCE_MEMORY, leaf, 5, 12); /* more came than was wanted */
	assert_string_equal(marked(MARK_STRAINED), "leaf");
	word = effort_take(&g.seg, RESOURCE_MEMORY, leaf);
	assert_int_equal(effort_scanned(word), 512);
	assert_int_equal(effort_reclaimed(word), 412);
	assert_int_equal(effort_take(&g.seg, RESOURCE_MEMORY, leaf), 0);
	effort_book(&g.seg, RESOURCE_MEMORY, leaf, PAGES_MAX, PAGES_MAX / 4); /* sums stay in their halves */
	word = effort_take(&g.seg, RESOURCE_MEMORY, leaf);
	assert_int_equal(effort_scanned(word), EFFORT_MOST);
	assert_in_range(effort_reclaimed(word), EFFORT_MOST / 4 - 1, EFFORT_MOST / 4);
	charge_refuse(&p.by, p.account, 1, leaf);
	assert_int_equal(effort_take(&g.seg, RESOURCE_MEMORY, leaf), (uint64_t)EFFORT_WINDOW << 32);
}

/* Died between the two bits. */
static void a_mark_left_half_made_is_found(void **state)
{
	(void)state;
	mc_or_full(&g.seg.counters->marks[MARK_COUNTED].group[leaf / 64], 1ull << leaf % 64);
	assert_string_equal(marked(MARK_COUNTED), "");
	mark_some_again(&g.seg);
	assert_string_equal(marked(MARK_COUNTED), "leaf");
}

static void words_hold_what_they_can(void **state)
{
	(void)state;
	assert_int_equal(arm_up(arm_word(1ull << 40, 0)), 0); /* never reached */
	assert_int_equal(arm_down(arm_word(0, 1ull << 40)), ARM_MOST);
	assert_int_equal(arm_up(arm_word(ARM_MOST, 7)), ARM_MOST);
	assert_int_equal(arm_down(arm_word(ARM_MOST, 7)), 7);
	assert_false(arm_is_crossed(0, 0));
	assert_false(arm_is_crossed(arm_word(10, 5), 5));
	assert_true(arm_is_crossed(arm_word(10, 5), 4));
	assert_true(arm_is_crossed(arm_word(10, 5), 10));
}

/* [O10] [O11]: one charges over and back, the other moves the words and looks: at rest, what is armed is not crossed. */
#define ROUNDS 20000

static void *charge_and_give(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		(void)charge_try(&p.by, p.account, 300, NULL);
		charge_uncharge(&p.by, p.account, 300);
	}
	(void)charge_try(&p.by, p.account, 300, NULL);
	return NULL;
}

static void rearm(void *arg, uint16_t group)
{
	enum mark_reason *why = arg;

	mark_clear(&g.seg, *why, group);
	do {
		bool is_above = ground_usage(&g, group) >= 150;

		arm(group, is_above ? 0 : 150, is_above ? 150 : 0);
	} while (arm_is_crossed(mc_load_full(arm_of(&g.seg, RESOURCE_MEMORY, group)), ground_usage(&g, group)));
}

static void no_crossing_is_lost(void **state)
{
	enum mark_reason why = MARK_CROSSED;
	pthread_t thread;

	(void)state;
	want(1u << MARK_CROSSED);
	arm(leaf, 150, 0);
	alarm(60);
	assert_int_equal(pthread_create(&thread, NULL, charge_and_give, NULL), 0);
	while (ground_usage(&g, leaf) < 150 || arm_down(mc_load_full(arm_of(&g.seg, RESOURCE_MEMORY, leaf))) == 0 ||
	       pthread_tryjoin_np(thread, NULL)) {
		uint32_t seen = mark_read(&g.seg);

		mark_take(&g.seg, why, rearm, &why);
		mark_wait(&g.seg, seen, 1000000);
	}
	alarm(0);
	assert_false(arm_is_crossed(mc_load_full(arm_of(&g.seg, RESOURCE_MEMORY, leaf)), ground_usage(&g, leaf)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_wants_to_know, up, down),
		cmocka_unit_test_setup_teardown(a_crossing_is_told_at_its_unit, up, down),
		cmocka_unit_test_setup_teardown(what_a_refused_charge_undoes_is_looked_at_again, up, down),
		cmocka_unit_test_setup_teardown(a_recount_tells_what_it_has_changed, up, down),
		cmocka_unit_test_setup_teardown(near_a_threshold_no_stock_is_kept, up, down),
		cmocka_unit_test_setup_teardown(events_mark_the_whole_path_once, up, down),
		cmocka_unit_test_setup_teardown(efforts_fill_a_window, up, down),
		cmocka_unit_test_setup_teardown(a_mark_left_half_made_is_found, up, down),
		cmocka_unit_test(words_hold_what_they_can),
		cmocka_unit_test_setup_teardown(no_crossing_is_lost, up, down),
	};

	return cmocka_run_group_tests_name("accounting arm", tests, NULL, NULL);
}
