/* SPDX-License-Identifier: MIT */
/* Group paths: what is one, finding by it, writing it, who lies below whom. */
#include "tests/lib/grounded.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* "/x" n times, each name `width` bytes long. */
static char *deep(char *buf, int n, int width)
{
	char *p = buf;

	for (int i = 0; i < n; i++) {
		*p++ = '/';
		memset(p, 'n', (size_t)width);
		p += width;
	}
	*p = 0;
	return buf;
}

static void good_paths_are_paths(void **state)
{
	static const char *const good[] = {
		"/", "/a", "/a/b", "/A-Z_0.9@host:1+2", "/...", "/.hidden", "/a..b", "/-", "/..a",
	};
	char buf[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (group_check_path(good[i]) != 0)
			fail_msg("%s refused", good[i]);
	assert_int_equal(group_check_path(deep(buf, 1, GROUP_NAME_MAX)), 0);
	assert_int_equal(group_check_path(deep(buf, GROUP_DEPTH_MAX, GROUP_NAME_MAX)), 0);
}

static void every_character_outside_the_set_is_refused(void **state)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789._@:+-";

	(void)state;
	for (int c = 1; c < 256; c++) {
		char path[] = { '/', 'a', (char)c, 'b', 0 };
		int expected = c == '/' || strchr(set, c) ? 0 : -EINVAL;

		if (group_check_path(path) != expected)
			fail_msg("character %d: %d", c, group_check_path(path));
	}
}

static void bad_paths_say_why(void **state)
{
	static const char *const bad[] = {
		"",    "a",    "a/b",	"./a",	"//",	 "//a",	 "/a/",	 "/a//b",     "/.",
		"/..", "/a/.", "/a/..", "/./a", "/../a", "/a b", "/a\n", "/\xc3\xa4", " /a",
	};
	char buf[8192];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint16_t group = 77;

		if (group_check_path(bad[i]) != -EINVAL)
			fail_msg("\"%s\": %d", bad[i], group_check_path(bad[i]));
		assert_int_equal(group_find(&g.seg, bad[i], &group), -EINVAL);
		assert_int_equal(group, 77);
	}
	assert_int_equal(group_check_path(deep(buf, 1, GROUP_NAME_MAX + 1)), -ENAMETOOLONG);
	assert_int_equal(group_check_path(deep(buf, 2, 4000)), -ENAMETOOLONG);
	assert_int_equal(group_check_path(deep(buf, GROUP_DEPTH_MAX + 1, 1)), -ELOOP);
}

static void find_and_path_are_inverse(void **state)
{
	static const char *const paths[] = { "/a", "/a/b", "/a/b/a", "/b", "/b/a", "/ab" };
	char buf[GROUP_PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		(void)ground_group(&g, paths[i], PAGES_MAX);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		uint16_t group = 0;

		assert_int_equal(group_find(&g.seg, paths[i], &group), 0);
		assert_int_not_equal(group, 0);
		assert_int_equal(group_path(&g.seg, group, buf), strlen(paths[i]));
		assert_string_equal(buf, paths[i]);
	}
}

static void the_root_is_found_and_written(void **state)
{
	char buf[GROUP_PATH_MAX];
	uint16_t group = 77;

	(void)state;
	assert_int_equal(group_find(&g.seg, "/", &group), 0);
	assert_int_equal(group, GROUP_ROOT);
	assert_int_equal(group_path(&g.seg, GROUP_ROOT, buf), 1);
	assert_string_equal(buf, "/");
}

static void the_longest_path_fits(void **state)
{
	char path[GROUP_PATH_MAX];
	char buf[GROUP_PATH_MAX];
	uint16_t group;

	(void)state;
	(void)deep(path, GROUP_DEPTH_MAX, GROUP_NAME_MAX);
	group = ground_group(&g, path, PAGES_MAX);
	assert_int_equal(group_path(&g.seg, group, buf), GROUP_PATH_MAX - 1);
	assert_string_equal(buf, path);
	assert_int_equal(g.seg.limits->group[group].depth, GROUP_DEPTH_MAX);
}

static void what_is_not_there_is_not_found(void **state)
{
	uint16_t group = 77;

	(void)state;
	(void)ground_group(&g, "/a/bc", PAGES_MAX);
	assert_int_equal(group_find(&g.seg, "/b", &group), -ENOENT);
	assert_int_equal(group_find(&g.seg, "/a/b", &group), -ENOENT);
	assert_int_equal(group_find(&g.seg, "/a/bcd", &group), -ENOENT);
	assert_int_equal(group_find(&g.seg, "/bc", &group), -ENOENT);
	assert_int_equal(group_find(&g.seg, "/a/bc/a", &group), -ENOENT);
	assert_int_equal(group, 77);
}

