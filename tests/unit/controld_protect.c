/* SPDX-License-Identifier: MIT */
/* Effective protection against tables of the kernel's formula, and what must be true of any tree. */
#include "tests/unit/survey_fixture.h"

#include "controld/protect.h"

#define M 256ull /* pages */
#define CHILDREN 4

/* What is above the parent: the target of the reclaim. */
static struct survey family(uint64_t parent_low, uint64_t parent_usage, const uint64_t *usage, const uint64_t *low)
{
	struct survey s = survey_plant(2 + CHILDREN);
	uint16_t parent = survey_sow(&s, GROUP_ROOT, parent_usage);

	s.group[GROUP_ROOT].usage = parent_usage;
	s.group[parent].low = s.group[parent].min = parent_low;
	for (unsigned i = 0; i < CHILDREN; i++) {
		uint16_t c = survey_sow(&s, parent, usage[i]);

		s.group[c].low = s.group[c].min = low[i];
	}
	return s;
}

struct row {
	const char *what;
	uint64_t parent_low, parent_usage;
	uint64_t usage[CHILDREN], low[CHILDREN];
	bool recursive;
	uint64_t expect[CHILDREN];
};

static const struct row rows[] = {
	/* Claims 50 25 0 0 of 50: x 50 / 75, cut. */
	{ "the kernel's example",
	  50 * M,
	  150 * M,
	  { 50 * M, 50 * M, 50 * M, 0 },
	  { 75 * M, 25 * M, 0, 500 * M },
	  true,
	  { 8533, 4266, 0, 0 } },
	{ "all fits", 100, 200, { 50, 50, 50, 50 }, { 10, 20, 30, 0 }, false, { 10, 20, 30, 0 } },
	/* 100 - 60 unclaimed; above their claims 40 30 20 50 of 140: + 40 x 40 / 140, x 30, x 20, x 50. */
	{ "what no one claims is divided",
	  100,
	  200,
	  { 50, 50, 50, 50 },
	  { 10, 20, 30, 0 },
	  true,
	  { 10 + 11, 20 + 8, 30 + 5, 0 + 14 } },
	/* All of it by usage: 90 x 30 / 100, ... */
	{ "nobody claims", 90, 100, { 30, 20, 10, 40 }, { 0, 0, 0, 0 }, true, { 27, 18, 9, 36 } },
	{ "nobody claims, not recursive", 90, 100, { 30, 20, 10, 40 }, { 0, 0, 0, 0 }, false, { 0, 0, 0, 0 } },
	{ "claims are of what is used", 100, 100, { 0, 10, 90, 0 }, { 100, 100, 50, 100 }, false, { 0, 10, 50, 0 } },
	{ "the parent has none", 0, 100, { 25, 25, 25, 25 }, { 25, 25, 25, 25 }, true, { 0, 0, 0, 0 } },
	{ "nothing used", 50, 0, { 0, 0, 0, 0 }, { 9, 9, 9, 9 }, true, { 0, 0, 0, 0 } },
	/* 3 x 10 / 12 each */
	{ "cut, not rounded", 10, 12, { 3, 3, 3, 3 }, { 3, 3, 3, 3 }, true, { 2, 2, 2, 2 } },
	/* The parent itself uses 60 that no child has: 40 x (20, 0, 0, 0) / (100 - 60) */
	{ "what the parent holds has its part",
	  100,
	  100,
	  { 40, 20, 20, 0 },
	  { 20, 20, 20, 0 },
	  true,
	  { 20 + 20, 20, 20, 0 } },
	/* In bytes: 2^48 x 2^48 / 2^49 */
	{ "128 bits",
	  1ull << 48,
	  1ull << 49,
	  { 1ull << 48, 1ull << 48, 0, 0 },
	  { PAGES_MAX, PAGES_MAX, 0, 0 },
	  true,
	  { 1ull << 47, 1ull << 47, 0, 0 } },
	/* Claims: 2^47 each, 2^49 - 4 in all, of 2^49 - 8: (2^47 - 1) x (2^49 - 8) / (2^49 - 4) =
	 * 2^47 - 1 - 4 (2^47 - 1) / (2^49 - 4) = 2^47 - 2 */
	{ "sums near 2^49",
	  (1ull << 49) - 8,
	  (1ull << 49) - 4,
	  { (1ull << 47) - 1, (1ull << 47) - 1, (1ull << 47) - 1, (1ull << 47) - 1 },
	  { PAGES_MAX, PAGES_MAX, PAGES_MAX, PAGES_MAX },
	  true,
	  { (1ull << 47) - 2, (1ull << 47) - 2, (1ull << 47) - 2, (1ull << 47) - 2 } },
	/* 2^48 unclaimed, divided by usage: 2^48 x 2^48 / 2^49 */
	{ "unclaimed near 2^49",
	  1ull << 48,
	  1ull << 49,
	  { 1ull << 48, 1ull << 48, 0, 0 },
	  { 0, 0, 0, 0 },
	  true,
	  { 1ull << 47, 1ull << 47, 0, 0 } },
};

