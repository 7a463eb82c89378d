/* SPDX-License-Identifier: MIT */
/* The delay above memory.high against the kernel's own table. */
#include "tests/unit/survey_fixture.h"

#include "controld/throttle.h"

#define M 256ull /* pages */

/* The comment on calculate_high_delay (mm/memcontrol.c): high 100 MiB, a batch of 64 pages. */
static void the_kernels_table(void **state)
{
	static const uint32_t ms[] = { 0,   6,	 25,   57,   102,  159,	 230,  313,  409,  518, 639,
				       774, 921, 1081, 1254, 1439, 1638, 1849, 2000, 2000, 2000 };

	(void)state;
	for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++)
		assert_int_equal(throttle_delay_ms(throttle_overage((100 + i) * M, 100 * M), 0, THROTTLE_BATCH), ms[i]);
}

static void scales_with_what_was_charged(void **state)
{
	uint64_t at_105 = throttle_overage(105 * M, 100 * M); /* 159 ms a batch */

	(void)state;
	assert_int_equal(throttle_delay_ms(at_105, 0, 0), 0);
	assert_int_equal(throttle_delay_ms(at_105, 0, 1), 2);	/* 159 / 64 */
	assert_int_equal(throttle_delay_ms(at_105, 0, 32), 79); /* 159 x 32 / 64 */
	assert_int_equal(throttle_delay_ms(at_105, 0, 128), 318);
	assert_int_equal(throttle_delay_ms(at_105, 0, 805), 1999); /* 159 x 805 / 64 = 1999.9 */
	assert_int_equal(throttle_delay_ms(at_105, 0, 806), 2000);
	assert_int_equal(throttle_delay_ms(at_105, 0, UINT64_MAX), 2000);
	assert_int_equal(throttle_delay_ms(at_105, at_105, 64), 318); /* swap comes on top */
	assert_int_equal(throttle_delay_ms(0, at_105, 64), 159);
	assert_int_equal(throttle_delay_ms(UINT64_MAX, UINT64_MAX, UINT64_MAX), 2000);
}

