/* SPDX-License-Identifier: MIT */
/* What groups held in time, over more than the rings have room for, in a made-up world. */
#include "tests/unit/controld_fixture.h"

#include "accounting/pool.h"

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

/* The events that are told of, as "made limit oom*2 ": who asks, at this very moment. */
static const char *told(const char *group)
{
	static char text[512];
	char more[64];
	json_t *reply, *row;
	size_t i;

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\"", group);
	reply = fixture_do("events", more);
	text[0] = 0;
	json_array_foreach(json_object_get(reply, "events"), i, row)
	{
		size_t n = strlen(text);
		long long count = json_integer_value(json_object_get(row, "count"));

		(void)snprintf(text + n, sizeof(text) - n, count > 1 ? "%s*%lld " : "%s ",
			       json_string_value(json_object_get(row, "event")), count);
	}
	json_decref(reply);
	return text;
}

static void happen(uint16_t group, unsigned event)
{
	pool_count_event(&fixture.served->seg, RESOURCE_MEMORY, group, event);
}

static uint16_t make_group(const char *path)
{
	char more[64];
	uint16_t group;

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\"", path);
	fixture_drop(fixture_do("create", more));
	assert_int_equal(group_find(&fixture.served->seg, path, &group), 0);
	return group;
}

static void restart(void)
{
	char dir[sizeof(fixture.served->seg.dir)];
	struct complaint why;

	(void)strcpy(dir, fixture.served->seg.dir);
	served_free(fixture.served);
	fixture.served = NULL;
	assert_int_equal(served_open(&fixture, dir, &fixture.served, &why), 0);
}

/* No turn in between, and none before: the daemon has not looked yet. */
static void what_has_happened_is_told_to_who_asks_right_after(void **state)
{
	uint16_t group;

	(void)state;
	group = make_group("/a");
	happen(group, EVENT_OOM);
	assert_string_equal(told("/a"), "made oom ");
	fixture_pass(2000);
	happen(group, EVENT_OOM);
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"64M\"}"));
	assert_string_equal(told("/a"), "made oom*2 limit ");
	assert_string_equal(told("/a"), "made oom*2 limit ");
	fixture_pass(2000);
	assert_string_equal(told("/a"), "made oom*2 limit ");
	happen(group, EVENT_OVER);
	fixture_drop(fixture_do("remove", "\"group\":\"/a\""));
	assert_string_equal(told("/a"), "made oom*2 limit over removed ");
	group = make_group("/brief");
	happen(group, EVENT_OOM);
	fixture_drop(fixture_do("remove", "\"group\":\"/brief\""));
	assert_string_equal(told("/brief"), "oom ");
	fixture_pass(2000);
	assert_string_equal(told("/brief"), "oom ");
}

static void what_happens_while_there_is_no_daemon_is_told_by_the_next(void **state)
{
	uint16_t group;

	(void)state;
	group = make_group("/a");
	happen(group, EVENT_OOM);
	restart();
	assert_string_equal(told("/a"), "made oom ");
	fixture_pass(2000);
	happen(group, EVENT_OVER); /* the daemon is gone before it looks */
	restart();
	assert_string_equal(told("/a"), "made oom over ");
	fixture_pass(2000);
	restart();
	fixture_pass(2000);
	assert_string_equal(told("/a"), "made oom over ");
	assert_string_equal(told("/"), "made oom over ");
}

/* As after an update, or in a directory that somebody has tidied up. */
static void without_the_last_daemons_history_only_what_is_new_is_told(void **state)
{
	uint16_t group;

	(void)state;
	group = make_group("/a");
	happen(group, EVENT_OOM);
	rundir_remove(&fixture.rundir, HISTORY_NAME);
	restart();
	assert_string_equal(told("/a"), "");
	happen(group, EVENT_OOM);
	assert_string_equal(told("/a"), "oom ");
}

static void all_slots_of_groups_are_looked_at_once(void **state)
{
	const struct segment *seg = &fixture.served->seg;

	(void)state;
	(void)make_group("/a");
	mc_store_full(&seg->limits->header.groups_used, GROUPS_MAX);
	assert_string_equal(told("/a"), "made ");
	mc_store_full(&seg->limits->header.groups_used, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(what_falls_off_a_ring_is_kept_more_coarsely),
		TEST(without_a_change_nothing_is_recorded),
		TEST(what_has_happened_is_told_to_who_asks_right_after),
		TEST(what_happens_while_there_is_no_daemon_is_told_by_the_next),
		TEST(without_the_last_daemons_history_only_what_is_new_is_told),
		TEST(all_slots_of_groups_are_looked_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
