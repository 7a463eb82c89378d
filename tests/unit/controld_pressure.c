/* SPDX-License-Identifier: MIT */
/* Pressure levels against the kernel's formula, and who is told of them. */
#include "tests/unit/survey_fixture.h"

#include "controld/pressure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOW PRESSURE_LOW
#define MEDIUM PRESSURE_MEDIUM
#define CRITICAL PRESSURE_CRITICAL
#define DEFAULT PRESSURE_DEFAULT
#define HIERARCHY PRESSURE_HIERARCHY
#define LOCAL PRESSURE_LOCAL

/* scale = scanned + reclaimed; (scale - reclaimed x scale / scanned) x 100 / scale, cut at each division. */
static void the_formula(void **state)
{
	static const struct {
		uint64_t scanned, reclaimed;
		unsigned percent;
		enum pressure_level level;
	} of[] = {
		{ 512, 205, 59, LOW },	   /* 717 - 287 = 430 of 717 */
		{ 512, 204, 60, MEDIUM },  /* 716 - 285 = 431 of 716 */
		{ 512, 26, 94, MEDIUM },   /* 538 - 27 = 511 of 538 */
		{ 512, 25, 95, CRITICAL }, /* 537 - 26 = 511 of 537 */
		{ 512, 0, 100, CRITICAL },
		{ 512, 512, 0, LOW },
		{ 512, 600, 0, LOW }, /* other things came back too */
		{ 512, 511, 0, LOW }, /* 1023 - 1021 = 2 of 1023 */
		{ 1, 0, 100, CRITICAL },
		{ 0, 0, 0, LOW },
		{ 1024, 410, 59, LOW },	   /* 1434 - 574 = 860 of 1434 */
		{ 1024, 409, 60, MEDIUM }, /* 1433 - 572 = 861 of 1433 */
		/* reclaimed x scale is more than 64 bits: 3/2 - 3/4 = 3/4 of 3/2 */
		{ 1ull << 48, 1ull << 47, 50, LOW },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		if (pressure_percent(of[i].scanned, of[i].reclaimed) != of[i].percent ||
		    pressure_level(of[i].scanned, of[i].reclaimed) != of[i].level)
			fail_msg("row %zu: %u", i, pressure_percent(of[i].scanned, of[i].reclaimed));
}

static void a_window_is_512(void **state)
{
	struct pressure_sum sum = { 0 };
	enum pressure_level level = 77;

	(void)state;
	assert_false(pressure_take(&sum, &level));
	assert_int_equal(level, 77);
	assert_false(pressure_book(&sum, 0, 1000)); /* nothing examined, not booked */
	assert_int_equal(sum.reclaimed, 0);
	assert_false(pressure_book(&sum, 500, 100));
	assert_false(pressure_book(&sum, 11, 0));
	assert_true(pressure_book(&sum, 1, 104));
	assert_true(pressure_book(&sum, 100, 0)); /* a burst makes one larger window: 204 of 612 */
	assert_true(pressure_take(&sum, &level));
	assert_int_equal(level, MEDIUM);
	assert_int_equal(sum.scanned, 0);
	assert_int_equal(sum.reclaimed, 0);
	assert_false(pressure_take(&sum, &level));
}

static void dire_straits_are_added_to_the_sums(void **state)
{
	struct pressure_sum sum = { 0 };
	enum pressure_level level;

	(void)state;
	for (unsigned priority = 12; priority > 3; priority--)
		assert_false(pressure_book_priority(&sum, priority));
	assert_int_equal(sum.scanned, 0);
	assert_true(pressure_book_priority(&sum, 3));
	assert_true(pressure_take(&sum, &level));
	assert_int_equal(level, CRITICAL);
	/* Not always critical: 400 of 400 + 512 came back, 56 %. */
	(void)pressure_book(&sum, 400, 400);
	assert_true(pressure_book_priority(&sum, 0));
	assert_true(pressure_take(&sum, &level));
	assert_int_equal(level, LOW);
}

#define G 1
#define C 2
#define D 3
#define BESIDE 4
#define LISTENERS 5

/* d under c under g, and another one under g. */
static const struct {
	const char *what;
	uint16_t group; /* where it is booked */
	enum pressure_level level;
	struct pressure_listener listener[LISTENERS];
	bool told[LISTENERS];
} cases[] = {
	{ "all default: the nearest alone",
	  D,
	  LOW,
	  { { G, LOW, DEFAULT }, { C, LOW, DEFAULT }, { D, LOW, DEFAULT } },
	  { false, false, true } },
	{ "limit on c: c's, never d's",
	  C,
	  LOW,
	  { { C, LOW, DEFAULT }, { D, LOW, DEFAULT }, { D, LOW, HIERARCHY }, { D, LOW, LOCAL } },
	  { true } },
	{ "g default, c local: c was not told, so g is", D, LOW, { { G, LOW, DEFAULT }, { C, LOW, LOCAL } }, { true } },
	{ "g hierarchy, c default, d default: g and d",
	  D,
	  LOW,
	  { { G, LOW, HIERARCHY }, { C, LOW, DEFAULT }, { D, LOW, DEFAULT } },
	  { true, false, true } },
	{ "several default listeners of one group",
	  C,
	  LOW,
	  { { C, LOW, DEFAULT }, { C, LOW, DEFAULT }, { G, LOW, DEFAULT } },
	  { true, true } },
	{ "levels include those below",
	  C,
	  CRITICAL,
	  { { C, LOW, DEFAULT }, { C, MEDIUM, DEFAULT }, { C, CRITICAL, DEFAULT } },
	  { true, true, true } },
	{ "who wants more is not told, and silences nobody",
	  D,
	  MEDIUM,
	  { { D, CRITICAL, DEFAULT }, { C, MEDIUM, DEFAULT }, { G, LOW, DEFAULT } },
	  { false, true } },
	{ "local, booked on this very group",
	  C,
	  LOW,
	  { { C, LOW, LOCAL }, { G, LOW, DEFAULT }, { G, LOW, LOCAL } },
	  { true } },
	{ "hierarchy silences default above",
	  D,
	  LOW,
	  { { D, LOW, HIERARCHY }, { C, LOW, DEFAULT }, { G, LOW, HIERARCHY } },
	  { true, false, true } },
	{ "hierarchy and default of one group",
	  C,
	  LOW,
	  { { C, LOW, HIERARCHY }, { C, LOW, DEFAULT } },
	  { true, true } },
	{ "the root has listeners too",
	  D,
	  LOW,
	  { { GROUP_ROOT, LOW, DEFAULT }, { BESIDE, LOW, HIERARCHY } },
	  { true } },
	{ "the machine is short: the root's alone",
	  GROUP_ROOT,
	  LOW,
	  { { G, LOW, DEFAULT }, { GROUP_ROOT, LOW, LOCAL }, { D, LOW, HIERARCHY } },
	  { false, true } },
};

static struct survey hierarchy(void)
{
	struct survey s = survey_plant(5);

	assert_int_equal(survey_sow(&s, GROUP_ROOT, 0), G);
	assert_int_equal(survey_sow(&s, G, 0), C);
	assert_int_equal(survey_sow(&s, C, 0), D);
	assert_int_equal(survey_sow(&s, G, 0), BESIDE);
	return s;
}

static void who_is_told(void **state)
{
	struct survey s = hierarchy();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool told[LISTENERS];
		uint32_t n = LISTENERS;

		memset(told, 1, sizeof(told));
		while (n && !memcmp(&cases[i].listener[n - 1], &(struct pressure_listener){ 0 },
				    sizeof(struct pressure_listener)))
			n--; /* rows of zeros are no listeners: none of the cases ends in one of the root's defaults */
		pressure_tell(&s, cases[i].group, cases[i].level, cases[i].listener, n, told);
		for (uint32_t l = 0; l < n; l++)
			if (told[l] != cases[i].told[l])
				fail_msg("%s: listener %u %s", cases[i].what, l, told[l] ? "told" : "not told");
	}
	survey_free(&s);
}