/* In 1/2^20 of high. */
static void the_overage(void **state)
{
	static const struct {
		uint64_t usage, high, overage;
	} of[] = {
		{ 0, 0, 0 },
		{ 100, 100, 0 },
		{ 99, 100, 0 },
		{ 99, PAGES_MAX, 0 },
		{ 101, 100, (1 << 20) / 100 },
		{ 150, 100, 1 << 19 },
		{ 200, 100, 1 << 20 },
		{ 6399, 100, (6299ull << 20) / 100 },
		{ 6500, 100, THROTTLE_OVERAGE_MAX },
		{ 1, 0, 1 << 20 }, /* a high of 0 counts as 1 */
		{ 63, 0, 63 << 20 },
		{ 64, 0, THROTTLE_OVERAGE_MAX },
		{ (1ull << 49) - 1, 0, THROTTLE_OVERAGE_MAX },
		/* (2^48 << 20) is more than 64 bits */
		{ 3ull << 48, 1ull << 49, 1 << 19 },
		{ (1ull << 49) - 1, 1ull << 48, (1 << 20) - 1 },
		{ UINT64_MAX, 1ull << 63, (1 << 20) - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		if (throttle_overage(of[i].usage, of[i].high) != of[i].overage)
			fail_msg("row %zu: %llu", i, (unsigned long long)throttle_overage(of[i].usage, of[i].high));
}

/* Against 128-bit arithmetic of the formula as it is written, for what no limit cuts. */
static uint64_t formula_ms(uint64_t usage, uint64_t high, uint64_t pages)
{
	unsigned __int128 overage = usage > high ? ((unsigned __int128)(usage - high) << 20) / (high ? high : 1) : 0;
	unsigned __int128 ms;

	if (overage > 1ull << 50)
		return pages ? THROTTLE_MAX_MS : 0;
	ms = (overage * overage * 1000 >> 34) * pages / 64;
	return ms < THROTTLE_MAX_MS ? (uint64_t)ms : THROTTLE_MAX_MS;
}

static void is_the_formula_for_any_number(void **state)
{
	uint64_t seed = 1118;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t high = ground_random(&seed) >> (15 + ground_random(&seed) % 49);
		uint64_t usage = i % 2 ? high + high / (1 + ground_random(&seed) % 200)
				       : ground_random(&seed) >> (15 + ground_random(&seed) % 49);
		uint64_t pages = ground_random(&seed) >> (32 + ground_random(&seed) % 32);

		if (throttle_delay_ms(throttle_overage(usage, high), 0, pages) != formula_ms(usage, high, pages))
			fail_msg("%llu of %llu, %llu pages", (unsigned long long)usage, (unsigned long long)high,
				 (unsigned long long)pages);
	}
}

/* The worst of the group and those above it; what is beside or below it, and the root, have no say. */
static void the_worst_above_counts(void **state)
{
	struct survey s = survey_plant(6);
	uint16_t a = survey_sow(&s, 0, 110 * M), b = survey_sow(&s, a, 105 * M), c = survey_sow(&s, b, 100 * M);
	uint16_t beside = survey_sow(&s, a, 5 * M);

	(void)state;
	s.group[GROUP_ROOT].usage = 110 * M;
	s.group[GROUP_ROOT].high = 1;
	s.group[beside].high = 1;
	assert_int_equal(throttle_find_delay_ms(&s, NULL, c, 64), 0);
	s.group[b].high = 100 * M;
	assert_int_equal(throttle_find_delay_ms(&s, NULL, c, 64), 159);
	assert_int_equal(throttle_find_delay_ms(&s, NULL, b, 64), 159);
	assert_int_equal(throttle_find_delay_ms(&s, NULL, a, 64), 0);
	s.group[a].high = 100 * M;
	assert_int_equal(throttle_find_delay_ms(&s, NULL, c, 64), 639);
	assert_int_equal(throttle_find_delay_ms(&s, &s, c, 64), 2 * 639);
	assert_int_equal(throttle_find_overage(&s, GROUP_ROOT), 0);
	assert_int_equal(throttle_find_excess(&s, a), 10 * M);
	assert_int_equal(throttle_find_excess(&s, c), 0);
	assert_int_equal(throttle_find_excess(&s, GROUP_ROOT), 0);
	survey_free(&s);
}

/* What a member finds in the segment is what the daemon finds in a survey of it. */
static void members_find_the_same(void **state)
{
	struct ground g;
	struct party p;
	uint16_t a, b;

	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", PAGES_MAX);
	b = ground_group(&g, "/a/b", PAGES_MAX);
	p = ground_join(&g, b);
	charge_force(&p.by, p.account, 110 * M, OVER_METADATA);
	assert_int_equal(throttle_overage_of(&g.seg, RESOURCE_MEMORY, b), 0);
	mc_store_relaxed(&ground_limits(&g, a)->high, 100 * M);
	mc_store_relaxed(&ground_limits(&g, b)->high, 105 * M);
	mc_store_relaxed(&ground_limits(&g, GROUP_ROOT)->high, 1);
	assert_int_equal(throttle_overage_of(&g.seg, RESOURCE_MEMORY, b), throttle_overage(110 * M, 100 * M));
	assert_int_equal(throttle_overage_of(&g.seg, RESOURCE_MEMORY, GROUP_ROOT), 0);
	ground_down(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernels_table),
		cmocka_unit_test(scales_with_what_was_charged),
		cmocka_unit_test(the_overage),
		cmocka_unit_test(is_the_formula_for_any_number),
		cmocka_unit_test(the_worst_above_counts),
		cmocka_unit_test(members_find_the_same),
	};

	return cmocka_run_group_tests_name("controld_throttle", tests, NULL, NULL);
}