static void is_as_in_the_table(void **state)
{
	struct protection p[2 + CHILDREN];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct survey s = family(r->parent_low, r->parent_usage, r->usage, r->low);

		protect_calculate(&s, GROUP_ROOT, r->recursive, p);
		for (unsigned c = 0; c < CHILDREN; c++)
			if (p[2 + c].low != r->expect[c] || p[2 + c].min != r->expect[c])
				fail_msg("%s: child %u: low %llu, min %llu, not %llu", r->what, c,
					 (unsigned long long)p[2 + c].low, (unsigned long long)p[2 + c].min,
					 (unsigned long long)r->expect[c]);
		survey_free(&s);
	}
}

/* The selftest's: reclaim with the pressure of others until nothing is left to take. memcg_protection.m (octave,
 * floating point, here run in python) ends at 28.78 21.05 0.1 0 MiB. */
static void the_kernels_example_ends_at_29_21_0_0(void **state)
{
	const uint64_t usage[] = { 50 * M, 50 * M, 50 * M, 0 }, low[] = { 75 * M, 25 * M, 0, 500 * M };
	struct survey s = family(50 * M, 150 * M, usage, low);
	struct protection p[2 + CHILDREN];
	bool is_moving = true;

	(void)state;
	for (uint16_t c = 1; c < 2 + CHILDREN; c++)
		s.group[c].min = 0;
	while (is_moving) {
		is_moving = false;
		protect_calculate(&s, GROUP_ROOT, true, p);
		for (uint16_t c = 2; c < 2 + CHILDREN; c++) {
			uint64_t scan = protect_scan(&s, c, &p[c], PROTECT_LOW_HONOURED, s.group[c].usage, 3, NULL);

			if (protect_judge(&s, GROUP_ROOT, c, &p[c], PROTECT_LOW_HONOURED) != PROTECT_TAKE)
				continue;
			scan = scan < PROTECT_SCAN_MIN ? PROTECT_SCAN_MIN : scan;
			survey_give_back(&s, c, scan < s.group[c].usage ? scan : s.group[c].usage);
			is_moving = true;
		}
	}
	assert_in_range(s.group[2].usage, 28 * M + M / 2, 29 * M + M / 2);
	assert_in_range(s.group[3].usage, 20 * M + M / 2, 21 * M + M / 2);
	assert_in_range(s.group[4].usage, 0, M / 2);
	assert_int_equal(s.group[5].usage, 0);
	survey_free(&s);
}

