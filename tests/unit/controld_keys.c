/* SPDX-License-Identifier: MIT */
/* The table of keys, what they take and what they show. */
#include "tests/unit/controld_fixture.h"

#include "controld/key.h"

static void set(const char *group, const char *key, const char *value)
{
	char more[512];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{\"%s\":%s}", group, key, value);
	fixture_drop(fixture_do("set", more));
}

static void refuse(const char *group, const char *key, const char *value, const char *name)
{
	char more[512];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{\"%s\":%s}", group, key, value);
	fixture_refuse("set", more, name);
}

static void expect_word(const char *group, const char *key, const char *word)
{
	json_t *value = fixture_get(group, key);

	assert_string_equal(json_string_value(value), word);
	json_decref(value);
}

static void the_table_is_whole(void **state)
{
	size_t n;
	const struct key *keys = key_table(&n);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		const struct key *k = &keys[i];

		assert_ptr_equal(key_find(k->name), k); /* no name twice */
		assert_true(strlen(k->sentence) > 10);
		assert_true(!(k->access & KEY_R) || k->kind->get);
		assert_true(!(k->access & KEY_W) || (k->kind->parse && k->kind->apply));
		assert_true((k->access == KEY_NO) == (k->format == FORMAT_NONE));
	}
}

static void all_that_can_be_read_is_shown(void **state)
{
	json_t *reply = fixture_do("get", "\"group\":\"/\"");
	json_t *values = json_object_get(reply, "values");
	size_t n, readable = 0;
	const struct key *keys = key_table(&n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		readable += (keys[i].access & KEY_R) != 0;
	assert_int_equal(json_object_size(values), readable);
	json_decref(reply);
}

static void a_new_group_has_the_kernels_defaults(void **state)
{
	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	assert_int_equal(fixture_number("/a", "memory.min"), 0);
	assert_int_equal(fixture_number("/a", "memory.low"), 0);
	expect_word("/a", "memory.high", "max");
	expect_word("/a", "memory.max", "max");
	expect_word("/a", "memory.soft", "max");
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 9223372036854771712);
	expect_word("/a", "memory.oom.policy", "fail");
	expect_word("/a", "memory.charge", "resident");
	assert_int_equal(fixture_number("/a", "memory.swappiness"), 60);
}

static void sizes_are_the_kernels(void **state)
{
	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	set("/a", "memory.max", "\"64M\"");
	assert_int_equal(fixture_number("/a", "memory.max"), 64 << 20);
	set("/a", "memory.max", "67108863");
	assert_int_equal(fixture_number("/a", "memory.max"), (64 << 20) - 4096);
	set("/a", "memory.max", "\"4095\"");
	assert_int_equal(fixture_number("/a", "memory.max"), 0);
	set("/a", "memory.max", "\" 0x10000\\n\"");
	assert_int_equal(fixture_number("/a", "memory.max"), 65536);
	set("/a", "memory.max", "\"  \"");
	assert_int_equal(fixture_number("/a", "memory.max"), 0);
	set("/a", "memory.max", "\"max\"");
	expect_word("/a", "memory.max", "max");
	set("/a", "memory.limit_in_bytes", "-1");
	set("/a", "memory.limit_in_bytes", "\"-1\"");
	refuse("/a", "memory.max", "\"-1\"", "EINVAL");
	refuse("/a", "memory.max", "-1", "EINVAL");
	refuse("/a", "memory.max", "\"1.5M\"", "EINVAL");
	refuse("/a", "memory.max", "\"1kb\"", "EINVAL");
	refuse("/a", "memory.max", "\"+5M\"", "EINVAL");
	refuse("/a", "memory.limit_in_bytes", "\"max\"", "EINVAL");
	refuse("/a", "memory.max", "true", "EINVAL");
	refuse("/a", "memory.max", "1.5", "EINVAL");
	refuse("/a", "memory.max", "null", "EINVAL");
	refuse("/a", "memory.max", "{}", "EINVAL");
}

static void numbers_have_their_ranges(void **state)
{
	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	set("/a", "memory.swappiness", "200");
	set("/a", "memory.swappiness", "\"0x10\"");
	assert_int_equal(fixture_number("/a", "memory.swappiness"), 16);
	refuse("/a", "memory.swappiness", "201", "EINVAL");
	refuse("/a", "memory.swappiness", "\"-1\"", "EINVAL");
	refuse("/a", "memory.swappiness", "\"1x\"", "EINVAL");
	refuse("/a", "memory.swappiness", "\"\"", "EINVAL");
	refuse("/a", "memory.swappiness", "\"99999999999999999999\"", "ERANGE");
	set("/a", "memory.oom.group", "1");
	refuse("/a", "memory.oom.group", "2", "EINVAL");
	set("/a", "memory.move_charge_at_immigrate", "3");
	refuse("/a", "memory.move_charge_at_immigrate", "4", "EINVAL");
	set("/a", "memory.use_hierarchy", "1");
	refuse("/a", "memory.use_hierarchy", "0", "EINVAL");
	assert_int_equal(fixture_number("/a", "memory.use_hierarchy"), 1);
}