/* Whoever is told wants this level and stands at or above; the order of the listeners does not matter. */
static void holds_for_any_listeners(void **state)
{
	uint64_t seed = 512;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct survey s = survey_grow(2 + (uint32_t)(ground_random(&seed) % 12), 10, &seed);
		struct pressure_listener l[16], back[16];
		bool told[16], told_back[16];
		uint16_t group = (uint16_t)(ground_random(&seed) % s.groups);
		enum pressure_level level = (enum pressure_level)(ground_random(&seed) % 3);

		for (unsigned i = 0; i < 16; i++) {
			l[i].group = (uint16_t)(ground_random(&seed) % s.groups);
			l[i].level = (uint8_t)(ground_random(&seed) % 3);
			l[i].mode = (uint8_t)(ground_random(&seed) % 3);
			back[15 - i] = l[i];
		}
		pressure_tell(&s, group, level, l, 16, told);
		pressure_tell(&s, group, level, back, 16, told_back);
		for (unsigned i = 0; i < 16; i++) {
			assert_int_equal(told[i], told_back[15 - i]);
			if (told[i])
				assert_true(l[i].level <= level && survey_is_within(&s, group, l[i].group));
			else if (l[i].level <= level && l[i].mode == HIERARCHY)
				assert_false(survey_is_within(&s, group, l[i].group));
		}
		survey_free(&s);
	}
}

