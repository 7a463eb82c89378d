/* SPDX-License-Identifier: MIT */
/* What call sites are made of: the random sample, its weights and its pace, and the tables of
 * sampled mappings and blocks. */
#include "preload/pace.c"    /* NOLINT: the library exports nothing of it */
#include "preload/ranges.c"  /* NOLINT */
#include "preload/sample.c"  /* NOLINT */
#include "preload/sampled.c" /* NOLINT */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define RATE (64u << 10)

/* ---- the sample ------------------------------------------------------------------------------------------ */

/* The sum of weights against the truth, within six standard deviations: wrong weights are further
 * off. */
static void expect_unbiased(uint64_t size, unsigned blocks)
{
	double chance = 1 - exp(-(double)size / RATE);
	double bytes = 0, count = 0;
	double doubt = 6 * sqrt((1 - chance) / chance / blocks) + 0.001;

	for (unsigned i = 0; i < blocks; i++)
		if (sample_hits(size, RATE)) {
			struct sample_weight w = sample_weigh(size, RATE);

			bytes += (double)w.bytes;
			count += (double)w.count / 256;
		}
	assert_true(fabs(bytes / ((double)size * blocks) - 1) < doubt);
	assert_true(fabs(count / blocks - 1) < doubt);
}

static void weights_are_unbiased(void **context)
{
	static const uint64_t sizes[] = { 16, 100, 1000, 10000, 65536, 200000, 1000000 };

	(void)context;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		expect_unbiased(sizes[i], sizes[i] < 1000 ? 4000000 : 1000000);
}

/* The sum and its variance as the weights tell it, against what they are over many runs, when the
 * mean changes from sample to sample by what went before. */
static void expect_unbiased_with(uint64_t size, uint64_t fine, uint64_t coarse)
{
	enum { RUNS = 4000, BLOCKS = 2000 };
	double truth = (double)(BLOCKS * size);
	double sum = 0, squares = 0, told = 0;

	for (unsigned run = 0; run < RUNS; run++) {
		uint64_t mean = fine, bytes = 0;

		for (unsigned i = 0; i < BLOCKS; i++) {
			uint64_t hit = sample_hits(size, mean);
			struct sample_weight w = sample_weigh(hit ? size : 0, hit ? hit : fine);

			bytes += w.bytes;
			told += (double)w.spread * 65536;
			if (hit)
				mean = bytes / size % 3 ? fine : coarse;
		}
		sum += (double)bytes;
		squares += ((double)bytes - truth) * ((double)bytes - truth);
	}
	assert_true(fabs(sum / RUNS / truth - 1) < 6 * sqrt(told) / RUNS / truth);
	assert_true(fabs(squares / told - 1) < 0.2);
}

static void changing_means_are_unbiased(void **context)
{
	(void)context;
	expect_unbiased_with(3000, 8192, 400000);
	expect_unbiased_with(30000, 8192, 20000);
}

static void halving_is_unbiased(void **context)
{
	const struct sample_weight first = sample_weigh(3000, 8192);
	double bytes = 0, count = 0;
	enum { N = 1000000 };

	(void)context;
	for (unsigned i = 0; i < N; i++) {
		struct sample_weight w = first;

		if (!sample_halve(&w) || !sample_halve(&w))
			continue;
		bytes += (double)w.bytes;
		count += (double)w.count;
		assert_true(w.spread > 12 * first.spread);
	}
	assert_true(fabs(bytes / N / (double)first.bytes - 1) < 6 * sqrt(3.0 / N));
	assert_true(fabs(count / N / (double)first.count - 1) < 6 * sqrt(3.0 / N));
}

static void waits_are_geometric(void **context)
{
	double sum = 0, squares = 0;
	unsigned n = 400000;

	(void)context;
	for (unsigned i = 0; i < n; i++) {
		double wait = (double)sample_wait(RATE) / RATE;

		sum += wait;
		squares += wait * wait;
	}
	assert_true(fabs(sum / n - 1) < 0.01);
	assert_true(fabs(squares / n - 2) < 0.08); /* of an exponential law with mean 1 */
}