static void a_tree_left_open_is_read_all_the_same(void **state)
{
	uint16_t group = 77;
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t ab = ground_group(&g, "/a/b", PAGES_MAX);

	(void)state;
	mc_add_full(&g.seg.limits->header.tree_seq, 1);
	assert_int_equal(group_find(&g.seg, "/b", &group), -ENOENT);
	assert_int_equal(group, 77);
	assert_int_equal(group_find(&g.seg, "/a", &group), 0);
	assert_int_equal(group, a);
	assert_int_equal(group_find(&g.seg, "/a/b", &group), 0);
	assert_int_equal(group, ab);
	mc_add_full(&g.seg.limits->header.tree_seq, 1);
	assert_int_equal(group_find(&g.seg, "/a", &group), 0);
}

static void a_circle_in_a_chain_does_not_hold_a_reader(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t group = 77;

	(void)state;
	mc_store_full(&g.seg.limits->group[a].next_in_hash, a);
	mc_store_full(&g.seg.limits->hash[group_hash(0, "zz", 2)], a);
	assert_int_equal(group_find(&g.seg, "/zz", &group), -ENOENT);
	assert_int_equal(group, 77);
}

/* Names of one hash are told apart: five groups forced into one chain. */
static void names_that_collide_are_told_apart(void **state)
{
	char name[5][16];
	int found = 0;

	(void)state;
	for (unsigned i = 0; found < 5 && i < 40000000; i++) {
		char *n = name[found];

		snprintf(n, sizeof(name[0]), "c%u", i);
		if (group_hash(0, n, strlen(n)) == 4711)
			found++;
	}
	assert_int_equal(found, 5);
	for (int i = 0; i < 5; i++) {
		char path[128];

		snprintf(path, sizeof(path), "/%s", name[i]);
		(void)ground_group(&g, path, (uint64_t)i + 1);
	}
	for (int i = 0; i < 5; i++) {
		uint16_t group = group_find_child(&g.seg, 0, name[i], strlen(name[i]));

		assert_int_not_equal(group, 0);
		assert_int_equal(mc_load_full(&ground_limits(&g, group)->max), i + 1);
	}
}

static void within_is_at_or_below(void **state)
{
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	uint16_t ab = ground_group(&g, "/a/b", PAGES_MAX);
	uint16_t c = ground_group(&g, "/c", PAGES_MAX);

	(void)state;
	assert_true(group_is_within(&g.seg, ab, a));
	assert_true(group_is_within(&g.seg, ab, ab));
	assert_true(group_is_within(&g.seg, ab, GROUP_ROOT));
	assert_true(group_is_within(&g.seg, GROUP_ROOT, GROUP_ROOT));
	assert_false(group_is_within(&g.seg, a, ab));
	assert_false(group_is_within(&g.seg, ab, c));
	assert_false(group_is_within(&g.seg, GROUP_ROOT, a));
}

static void children_are_walked_each_once(void **state)
{
	bool seen[100] = { false };
	uint16_t a = ground_group(&g, "/a", PAGES_MAX);
	int n = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/a/c%d", i);
		(void)ground_group(&g, path, PAGES_MAX);
	}
	for (uint16_t c = group_next_child(&g.seg, a, 0); c; c = group_next_child(&g.seg, a, c)) {
		assert_int_equal(group_parent(&g.seg, c), a);
		assert_false(seen[c]);
		seen[c] = true;
		n++;
	}
	assert_int_equal(n, 20);
}

static _Atomic bool reading;

static void *read_without_end(void *wrong)
{
	while (reading) {
		uint16_t group = 0;
		int err = group_find(&g.seg, "/stays/here", &group);

		if (err || group != 2)
			*(int *)wrong = err ? err : group;
	}
	return NULL;
}

static void a_reader_sees_the_tree_before_or_after_a_change(void **state)
{
	pthread_t reader;
	int wrong = 0;

	(void)state;
	assert_int_equal(ground_group(&g, "/stays/here", PAGES_MAX), 2);
	reading = true;
	assert_int_equal(pthread_create(&reader, NULL, read_without_end, &wrong), 0);
	for (int i = 0; i < 3000; i++) {
		uint16_t group = ground_group(&g, "/stays/comes", PAGES_MAX);

		assert_int_equal(ground_remove_group(&g, group), 0);
		(void)tree_sweep(&g.seg);
	}
	reading = false;
	pthread_join(reader, NULL);
	assert_int_equal(wrong, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, grounded_up, grounded_down)
	static const struct CMUnitTest tests[] = {
		TEST(good_paths_are_paths),
		TEST(every_character_outside_the_set_is_refused),
		TEST(bad_paths_say_why),
		TEST(find_and_path_are_inverse),
		TEST(the_root_is_found_and_written),
		TEST(the_longest_path_fits),
		TEST(what_is_not_there_is_not_found),
		TEST(a_tree_left_open_is_read_all_the_same),
		TEST(a_circle_in_a_chain_does_not_hold_a_reader),
		TEST(names_that_collide_are_told_apart),
		TEST(within_is_at_or_below),
		TEST(children_are_walked_each_once),
		TEST(a_reader_sees_the_tree_before_or_after_a_change),
	};

	return cmocka_run_group_tests_name("accounting_group", tests, NULL, NULL);
}
