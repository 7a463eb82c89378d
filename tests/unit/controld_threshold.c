/* SPDX-License-Identifier: MIT */
/* Thresholds against the kernel's rules: sorted, both directions, one signal for each entry crossed. */
#include "tests/lib/unit.h"

#include "controld/threshold.h"

#include <stdlib.h>
#include <string.h>

static char fired[64];

static void note(void *arg, void *who)
{
	(void)arg;
	(void)strncat(fired, who, sizeof(fired) - strlen(fired) - 1);
}

static const char *look(struct thresholds *t, uint64_t usage)
{
	fired[0] = 0;
	threshold_look(t, usage, note, NULL);
	assert_true(threshold_consistent(t));
	return fired;
}

static void add(struct thresholds *t, uint64_t units, const char *who, uint64_t usage)
{
	assert_int_equal(threshold_add(t, units, (void *)(uintptr_t)who, usage), 0);
	assert_true(threshold_consistent(t));
}

static void assert_nearest(const struct thresholds *t, uint64_t up, uint64_t down)
{
	uint64_t is_up, is_down;

	threshold_nearest(t, &is_up, &is_down);
	assert_int_equal(is_up, up);
	assert_int_equal(is_down, down);
}

static void both_directions(void **state)
{
	static const struct {
		uint64_t usage;
		const char *fires;
		uint64_t up, down;
	} steps[] = {
		{ 0, "", 10, 0 },   { 9, "", 10, 0 },	  { 10, "a", 20, 10 },	{ 19, "", 20, 10 },
		{ 9, "a", 10, 0 },  { 20, "ab", 30, 20 }, { 35, "c", 0, 30 },	{ 29, "c", 30, 20 },
		{ 30, "c", 0, 30 }, { 5, "cba", 10, 0 },  { 99, "abc", 0, 30 }, { 10, "cb", 20, 10 },
	};
	struct thresholds t = { 0 };

	(void)state;
	add(&t, 20, "b", 0);
	add(&t, 10, "a", 0);
	add(&t, 30, "c", 0);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_string_equal(look(&t, steps[i].usage), steps[i].fires);
		assert_nearest(&t, steps[i].up, steps[i].down);
	}
	threshold_free(&t);
}

static void setting_one_fires_nothing(void **state)
{
	struct thresholds t = { 0 };

	(void)state;
	add(&t, 10, "a", 50);
	add(&t, 60, "b", 50);
	add(&t, 50, "c", 50);
	assert_nearest(&t, 60, 50);
	assert_string_equal(look(&t, 50), "");
	assert_string_equal(look(&t, 49), "c");
	threshold_free(&t);
}

static void equal_ones_fire_each(void **state)
{
	struct thresholds t = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		add(&t, 7, "x", 0);
	assert_string_equal(look(&t, 7), "xxx");
	assert_string_equal(look(&t, 6), "xxx");
	threshold_free(&t);
}

static void those_of_0_and_of_max_never_fire(void **state)
{
	struct thresholds t = { 0 };

	(void)state;
	add(&t, 0, "0", 0);
	add(&t, UINT64_MAX, "m", 0);
	assert_nearest(&t, UINT64_MAX, 0);
	assert_string_equal(look(&t, 1ull << 49), "");
	assert_string_equal(look(&t, 0), "");
	threshold_free(&t);
}

static void removing_keeps_the_place(void **state)
{
	static const char *const a = "a", *const b = "b", *const c = "c";
	struct thresholds t = { 0 };

	(void)state;
	add(&t, 10, a, 15);
	add(&t, 10, b, 15);
	add(&t, 20, c, 15);
	threshold_remove(&t, 10, a);
	assert_nearest(&t, 20, 10);
	threshold_remove(&t, 10, a); /* not there any more */
	threshold_remove(&t, 11, b); /* not there */
	assert_int_equal(t.count, 2);
	assert_string_equal(look(&t, 9), "b");
	threshold_remove(&t, 20, c);
	threshold_remove(&t, 10, b);
	assert_nearest(&t, 0, 0);
	assert_string_equal(look(&t, 100), "");
	threshold_free(&t);
}

/* Against a plain count: each entry fires once for each time its side changes. */
static void at_random(void **state)
{
	struct thresholds t = { 0 };
	uint64_t usage = 0, units[50];

	(void)state;
	srand(1);
	for (int i = 0; i < 50; i++) {
		units[i] = (uint64_t)rand() % 100;
		add(&t, units[i], "x", usage);
	}
	for (int turn = 0; turn < 2000; turn++) {
		uint64_t to = (uint64_t)rand() % 110;
		size_t expected = 0;

		for (int i = 0; i < 50; i++)
			expected += (units[i] <= usage) != (units[i] <= to);
		assert_int_equal(strlen(look(&t, to)), expected);
		usage = to;
	}
	threshold_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_directions),	    cmocka_unit_test(setting_one_fires_nothing),
		cmocka_unit_test(equal_ones_fire_each),	    cmocka_unit_test(those_of_0_and_of_max_never_fire),
		cmocka_unit_test(removing_keeps_the_place), cmocka_unit_test(at_random),
	};

	return cmocka_run_group_tests_name("controld threshold", tests, NULL, NULL);
}