static void functions_are_libms(void **context)
{
	(void)context;
	for (double u = 1e-16; u <= 1; u *= 1.003)
		assert_true(fabs(minus_log(u) + log(u)) < 1e-7);
	for (double x = 1e-9; x < 50; x *= 1.01)
		assert_true(fabs(one_minus_exp(x) / -expm1(-x) - 1) < 1e-6);
}

static void rates_are_parsed(void **context)
{
	(void)context;
	assert_int_equal(sample_parse_rate("1"), SAMPLE_RATE_DEFAULT);
	assert_int_equal(sample_parse_rate(""), SAMPLE_RATE_DEFAULT);
	assert_int_equal(sample_parse_rate("0"), 0);
	assert_int_equal(sample_parse_rate("off"), 0);
	assert_int_equal(sample_parse_rate("64K"), 64 << 10);
	assert_int_equal(sample_parse_rate("2M"), 2 << 20);
	assert_int_equal(sample_parse_rate("10"), SAMPLE_RATE_MIN);
	assert_int_equal(sample_parse_rate("99999999999999999999G"), SAMPLE_RATE_MAX);
}

/* ---- the pace -------------------------------------------------------------------------------------------- */

static void cost_makes_the_mean_coarser(void **context)
{
	uint64_t first = pace_next(512 << 10, 0), mean = 0;

	(void)context;
	assert_int_equal(first, pace_finest(512 << 10));
	for (unsigned i = 0; i < 100000 && mean != 512 << 10; i++) {
		saved = -OWED_MAX; /* as after samples that took all time */
		mean = pace_next(512 << 10, 0);
	}
	assert_in_range(mean, 500 << 10, 512 << 10);
	counted -= 1ull << 40;
	assert_int_equal(pace_next(512 << 10, 0), first); /* time has passed */
}

static void many_that_live_make_the_mean_coarser(void **context)
{
	(void)context;
	for (uint32_t live = 0; live < 500000; live += 8192) {
		uint64_t mean, more;

		saved = SAVED_MAX;
		mean = pace_next(512 << 10, live);
		saved = SAVED_MAX;
		more = pace_next(512 << 10, live + 8192);
		assert_true(more >= mean);
		assert_true(live < PACE_LIVE || more > mean || more == SAMPLE_RATE_MAX);
	}
}

/* ---- small blocks ---------------------------------------------------------------------------------------- */

static struct sampled blocks;

static void blocks_are_found_by_address(void **context)
{
	const uint64_t page = 0x7ffff1234000ull;
	bool others;
	uint32_t old;

	(void)context;
	assert_true(sampled_put(&blocks, page + 16, 1, &old) && old == 0);
	assert_true(sampled_put(&blocks, page + 4080, SAMPLED_NUMBERS - 1, &old) && old == 0);
	assert_int_equal(sampled_take(&blocks, page + 32, &others), 0);
	assert_true(others);
	assert_false(sampled_has_page(&blocks, page + 4096));
	assert_false(sampled_has_page(&blocks, page + ((uint64_t)SAMPLED_ROWS << 12))); /* the same row */
	assert_int_equal(sampled_take(&blocks, page + 16, &others), 1);
	assert_true(others);
	assert_int_equal(sampled_take(&blocks, page + 4080, &others), SAMPLED_NUMBERS - 1);
	assert_false(others || sampled_has_page(&blocks, page));
}

static void a_block_whose_end_was_missed_gives_way(void **context)
{
	bool others;
	uint32_t old;

	(void)context;
	assert_true(sampled_put(&blocks, 0x1000, 5, &old));
	assert_true(sampled_put(&blocks, 0x1000, 6, &old) && old == 5);
	assert_int_equal(sampled_take(&blocks, 0x1000, &others), 6);
	assert_int_equal(sampled_take(&blocks, 0x1000, &others), 0);
}

static void a_full_row_takes_no_more(void **context)
{
	uint32_t old;
	bool others;

	(void)context;
	for (unsigned i = 0; i < SAMPLED_IN_ROW; i++)
		assert_true(sampled_put(&blocks, 0x5000 + 8 * i, i + 1, &old));
	assert_false(sampled_put(&blocks, 0x5000 + 8 * SAMPLED_IN_ROW, 99, &old));
	for (unsigned i = 0; i < SAMPLED_IN_ROW; i++)
		assert_int_equal(sampled_take(&blocks, 0x5000 + 8 * i, &others), i + 1);
	assert_false(others);
}

