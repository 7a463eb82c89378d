/* SPDX-License-Identifier: MIT */
/* How a reclaim is divided among groups. */
#include "tests/unit/survey_fixture.h"

#include "controld/plan.h"

#include <string.h>

#define M 256 /* pages of a MiB */
#define ROWS 32

static struct plan_row rows[ROWS];

static uint64_t take(struct survey *s, uint16_t target, uint64_t wanted)
{
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i].take = rows[i].is_breached = 0;
	return plan_take(s, target, wanted, rows);
}

static void assert_near(uint64_t is, uint64_t wanted, uint64_t percent)
{
	if (is * 100 < wanted * (100 - percent) || is * 100 > wanted * (100 + percent))
		fail_msg("%llu is not near %llu", (unsigned long long)is, (unsigned long long)wanted);
}

static int start(void **state)
{
	(void)state;
	memset(rows, 0, sizeof(rows));
	return 0;
}

/* What the group holds can all be given. */
static uint16_t sow(struct survey *s, uint16_t parent, uint64_t usage)
{
	uint16_t g = survey_sow(s, parent, usage);

	rows[g].has = usage;
	return g;
}

static void each_gives_in_proportion(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a, b;

	(void)state;
	s.group[0].usage = 400 * M;
	a = sow(&s, 0, 300 * M);
	b = sow(&s, 0, 100 * M);
	assert_int_equal(take(&s, 0, 40 * M), 40 * M);
	assert_near(rows[a].take, 30 * M, 20);
	assert_near(rows[b].take, 10 * M, 20);
	assert_int_equal(s.group[0].usage, 360 * M);
	survey_free(&s);
}

static void no_more_than_there_is(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = sow(&s, 0, 100);

	(void)state;
	rows[a].has = 7;
	assert_int_equal(take(&s, 0, 100), 7);
	assert_int_equal(take(&s, 0, 100), 0);
	assert_int_equal(take(&s, 5, 100), 0); /* not in use */
	survey_free(&s);
}

static void only_below_the_target(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = sow(&s, 0, 100), b = sow(&s, 0, 100), below;

	(void)state;
	below = sow(&s, a, 50);
	rows[a].has = 50;
	assert_int_equal(take(&s, a, 1000), 100);
	assert_int_equal(rows[a].take, 50);
	assert_int_equal(rows[below].take, 50);
	assert_int_equal(rows[b].take, 0);
	survey_free(&s);
}

/* The kernel's example: a parent of 50 MiB low, children's low 75, 25, 0 and 500, usage 50, 50, 50 and 0. */
static void the_kernels_example(void **state)
{
	static const uint64_t low[] = { 75, 25, 0, 500 }, usage[] = { 50, 50, 50, 0 }, left[] = { 29, 21, 0, 0 };
	struct survey s = survey_plant(16);
	uint16_t a = survey_sow(&s, 0, 200 * M), b = survey_sow(&s, a, 150 * M), c[4];

	(void)state;
	s.group[0].usage = 200 * M;
	s.group[b].low = 50 * M;
	for (int i = 0; i < 4; i++) {
		c[i] = sow(&s, b, usage[i] * M);
		s.group[c[i]].low = low[i] * M;
	}
	rows[a].has = 50 * M;
	assert_int_equal(take(&s, a, 150 * M), 150 * M);
	for (int i = 0; i < 4; i++)
		assert_near(s.group[c[i]].usage, left[i] * M, 10);
	assert_false(rows[c[0]].is_breached);
	survey_free(&s);
}

static void low_is_breached_when_nothing_else_is_left(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = sow(&s, 0, 100 * M), b = sow(&s, 0, 100 * M);

	(void)state;
	s.group[0].usage = 200 * M;
	s.group[a].low = 200 * M;
	assert_int_equal(take(&s, 0, 100 * M), 100 * M);
	assert_int_equal(rows[a].take, 0);
	assert_false(rows[a].is_breached);
	assert_int_equal(take(&s, 0, 50 * M), 50 * M);
	assert_int_equal(rows[a].take, 50 * M);
	assert_true(rows[a].is_breached);
	assert_false(rows[b].is_breached);
	survey_free(&s);
}

static void min_is_never_breached(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = sow(&s, 0, 100 * M);

	(void)state;
	s.group[0].usage = 100 * M;
	s.group[a].min = 60 * M;
	assert_near(take(&s, 0, 100 * M), 40 * M, 2);
	assert_int_equal(take(&s, 0, 100 * M), 0);
	s.group[a].min = 0;
	s.group[a].low = 60 * M;
	assert_true(take(&s, a, 10 * M) == 10 * M); /* not for the target itself */
	survey_free(&s);
}

static void the_worst_above_its_soft_limit_first(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *tree;
	uint16_t a = sow(&s, 0, 100 * M), b = sow(&s, 0, 100 * M), c = sow(&s, 0, 500 * M);

	(void)state;
	assert_int_equal(softlimit_make(&tree), 0);
	s.group[a].soft = 80 * M;
	s.group[b].soft = 60 * M;
	for (uint16_t g = 1; g <= c; g++)
		softlimit_update(tree, &s, g);
	assert_near(plan_soften(&s, tree, rows), 10 * M, 10); /* a quarter of the excess, in steps of 32 */
	assert_int_equal(rows[a].take, 0);
	assert_int_equal(rows[c].take, 0);
	assert_near(rows[b].take, 10 * M, 10);
	softlimit_free(tree);
	survey_free(&s);
}

#define TEST(name) cmocka_unit_test_setup(name, start)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(each_gives_in_proportion),
		TEST(no_more_than_there_is),
		TEST(only_below_the_target),
		TEST(the_kernels_example),
		TEST(low_is_breached_when_nothing_else_is_left),
		TEST(min_is_never_breached),
		TEST(the_worst_above_its_soft_limit_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