/* /a low 40, /a/b low 30, /a/b/c low 20 and /a/b/d none; reclaim of one after the other. */
static void counts_below_the_target_alone(void **state)
{
	struct survey s = survey_plant(5);
	uint16_t a = survey_sow(&s, 0, 100), b = survey_sow(&s, a, 100), c = survey_sow(&s, b, 50);
	uint16_t d = survey_sow(&s, b, 50);
	struct protection p[5];

	(void)state;
	s.group[0].usage = 100;
	s.group[a].low = 40;
	s.group[b].low = 30;
	s.group[c].low = 20;
	/* Of the machine: a 40; b 30 + (40 - 30) x 70 / 70 = 40; c 20 + (40 - 20) x 30 / 80 = 27; d 20 x 50 / 80 = 12. */
	protect_calculate(&s, GROUP_ROOT, true, p);
	assert_int_equal(p[GROUP_ROOT].low, 0);
	assert_int_equal(p[a].low, 40);
	assert_int_equal(p[b].low, 40);
	assert_int_equal(p[c].low, 27);
	assert_int_equal(p[d].low, 12);
	/* Of a: b has its own 30; c 20 + 10 x 30 / 80 = 23; d 10 x 50 / 80 = 6. */
	protect_calculate(&s, a, true, p);
	assert_int_equal(p[a].low, 0);
	assert_int_equal(p[b].low, 30);
	assert_int_equal(p[c].low, 23);
	assert_int_equal(p[d].low, 6);
	/* Of b: c as set, uncapped. */
	s.group[c].low = 500;
	protect_calculate(&s, b, true, p);
	assert_int_equal(p[a].low, 0);
	assert_int_equal(p[b].low, 0);
	assert_int_equal(p[c].low, 500);
	assert_int_equal(p[d].low, 0);
	/* Of c: nothing protects it from itself. */
	protect_calculate(&s, c, true, p);
	assert_int_equal(p[c].low, 0);
	assert_int_equal(protect_judge(&s, c, c, &p[c], PROTECT_LOW_HONOURED), PROTECT_TAKE);
	survey_free(&s);
}

static void the_verdict(void **state)
{
	static const struct {
		uint64_t usage, min, low;
		enum protect_verdict first, second;
	} of[] = {
		{ 10, 0, 0, PROTECT_TAKE, PROTECT_TAKE },     { 10, 9, 9, PROTECT_TAKE, PROTECT_TAKE },
		{ 10, 10, 0, PROTECT_NEVER, PROTECT_NEVER },  { 10, 11, 99, PROTECT_NEVER, PROTECT_NEVER },
		{ 10, 0, 10, PROTECT_LATER, PROTECT_BREACH }, { 10, 9, 11, PROTECT_LATER, PROTECT_BREACH },
		{ 0, 0, 0, PROTECT_NEVER, PROTECT_NEVER }, /* nothing there */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct survey s = survey_plant(3);
		uint16_t a = survey_sow(&s, 0, of[i].usage), b = survey_sow(&s, 0, 5);
		struct protection p = { of[i].min, of[i].low };

		assert_int_equal(protect_judge(&s, 0, a, &p, PROTECT_LOW_HONOURED), of[i].first);
		assert_int_equal(protect_judge(&s, 0, a, &p, PROTECT_LOW_IGNORED), of[i].second);
		assert_int_equal(protect_judge(&s, a, a, &p, PROTECT_LOW_HONOURED), PROTECT_TAKE);
		assert_int_equal(protect_judge(&s, 0, 0, &p, PROTECT_LOW_HONOURED), PROTECT_TAKE);
		assert_int_equal(protect_judge(&s, b, a, &p, PROTECT_LOW_IGNORED), PROTECT_NEVER);
		survey_free(&s);
	}
}

