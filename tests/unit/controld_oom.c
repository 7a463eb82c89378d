/* SPDX-License-Identifier: MIT */
/* Who is killed when a group is out of memory. */
#include "tests/unit/survey_fixture.h"

#include "controld/oom.h"

#include <errno.h>

#define TOTAL 100000ull /* pages: adj counts 100 each */

/* a over b and c; d beside a. */
struct ward {
	struct survey s;
	uint16_t a, b, c, d;
};

static struct ward open_ward(void)
{
	struct ward w = { .s = survey_plant(8) };

	w.a = survey_sow(&w.s, 0, 0);
	w.b = survey_sow(&w.s, w.a, 0);
	w.c = survey_sow(&w.s, w.a, 0);
	w.d = survey_sow(&w.s, 0, 0);
	w.s.group[w.a].max = TOTAL;
	return w;
}

static struct oom_candidate candidate(uint32_t pid, uint16_t group, uint64_t held, int16_t adj)
{
	return (struct oom_candidate){ .pid = pid, .group = group, .held = held, .adj = adj };
}

/* oom_badness: held + swap + adj x (total / 1000). */
static void the_score(void **state)
{
	static const struct {
		uint64_t held, swap, total;
		int16_t adj;
		int64_t score;
	} of[] = {
		{ 1000, 0, TOTAL, 0, 1000 },
		{ 1000, 500, TOTAL, 0, 1500 },
		{ 1000, 500, TOTAL, 1000, 1500 + 100000 },
		{ 1000, 500, TOTAL, 1, 1600 },
		{ 1000, 500, TOTAL, -999, 1500 - 99900 },
		{ 1000, 0, 999, 1000, 1000 }, /* too small a total for adj to count */
		{ 1000, 0, 1999, 1000, 2000 },
		{ 0, 0, TOTAL, 0, 0 },
		/* PAGES_MAX / 1000 x 1000 + 2^49 - 1: no overflow */
		{ (1ull << 49) - 1, 0, PAGES_MAX, 1000, 2251799813685000 + (1ll << 49) - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct oom_candidate c = { .held = of[i].held, .swap = of[i].swap, .adj = of[i].adj };
		int64_t score = -1;

		assert_true(oom_score(&c, of[i].total, &score));
		if (score != of[i].score)
			fail_msg("row %zu: %lld", i, (long long)score);
		c.adj = OOM_ADJ_NEVER;
		assert_false(oom_score(&c, of[i].total, &score));
	}
}

static void the_total_is_max_and_swap(void **state)
{
	struct ward w = open_ward();

	(void)state;
	assert_int_equal(oom_total_pages(&w.s, w.a, 0), TOTAL);
	assert_int_equal(oom_total_pages(&w.s, w.a, 5000), TOTAL + 5000);
	survey_free(&w.s);
}

static void the_largest_of_the_subtree_goes(void **state)
{
	struct ward w = open_ward();
	struct oom_candidate c[] = {
		candidate(10, w.b, 500, 0), candidate(11, w.c, 700, 0),		candidate(12, w.d, 9000, 0),
		candidate(13, w.a, 600, 0), candidate(14, GROUP_ROOT, 8000, 0),
	};
	uint32_t i = 99;

	(void)state;
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 5, &i), 0);
	assert_int_equal(i, 1);
	assert_int_equal(oom_choose(&w.s, w.b, TOTAL, c, 5, &i), 0);
	assert_int_equal(i, 0);
	assert_int_equal(oom_choose(&w.s, GROUP_ROOT, TOTAL, c, 5, &i), 0);
	assert_int_equal(i, 2);
	c[0].swap = 201;
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 5, &i), 0);
	assert_int_equal(i, 0);
	c[3].adj = 2; /* 600 + 200 */
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 5, &i), 0);
	assert_int_equal(i, 3);
	survey_free(&w.s);
}

static void never_is_never(void **state)
{
	struct ward w = open_ward();
	struct oom_candidate c[] = {
		candidate(10, w.b, 50000, OOM_ADJ_NEVER),
		candidate(11, w.c, 1, -999), /* far below 0, but the only one */
		candidate(12, w.d, 9000, 0),
	};
	uint32_t i = 99;

	(void)state;
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 3, &i), 0);
	assert_int_equal(i, 1);
	i = 99;
	assert_int_equal(oom_choose(&w.s, w.b, TOTAL, c, 3, &i), -ESRCH);
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 0, &i), -ESRCH);
	assert_int_equal(i, 99);
	survey_free(&w.s);
}

static void one_who_is_dying_is_waited_for(void **state)
{
	struct ward w = open_ward();
	struct oom_candidate c[] = {
		candidate(10, w.b, 500, 0),
		candidate(11, w.c, 100, 0),
		candidate(12, w.d, 9000, 0),
	};
	uint32_t i = 99;

	(void)state;
	c[1].is_dying = true;
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 3, &i), -EBUSY);
	assert_int_equal(oom_choose(&w.s, w.b, TOTAL, c, 3, &i), 0);
	assert_int_equal(i, 0);
	c[1].is_dying = false;
	c[2].is_dying = true; /* somebody else's */
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 3, &i), 0);
	assert_int_equal(i, 0);
	survey_free(&w.s);
}

static void ties_go_to_the_youngest(void **state)
{
	struct ward w = open_ward();
	struct oom_candidate c[] = {
		candidate(10, w.b, 500, 0),
		candidate(12, w.c, 500, 0),
		candidate(11, w.c, 500, 0),
	};
	uint32_t i = 99;

	(void)state;
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 3, &i), 0);
	assert_int_equal(c[i].pid, 12);
	c[0].start_time = 1;
	assert_int_equal(oom_choose(&w.s, w.a, TOTAL, c, 3, &i), 0);
	assert_int_equal(c[i].pid, 10);
	survey_free(&w.s);
}

