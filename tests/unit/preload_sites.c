/* SPDX-License-Identifier: MIT */
/* What call sites are made of: the random sample and its weights, and the table of sampled mappings. */
#include "preload/ranges.c" /* NOLINT: the library exports nothing of it */
#include "preload/sample.c" /* NOLINT */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define RATE (64u << 10)

/* ---- the sample ------------------------------------------------------------------------------------------- */

/* The sum of weights against the truth, within six standard deviations: wrong weights are further off. */
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

/* ---- mappings --------------------------------------------------------------------------------------------- */

static struct ranges table;
static uint64_t ended_bytes, ended_count;

static void note_end(uint32_t site, uint64_t bytes, uint64_t count, void *arg)
{
	(void)site;
	(void)arg;
	ended_bytes += bytes;
	ended_count += count;
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
		cmocka_unit_test(waits_are_geometric),
		cmocka_unit_test(functions_are_libms),
		cmocka_unit_test(rates_are_parsed),
		cmocka_unit_test_setup(ranges_end_as_a_whole, empty_table),
		cmocka_unit_test_setup(ranges_end_in_parts, empty_table),
		cmocka_unit_test_setup(what_is_mapped_over_ends, empty_table),
		cmocka_unit_test_setup(nobody_waits_for_the_table, empty_table),
		cmocka_unit_test_setup(a_full_table_counts_what_it_loses, empty_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