static void registrations(void **state)
{
	static const struct {
		const char *text;
		int err, level, mode;
	} of[] = {
		{ "low", 0, LOW, DEFAULT },
		{ "medium", 0, MEDIUM, DEFAULT },
		{ "critical", 0, CRITICAL, DEFAULT },
		{ "low,default", 0, LOW, DEFAULT },
		{ "medium,hierarchy", 0, MEDIUM, HIERARCHY },
		{ "critical,local", 0, CRITICAL, LOCAL },
		{ "critical,hierarchy", 0, CRITICAL, HIERARCHY },
		{ "low,local,zzz", 0, LOW, LOCAL },
		{ "low,local,", 0, LOW, LOCAL },
		{ "critical,hierarchy,and more than nineteen", 0, CRITICAL, HIERARCHY },
		{ "critical,hierarchyx", -EINVAL, 0, 0 },
		{ "low,", -EINVAL, 0, 0 },
		{ "LOW", -EINVAL, 0, 0 },
		{ "", -EINVAL, 0, 0 },
		{ ",", -EINVAL, 0, 0 },
		{ ",local", -EINVAL, 0, 0 },
		{ "low, local", -EINVAL, 0, 0 },
		{ " low", -EINVAL, 0, 0 },
		{ "low,foo", -EINVAL, 0, 0 },
		{ "lo", -EINVAL, 0, 0 },
		{ "lowest", -EINVAL, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		enum pressure_level level = 77;
		enum pressure_mode mode = 77;
		int err = pressure_parse(of[i].text, &level, &mode);

		if (err != of[i].err || (int)level != (err ? 77 : of[i].level) || (int)mode != (err ? 77 : of[i].mode))
			fail_msg("\"%s\": %d, %d, %d", of[i].text, err, (int)level, (int)mode);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_formula),
		cmocka_unit_test(a_window_is_512),
		cmocka_unit_test(dire_straits_are_added_to_the_sums),
		cmocka_unit_test(who_is_told),
		cmocka_unit_test(holds_for_any_listeners),
		cmocka_unit_test(registrations),
	};

	return cmocka_run_group_tests_name("controld_pressure", tests, NULL, NULL);
}