static void the_uppermost_group_goes_as_a_whole(void **state)
{
	struct ward w = open_ward();
	uint16_t e = survey_sow(&w.s, w.b, 0);

	(void)state;
	assert_int_equal(oom_find_group(&w.s, w.a, e), GROUP_NIL);
	w.s.group[e].oom_group = true;
	assert_int_equal(oom_find_group(&w.s, w.a, e), e);
	assert_int_equal(oom_find_group(&w.s, w.a, w.b), GROUP_NIL);
	w.s.group[w.a].oom_group = true;
	assert_int_equal(oom_find_group(&w.s, w.a, e), w.a);
	assert_int_equal(oom_find_group(&w.s, w.a, w.c), w.a);
	assert_int_equal(oom_find_group(&w.s, w.b, e), e); /* never above the domain */
	assert_int_equal(oom_find_group(&w.s, e, e), e);
	assert_int_equal(oom_find_group(&w.s, w.b, w.c), GROUP_NIL); /* moved away */
	w.s.group[GROUP_ROOT].oom_group = true;
	assert_int_equal(oom_find_group(&w.s, GROUP_ROOT, e), w.a);
	assert_int_equal(oom_find_group(&w.s, GROUP_ROOT, GROUP_ROOT), GROUP_NIL);
	assert_int_equal(oom_find_group(&w.s, GROUP_ROOT, w.d), GROUP_NIL);
	survey_free(&w.s);
}

static void who_goes_with_it(void **state)
{
	struct ward w = open_ward();
	struct oom_candidate in = candidate(1, w.b, 0, 0), out = candidate(2, w.d, 0, 0);
	struct oom_candidate never = candidate(3, w.b, 0, OOM_ADJ_NEVER), above = candidate(4, GROUP_ROOT, 0, 0);

	(void)state;
	assert_true(oom_goes_with(&w.s, w.a, &in));
	assert_false(oom_goes_with(&w.s, w.a, &out));
	assert_false(oom_goes_with(&w.s, w.a, &never));
	assert_false(oom_goes_with(&w.s, w.a, &above));
	assert_false(oom_goes_with(&w.s, GROUP_NIL, &in));
	in.is_dying = true;
	assert_false(oom_goes_with(&w.s, w.a, &in));
	survey_free(&w.s);
}

static void shuffle(struct oom_candidate *c, uint32_t n, uint64_t *seed)
{
	for (uint32_t i = n; i > 1; i--) {
		uint32_t other = (uint32_t)(ground_random(seed) % i);
		struct oom_candidate was = c[i - 1];

		c[i - 1] = c[other];
		c[other] = was;
	}
}

/* The victim is inside, may be killed, nobody else of them has a higher score; and the order in which they are told
 * of does not matter. */
static void holds_for_any_candidates(void **state)
{
	uint64_t seed = 99;
	struct oom_candidate c[40];

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct survey s = survey_grow(2 + (uint32_t)(ground_random(&seed) % 20), 1000, &seed);
		uint16_t domain = (uint16_t)(ground_random(&seed) % s.groups), group;
		uint32_t n = (uint32_t)(ground_random(&seed) % 40), chosen, again;
		int64_t best, score;
		int err;

		for (uint32_t g = 0; g < s.groups; g++)
			s.group[g].oom_group = ground_random(&seed) % 3 == 0;
		for (uint32_t i = 0; i < n; i++) {
			c[i] = candidate(i + 1, (uint16_t)(ground_random(&seed) % s.groups), ground_random(&seed) % 8,
					 (int16_t)(ground_random(&seed) % 5 ? 0 : -1000));
			c[i].start_time = ground_random(&seed) % 3;
		}
		err = oom_choose(&s, domain, TOTAL, c, n, &chosen);
		if (err) {
			assert_int_equal(err, -ESRCH);
			for (uint32_t i = 0; i < n; i++)
				assert_true(c[i].adj == -1000 || !survey_is_within(&s, c[i].group, domain));
			survey_free(&s);
			continue;
		}
		assert_true(survey_is_within(&s, c[chosen].group, domain));
		assert_true(oom_score(&c[chosen], TOTAL, &best));
		for (uint32_t i = 0; i < n; i++)
			if (survey_is_within(&s, c[i].group, domain) && oom_score(&c[i], TOTAL, &score))
				assert_true(score <= best);
		group = oom_find_group(&s, domain, c[chosen].group);
		if (group != GROUP_NIL) {
			assert_true(survey_is_within(&s, group, domain));
			assert_true(oom_goes_with(&s, group, &c[chosen]));
		}
		again = c[chosen].pid;
		shuffle(c, n, &seed);
		assert_int_equal(oom_choose(&s, domain, TOTAL, c, n, &chosen), 0);
		assert_int_equal(c[chosen].pid, again);
		survey_free(&s);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_score),
		cmocka_unit_test(the_total_is_max_and_swap),
		cmocka_unit_test(the_largest_of_the_subtree_goes),
		cmocka_unit_test(never_is_never),
		cmocka_unit_test(one_who_is_dying_is_waited_for),
		cmocka_unit_test(ties_go_to_the_youngest),
		cmocka_unit_test(the_uppermost_group_goes_as_a_whole),
		cmocka_unit_test(who_goes_with_it),
		cmocka_unit_test(holds_for_any_candidates),
	};

	return cmocka_run_group_tests_name("controld_oom", tests, NULL, NULL);
}