/* ---- mappings -------------------------------------------------------------------------------------------- */

static struct ranges table;
static uint64_t ended_bytes, ended_count;

static void note_end(const struct range *ended, void *arg)
{
	(void)arg;
	ended_bytes += ended->bytes;
	ended_count += ended->count;
}

static void add(uint64_t start, uint64_t end)
{
	const struct range r = { .start = start, .end = end, .bytes = end - start, .count = 256 };

	ranges_add(&table, &r, note_end, NULL);
}

static int empty_table(void **context)
{
	(void)context;
	memset(&table, 0, sizeof(table));
	ended_bytes = ended_count = 0;
	return 0;
}

static void ranges_end_as_a_whole(void **context)
{
	(void)context;
	add(1000, 2000);
	add(5000, 6000);
	assert_false(ranges_are_empty(&table));
	ranges_remove(&table, 0, 4000, note_end, NULL);
	assert_int_equal(ended_bytes, 1000);
	assert_int_equal(ended_count, 256);
	ranges_remove(&table, 0, 10000, note_end, NULL);
	assert_int_equal(ended_bytes, 2000);
	assert_true(ranges_are_empty(&table));
}

static void ranges_end_in_parts(void **context)
{
	(void)context;
	add(1000, 2000);
	ranges_remove(&table, 1400, 1500, note_end, NULL); /* two pieces */
	ranges_remove(&table, 900, 1100, note_end, NULL);
	assert_int_equal(ended_bytes, 200);
	assert_int_equal(ended_count, 0);
	ranges_remove(&table, 1900, 2500, note_end, NULL);
	assert_int_equal(ended_bytes, 300);
	ranges_remove(&table, 0, 3000, note_end, NULL);
	assert_int_equal(ended_bytes, 1000);
	assert_int_equal(ended_count, 256);
	assert_true(ranges_are_empty(&table));
}

static void what_is_mapped_over_ends(void **context)
{
	(void)context;
	add(1000, 2000);
	add(1500, 2500);
	assert_int_equal(ended_bytes, 500);
	ranges_remove(&table, 0, 3000, note_end, NULL);
	assert_int_equal(ended_bytes, 2000);
}

/* As in a handler that interrupts who works on the table: its message waits. */
static void nobody_waits_for_the_table(void **context)
{
	(void)context;
	add(1000, 2000);
	mc_store_full(&table.busy, 1);
	ranges_remove(&table, 0, 3000, note_end, NULL);
	assert_int_equal(ended_bytes, 0);
	mc_store_full(&table.busy, 0);
	add(7000, 8000);
	assert_int_equal(ended_bytes, 1000);
}

static void a_full_table_counts_what_it_loses(void **context)
{
	(void)context;
	for (uint64_t i = 0; i <= RANGES_MAX; i++)
		add(i * 1000, i * 1000 + 500);
	assert_int_equal(table.lost, 1);
	assert_int_equal(ended_bytes, 500);
	for (uint64_t i = 0; i <= RANGES_MAX; i++)
		ranges_remove(&table, i * 1000, i * 1000 + 500, note_end, NULL);
	assert_int_equal(ended_bytes, (RANGES_MAX + 1) * 500);
	assert_true(ranges_are_empty(&table));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_are_unbiased),
		cmocka_unit_test(changing_means_are_unbiased),
		cmocka_unit_test(halving_is_unbiased),
		cmocka_unit_test(waits_are_geometric),
		cmocka_unit_test(functions_are_libms),
		cmocka_unit_test(rates_are_parsed),
		cmocka_unit_test(cost_makes_the_mean_coarser),
		cmocka_unit_test(many_that_live_make_the_mean_coarser),
		cmocka_unit_test(blocks_are_found_by_address),
		cmocka_unit_test(a_block_whose_end_was_missed_gives_way),
		cmocka_unit_test(a_full_row_takes_no_more),
		cmocka_unit_test_setup(ranges_end_as_a_whole, empty_table),
		cmocka_unit_test_setup(ranges_end_in_parts, empty_table),
		cmocka_unit_test_setup(what_is_mapped_over_ends, empty_table),
		cmocka_unit_test_setup(nobody_waits_for_the_table, empty_table),
		cmocka_unit_test_setup(a_full_table_counts_what_it_loses, empty_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