static void what_is_not_in_this_version_says_so(void **state)
{
	(void)state;
	set("/", "memory.charge", "\"commit\"");
	set("/", "memory.charge", "\"resident\"");
	refuse("/", "memory.charge", "\"commits\"", "EINVAL");
	set("/", "memory.oom.policy", "\" fail\\n\"");
	set("/", "memory.oom.policy", "\"kill\"");
	set("/", "memory.oom.policy", "\"wait\"");
	refuse("/", "memory.oom.policy", "\"die\"", "EINVAL");
	refuse("/", "memory.kmem.limit_in_bytes", "1", "EOPNOTSUPP");
	fixture_refuse("get", "\"group\":\"/\",\"keys\":[\"memory.zswap.current\"]", "EOPNOTSUPP");
	fixture_refuse("get", "\"group\":\"/\",\"keys\":[\"memory.nope\"]", "ENOENT");
	refuse("/", "memory.nope", "1", "ENOENT");
	refuse("/", "memory.current", "1", "EINVAL");
	refuse("/", "memory.events", "1", "EINVAL");
}

static void the_root_is_the_root(void **state)
{
	(void)state;
	refuse("/", "memory.min", "0", "EINVAL");
	refuse("/", "memory.low", "0", "EINVAL");
	refuse("/", "memory.limit_in_bytes", "\"1G\"", "EINVAL");
	set("/", "memory.soft_limit_in_bytes", "\"1G\"");
	set("/", "memory.max", "\"1G\"");
}

static void several_are_set_all_or_none(void **state)
{
	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	fixture_refuse("set",
		       "\"group\":\"/a\",\"values\":{\"memory.max\":\"1M\",\"memory.swappiness\":5,"
		       "\"memory.high\":\"x\"}",
		       "EINVAL");
	expect_word("/a", "memory.max", "max");
	assert_int_equal(fixture_number("/a", "memory.swappiness"), 60);
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"1M\",\"memory.high\":0}"));
	assert_int_equal(fixture_number("/a", "memory.max"), 1 << 20);
	assert_int_equal(fixture_number("/a", "memory.high"), 0);
	fixture_refuse("create", "\"group\":\"/b\",\"values\":{\"memory.max\":\"no\"}", "EINVAL");
	fixture_refuse("get", "\"group\":\"/b\"", "ENOENT");
}

static void a_v1_limit_stays_above_usage(void **state)
{
	uint32_t m;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	m = fixture_join(fake_add(100, 7), "/a");
	fixture_charge(m, 1000);
	assert_int_equal(fixture_number("/a", "memory.usage_in_bytes"), 1000 * 4096);
	fixture_refuse("set",
		       "\"group\":\"/a\",\"values\":{\"memory.soft_limit_in_bytes\":0,"
		       "\"memory.swappiness\":1,\"memory.limit_in_bytes\":4091904}",
		       "EBUSY");
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 9223372036854771712);
	assert_int_equal(fixture_number("/a", "memory.swappiness"), 60);
	expect_word("/a", "memory.soft", "max");
	set("/a", "memory.limit_in_bytes", "4096000"); /* stocks are drained for it */
	set("/a", "memory.max", "4096");
	assert_int_equal(fixture_number("/a", "memory.max"), 4096);
	assert_int_equal(fixture_number("/a", "memory.current"), 1000 * 4096);
}

static void resets_reset(void **state)
{
	struct actor by = { .seg = &fixture.served->seg };
	uint32_t m;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\",\"values\":{\"memory.max\":4096000}"));
	m = fixture_join(fake_add(100, 7), "/a");
	by.open = &member_of(by.seg, m)->open;
	fixture_charge(m, 900);
	assert_int_equal(charge_try(&by, member_account_at(by.seg, m, 0), 200, NULL), -ENOMEM);
	charge_uncharge(&by, member_account_at(by.seg, m, 0), 800);
	account_class_add(by.seg, member_account_at(by.seg, m, 0), CLASS_HEAP, -800);
	assert_int_equal(fixture_number("/a", "memory.failcnt"), 1);
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 1);
	assert_int_equal(fixture_row("/", "memory.events", "max"), 1);
	assert_int_equal(fixture_row("/", "memory.events.local", "max"), 0);
	assert_true(fixture_number("/a", "memory.peak") >= 900 * 4096);
	set("/a", "memory.failcnt", "\"anything\"");
	set("/a", "memory.peak", "0");
	assert_int_equal(fixture_number("/a", "memory.failcnt"), 0);
	assert_int_equal(fixture_number("/a", "memory.peak"), 100 * 4096);
	assert_int_equal(fixture_number("/a", "memory.max_usage_in_bytes"), 100 * 4096);
	assert_int_equal(fixture_row("/a", "memory.stat", "heap"), 100 * 4096);
	assert_int_equal(fixture_row("/", "memory.stat", "committed"), 100 * 4096);
}

static void stat_begins_as_promised(void **state)
{
	static const char *const first[] = { "committed", "anon",   "heap", "file",    "shmem",
					     "stack",	  "pinned", "swap", "observed" };
	json_t *table = fixture_get("/", "memory.stat");
	void *row = json_object_iter(table);

	(void)state;
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		assert_string_equal(json_object_iter_key(row), first[i]);
		row = json_object_iter_next(table, row);
	}
	json_decref(table);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_table_is_whole),
		TEST(all_that_can_be_read_is_shown),
		TEST(a_new_group_has_the_kernels_defaults),
		TEST(sizes_are_the_kernels),
		TEST(numbers_have_their_ranges),
		TEST(what_is_not_in_this_version_says_so),
		TEST(the_root_is_the_root),
		TEST(several_are_set_all_or_none),
		TEST(a_v1_limit_stays_above_usage),
		TEST(resets_reset),
		TEST(stat_begins_as_promised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