/* size - size x protected / (usage + 1), at least 32, halved by each priority. */
static void the_scan_shrinks_with_protection(void **state)
{
	static const struct {
		uint64_t usage, size, min, low;
		enum protect_pass pass;
		unsigned priority;
		uint64_t scan;
		bool spared;
	} of[] = {
		{ 1000, 1000, 0, 0, PROTECT_LOW_HONOURED, 0, 1000, false },
		{ 1000, 1000, 0, 0, PROTECT_LOW_HONOURED, 12, 0, false },
		{ 1000, 20, 0, 0, PROTECT_LOW_HONOURED, 0, 20, false },
		{ 1000, 1000, 0, 500, PROTECT_LOW_HONOURED, 0, 501, true }, /* 1000 - 500000 / 1001 */
		{ 1000, 1000, 0, 500, PROTECT_LOW_HONOURED, 3, 62, true },
		{ 1000, 1000, 0, 500, PROTECT_LOW_IGNORED, 0, 1000, false },
		{ 1000, 1000, 250, 500, PROTECT_LOW_IGNORED, 0, 751, false }, /* 1000 - 250000 / 1001 */
		{ 1000, 1000, 500, 500, PROTECT_LOW_HONOURED, 0, 501, false },
		{ 1000, 1000, 500, 250, PROTECT_LOW_HONOURED, 0, 501, false },
		{ 1000, 1000, 0, 990, PROTECT_LOW_HONOURED, 0, 32, true }, /* 11 are too few to get on */
		{ 1000, 1000, 0, 9000, PROTECT_LOW_HONOURED, 0, 32, true },
		{ 1ull << 49, 1ull << 49, 1ull << 48, 0, PROTECT_LOW_HONOURED, 0, (1ull << 48) + 1, false },
		{ 1000, 1000, 0, 0, PROTECT_LOW_HONOURED, 64, 0, false },
		{ 9, 100, 5, 0, PROTECT_LOW_HONOURED, 0, 50, false }, /* 100 - 500 / 10 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct survey s = survey_plant(2);
		uint16_t g = survey_sow(&s, 0, of[i].usage);
		struct protection p = { of[i].min, of[i].low };
		bool spared = !of[i].spared;
		uint64_t scan = protect_scan(&s, g, &p, of[i].pass, of[i].size, of[i].priority, &spared);

		if (scan != of[i].scan || spared != of[i].spared)
			fail_msg("row %zu: %llu, %d", i, (unsigned long long)scan, spared);
		survey_free(&s);
	}
}

static void check_children(const struct survey *s, uint16_t target, uint16_t parent, const struct protection *p)
{
	unsigned __int128 min = 0, low = 0;

	for (uint16_t c = s->group[parent].first_child; c; c = s->group[c].next_sibling) {
		min += p[c].min;
		low += p[c].low;
	}
	if (parent != target) {
		assert_true(min <= p[parent].min);
		assert_true(low <= p[parent].low);
	}
}

/* Siblings have no more together than their parent; the same survey gives the same answer; what one of them
 * sets for itself never exceeds it without recursion. */
static void holds_in_any_tree(void **state)
{
	uint64_t seed = 20261121;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		uint64_t scale = round % 3 ? 1000 : 1ull << 42; /* sums up to 2^49 */
		struct survey s = survey_grow(2 + (uint32_t)(ground_random(&seed) % 100), scale, &seed);
		struct protection *p = calloc(s.groups, sizeof(*p)), *again = calloc(s.groups, sizeof(*p));
		uint16_t target = (uint16_t)(ground_random(&seed) % s.groups);

		assert_non_null(p);
		assert_non_null(again);
		for (uint32_t g = 0; g < s.groups; g++) {
			s.group[g].min = ground_random(&seed) % 3 ? ground_random(&seed) % (2 * scale) : 0;
			s.group[g].low = ground_random(&seed) % 5 ? ground_random(&seed) % (9 * scale) : PAGES_MAX;
		}
		protect_calculate(&s, target, round % 2, p);
		protect_calculate(&s, target, round % 2, again);
		assert_memory_equal(p, again, s.groups * sizeof(*p));
		for (uint16_t g = 0; g < s.groups; g++) {
			check_children(&s, target, g, p);
			if (!survey_is_within(&s, g, target) || g == target)
				assert_true(p[g].min == 0 && p[g].low == 0);
			if (round % 2 == 0)
				assert_true(p[g].min <= s.group[g].min && p[g].low <= s.group[g].low);
		}
		free(p);
		free(again);
		survey_free(&s);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_as_in_the_table),
		cmocka_unit_test(the_kernels_example_ends_at_29_21_0_0),
		cmocka_unit_test(counts_below_the_target_alone),
		cmocka_unit_test(the_verdict),
		cmocka_unit_test(the_scan_shrinks_with_protection),
		cmocka_unit_test(holds_in_any_tree),
	};

	return cmocka_run_group_tests_name("controld_protect", tests, NULL, NULL);
}
