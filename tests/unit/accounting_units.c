/* SPDX-License-Identifier: MIT */
/* Sizes: the kernel's limit syntax, example by example, and what people read. */
#include "tests/lib/unit.h"

#include "accounting/layout.h"
#include "accounting/units.h"

#include <errno.h>
#include <string.h>

#define UNTOUCHED 0xfeedull

struct row {
	const char *text;
	const char *unlimited;
	uint64_t unit;
	int err;
	uint64_t units;
};

/* kernel-semantics.md 1.0, and what memparse does with the rest. */
static const struct row rows[] = {
	{ "-1", "-1", 4096, 0, PAGES_MAX },
	{ "max", "max", 4096, 0, PAGES_MAX },
	{ " max \n", "max", 4096, 0, PAGES_MAX },
	{ "max", "-1", 4096, -EINVAL, 0 },
	{ "-1", "max", 4096, -EINVAL, 0 },
	{ "max", NULL, 4096, -EINVAL, 0 },
	{ "MAX", "max", 4096, -EINVAL, 0 },
	{ "maxi", "max", 4096, -EINVAL, 0 },
	{ "ma", "max", 4096, -EINVAL, 0 },
	{ "0", "max", 4096, 0, 0 },
	{ "4095", "max", 4096, 0, 0 },
	{ "1k", "max", 4096, 0, 0 },
	{ "4096", "max", 4096, 0, 1 },
	{ "8191", "max", 4096, 0, 1 },
	{ "4k", "max", 4096, 0, 1 },
	{ "4K", "max", 4096, 0, 1 },
	{ "5M", "max", 4096, 0, 1280 },
	{ "5m\n", "max", 4096, 0, 1280 },
	{ "1G", "max", 4096, 0, 262144 },
	{ "1g", "max", 4096, 0, 262144 },
	{ "1T", "max", 4096, 0, 268435456 },
	{ "2t", "max", 4096, 0, 536870912 },
	{ "1P", "max", 4096, 0, 274877906944 },
	{ "1p", "max", 4096, 0, 274877906944 },
	{ "1E", "max", 4096, 0, 281474976710656 },
	{ "7e", "max", 4096, 0, 7 * 281474976710656 },
	{ "0x10000", "max", 4096, 0, 16 },
	{ "0XfFff0", "max", 4096, 0, 255 },
	{ "0x10k", "max", 4096, 0, 4 },
	{ "0x1E", "max", 1, 0, 30 },
	{ "010000", "max", 4096, 0, 1 },
	{ "010k", "max", 1, 0, 8192 },
	{ "00", "max", 1, 0, 0 },
	{ "0k", "max", 1, 0, 0 },
	{ "08", "max", 4096, -EINVAL, 0 },
	{ "0x", "max", 4096, -EINVAL, 0 },
	{ "0xg", "max", 4096, -EINVAL, 0 },
	{ "1.0", "max", 4096, -EINVAL, 0 },
	{ "1kb", "max", 4096, -EINVAL, 0 },
	{ "1 M", "max", 4096, -EINVAL, 0 },
	{ "12x", "max", 4096, -EINVAL, 0 },
	{ "+5M", "max", 4096, -EINVAL, 0 },
	{ "-2", "max", 4096, -EINVAL, 0 },
	{ "-1", NULL, 4096, -EINVAL, 0 },
	{ "K", "max", 4096, -EINVAL, 0 },
	{ "5MM", "max", 4096, -EINVAL, 0 },
	{ "5B", "max", 4096, -EINVAL, 0 },
	{ "1 2", "max", 4096, -EINVAL, 0 },
	{ "1a", "max", 4096, -EINVAL, 0 },
	{ "", "max", 4096, 0, 0 },
	{ " ", "max", 4096, 0, 0 },
	{ "\t \n", "max", 4096, 0, 0 },
	{ "  8k  ", "max", 4096, 0, 2 },
	{ "99999999999999999999", "max", 1, 0, PAGES_MAX },
	{ "99999999999999999999", "max", 4096, 0, 7766279631452237824ull / 4096 },
	{ "18446744073709551616", "max", 4096, 0, 0 }, /* 2^64 wraps to 0 */
	{ "18446744073709551615", "max", 4096, 0, PAGES_MAX },
	{ "9223372036854771712", "max", 4096, 0, PAGES_MAX },
	{ "9223372036854767616", "max", 4096, 0, PAGES_MAX - 1 },
	{ "9223372036854775807", "max", 4096, 0, PAGES_MAX },
	{ "16E", "max", 4096, 0, 0 }, /* shifted out */
	{ "4097", "max", 1, 0, 4097 },
};

static void parses_what_the_kernel_parses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		uint64_t units = UNTOUCHED;
		int err = units_parse(r->text, r->unlimited, r->unit, &units);

		if (err != r->err || units != (err ? UNTOUCHED : r->units))
			fail_msg("\"%s\": %d, %llu units", r->text, err, (unsigned long long)units);
	}
}

static void the_wrapped_value_is_the_kernels(void **state)
{
	uint64_t units = 0;

	(void)state;
	/* Clamping hides it in bytes; in units of 8192 it is seen whole. */
	assert_int_equal(units_parse("99999999999999999999", NULL, 8192, &units), 0);
	assert_int_equal(units, 7766279631452241919ull / 8192);
}

static void text_longer_than_one_write_is_refused(void **state)
{
	char text[5000];
	uint64_t units = UNTOUCHED;

	(void)state;
	memset(text, '0', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(units_parse(text, "max", 4096, &units), -EINVAL);
	assert_int_equal(units, UNTOUCHED);
}

static void formats_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} of[] = {
		{ 0, "0 B" },
		{ 1, "1 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 4096, "4.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ 64 << 20, "64.0 MiB" },
		{ 1ull << 30, "1.0 GiB" },
		{ 1ull << 40, "1.0 TiB" },
		{ 1ull << 50, "1.0 PiB" },
		{ 1ull << 60, "1.0 EiB" },
		{ UINT64_MAX, "16.0 EiB" },
		{ (1 << 20) - 1, "1.0 MiB" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		char buf[UNITS_BUF];

		assert_ptr_equal(units_format(of[i].bytes, buf), buf);
		assert_string_equal(buf, of[i].text);
	}
}

static void pages_are_rounded_up(void **state)
{
	(void)state;
	assert_int_equal(units_pages_up(0), 0);
	assert_int_equal(units_pages_up(1), 1);
	assert_int_equal(units_pages_up(4096), 1);
	assert_int_equal(units_pages_up(4097), 2);
	assert_int_equal(units_pages_up(UINT64_MAX), 1ull << 52);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_the_kernel_parses),
		cmocka_unit_test(the_wrapped_value_is_the_kernels),
		cmocka_unit_test(text_longer_than_one_write_is_refused),
		cmocka_unit_test(formats_for_people),
		cmocka_unit_test(pages_are_rounded_up),
	};

	return cmocka_run_group_tests_name("accounting_units", tests, NULL, NULL);
}
