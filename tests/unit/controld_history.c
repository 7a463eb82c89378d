/* SPDX-License-Identifier: MIT */
/* What groups held in time, over more than the rings have room for, in a made-up world. */
#include "tests/unit/controld_fixture.h"

#include <sys/stat.h>

#define SECOND 1000000000ull
#define GROUPS 60
#define TURNS 5500 /* seconds, in each of which every group changes */

static void make_groups(void)
{
	char more[64];

	for (int i = 0; i < GROUPS; i++) {
		(void)snprintf(more, sizeof(more), "\"group\":\"/g%d\"", i);
		fixture_drop(fixture_do("create", more));
	}
}

/* A second passes, and each group's memory.high is another one. */
static void pass_second(unsigned turn)
{
	struct segment *seg = &fixture.served->seg;
	struct snapshot snap;

	fake_now += SECOND;
	for (uint16_t g = 1; g <= GROUPS; g++)
		mc_store_relaxed(&seg->limits->limits[RESOURCE_MEMORY][g].high, 1000 + turn % 7);
	assert_int_equal(snapshot_take(seg, RESOURCE_MEMORY, &snap), 0);
	history(fixture.served, &snap, fake_now);
	snapshot_free(&snap);
}

static off_t file_size(void)
{
	char path[sizeof(fixture.served->seg.dir) + 16];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/" HISTORY_NAME, fixture.served->seg.dir);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

struct distances {
	unsigned records, fine, middle, coarse; /* about 1, 15 and 240 seconds apart */
	uint64_t first_ns, last_ns;
};

static struct distances measure(uint16_t group)
{
	struct distances d = { 0 };
	struct history_record r;

	for (uint64_t at = 0; history_next(fixture.served, group, &at, &r); d.last_ns = r.at_ns, d.records++) {
		uint64_t apart = d.records ? r.at_ns - d.last_ns : 0;

		if (!d.records) {
			d.first_ns = r.at_ns;
			continue;
		}
		assert_true(r.at_ns >= d.last_ns);
		assert_true(apart <= 480 * SECOND); /* nothing is missing in between */
		d.fine += apart <= SECOND;
		d.middle += apart > SECOND && apart <= 30 * SECOND;
		d.coarse += apart > 30 * SECOND;
	}
	return d;
}

static void what_falls_off_a_ring_is_kept_more_coarsely(void **state)
{
	uint64_t begin_ns = fake_now;
	off_t size = file_size();
	struct distances d;

	(void)state;
	make_groups();
	for (unsigned turn = 0; turn < TURNS; turn++)
		pass_second(turn);
	d = measure(GROUPS / 2);
	assert_in_range(d.fine, 500, 560);   /* 32,768 records of 60 groups */
	assert_in_range(d.middle, 240, 280); /* 16,384 */
	assert_in_range(d.coarse, 2, 10);
	assert_true(d.first_ns <= begin_ns + 2 * SECOND && d.last_ns == fake_now);
	assert_int_equal(file_size(), size);
}

static void without_a_change_nothing_is_recorded(void **state)
{
	unsigned before;

	(void)state;
	make_groups();
	pass_second(0);
	before = measure(1).records;
	for (int i = 0; i < 100; i++)
		pass_second(0);
	assert_int_equal(measure(1).records, before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(what_falls_off_a_ring_is_kept_more_coarsely),
		TEST(without_a_change_nothing_is_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
