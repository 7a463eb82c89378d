/* SPDX-License-Identifier: MIT */
/* Whatever bytes come in, one reply goes out; pages hold everything once. */
#include "tests/unit/controld_fixture.h"

#include "accounting/tree.h"

static const struct caller caller = { .pid = 1 };

static void expect_error(const char *packet, size_t size, const char *name)
{
	json_t *reply = fixture_ask_as(&caller, packet, size);

	assert_true(json_is_false(json_object_get(reply, "ok")));
	assert_string_equal(json_string_value(json_object_get(reply, "errno")), name);
	assert_true(strlen(json_string_value(json_object_get(reply, "error"))) > 5);
	json_decref(reply);
}

static void garbage_gets_a_reply(void **state)
{
	static const char *const garbage[] = {
		"",
		"{",
		"[]",
		"null",
		"\"get\"",
		"{}",
		"{\"v\":1}",
		"{\"op\":\"get\"}",
		"{\"v\":\"1\",\"op\":\"get\"}",
		"{\"v\":1,\"op\":7}",
		"{\"v\":1,\"op\":\"hello\",\"v\":1}",
		"{\"v\":1,\"op\":\"hello\"} {}",
		"{\"v\":1,\"op\":\"hel\\u0000lo\"}",
		"{\"v\":1,\"op\":\"\xff\xfe\"}",
		"{\"v\":1,\"op\":\"get\"}",
		"{\"v\":1,\"op\":\"get\",\"group\":5}",
		"{\"v\":1,\"op\":\"get\",\"group\":\"/\",\"keys\":\"memory.max\"}",
		"{\"v\":1,\"op\":\"get\",\"group\":\"/\",\"keys\":[1]}",
		"{\"v\":1,\"op\":\"get\",\"group\":\"/\",\"keyz\":[]}",
		"{\"v\":1,\"op\":\"get\",\"group\":\"/\",\"cursor\":-1}",
		"{\"v\":1,\"op\":\"list\",\"recursive\":1}",
		"{\"v\":1,\"op\":\"set\",\"group\":\"/\",\"values\":[]}",
		"{\"v\":1,\"op\":\"set\",\"group\":\"/\"}",
		"{\"v\":1,\"op\":\"kill\",\"group\":\"/\",\"signal\":\"KILL\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"a\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/a b\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/a/..\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/..\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/.\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"//a\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/a/\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"\"}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/\xc3\xa4\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
		expect_error(garbage[i], strlen(garbage[i]), "EINVAL");
	expect_error("{\"v\":1\0,\"op\":\"hello\"}", 22, "EINVAL");
}

static void errors_have_their_names(void **state)
{
	(void)state;
	expect_error("{\"v\":2,\"op\":\"hello\"}", 20, "EPROTO");
	fixture_refuse("nope", "", "EOPNOTSUPP");
	fixture_refuse("move", "\"pid\":1,\"group\":\"/\"", "ESRCH");
	fixture_refuse("reclaim", "\"group\":\"/\",\"size\":\"1M\"", "EAGAIN");
	fixture_refuse("subscribe", "\"group\":\"/\",\"event\":\"oom\"", "EINVAL"); /* no way to send an eventfd back */
	fixture_refuse("unsubscribe", "\"id\":1", "ENOENT");
	fixture_refuse("get", "\"group\":\"/none\"", "ENOENT");
	fixture_refuse("create", "\"group\":\"/none/below\"", "ENOENT");
	fixture_refuse("create", "\"group\":\"/\"", "EEXIST");
	fixture_refuse("create", "\"group\":\"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17\"", "ELOOP");
	fixture_refuse("create",
		       "\"group\":\"/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567890"
		       "1\"",
		       "ENAMETOOLONG");
	fixture_refuse("join", "\"group\":\"/\"", "ESRCH"); /* pid 1 is not in this world */
}

static void the_deepest_and_the_longest_work(void **state)
{
	char path[GROUP_PATH_MAX + 64] = "", more[GROUP_PATH_MAX + 128];

	(void)state;
	for (int i = 0; i < GROUP_DEPTH_MAX; i++) {
		(void)sprintf(path + strlen(path), "/%c%062d", 'a' + i, i);
		(void)snprintf(more, sizeof(more), "\"group\":\"%s\"", path);
		fixture_drop(fixture_do("create", more));
	}
	fixture_drop(fixture_do("get", more));
	fixture_refuse("create", more, "EEXIST");
	fixture_drop(fixture_do("list", "\"recursive\":true"));
}

static void deep_nesting_is_only_an_error(void **state)
{
	static char deep[PROTO_PACKET_MAX];

	(void)state;
	memset(deep, '[', sizeof(deep));
	expect_error(deep, sizeof(deep), "EINVAL");
	memset(deep, '{', sizeof(deep));
	expect_error(deep, sizeof(deep), "EINVAL");
}

static void long_strings_do_not_break_the_reply(void **state)
{
	static char packet[60000];
	int n = sprintf(packet, "{\"v\":1,\"op\":\"");

	(void)state;
	for (int i = 0; i < 50000; i += 2)
		n += sprintf(packet + n, "\xc3\xa4");
	n += sprintf(packet + n, "\"}");
	expect_error(packet, (size_t)n, "EOPNOTSUPP");
}

/* As many groups as make several pages; each is listed once. */
static void pages_hold_everything_once(void **state)
{
	static bool seen[3000];
	char more[256];
	long long cursor = 0;
	unsigned pages = 0;
	bool again = true;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(more, sizeof(more), "\"group\":\"/%05d%050d\"", i, 0);
		fixture_drop(fixture_do("create", more));
	}
	for (pages = 0; again; pages++) {
		json_t *reply, *row;
		size_t i;

		(void)snprintf(more, sizeof(more), "\"cursor\":%lld", cursor);
		reply = fixture_do("list", more);
		json_array_foreach(json_object_get(reply, "groups"), i, row)
		{
			int g = atoi(json_string_value(json_object_get(row, "group")) + 1);

			(void)sscanf(json_string_value(json_object_get(row, "group")), "/%5d", &g);
			assert_false(seen[g]);
			seen[g] = true;
		}
		again = json_is_true(json_object_get(reply, "more"));
		cursor = json_integer_value(json_object_get(reply, "cursor"));
		json_decref(reply);
	}
	for (int i = 0; i < 3000; i++)
		assert_true(seen[i]);
	assert_true(pages > 3);
}

static void a_cursor_from_nowhere_is_the_end(void **state)
{
	(void)state;
	fixture_drop(fixture_do("list", "\"cursor\":9223372036854775807"));
	fixture_drop(fixture_do("members", "\"cursor\":9223372036854775807"));
	fixture_drop(fixture_do("get", "\"group\":\"/\",\"cursor\":9223372036854775807"));
	fixture_drop(fixture_do("keys", "\"cursor\":99999"));
}

/* Requests with bytes changed at random, the same ones each time. */
static void mutants_do_no_harm(void **state)
{
	static const char *const seeds[] = {
		"{\"v\":1,\"op\":\"create\",\"group\":\"/a\",\"values\":{\"memory.max\":\"1M\"}}",
		"{\"v\":1,\"op\":\"create\",\"group\":\"/a/b\",\"transient\":true}",
		"{\"v\":1,\"op\":\"remove\",\"group\":\"/a\",\"recursive\":true}",
		"{\"v\":1,\"op\":\"set\",\"group\":\"/\",\"values\":{\"memory.soft\":\"1T\"}}",
		"{\"v\":1,\"op\":\"get\",\"group\":\"/\",\"keys\":[\"memory.stat\"],\"cursor\":0}",
		"{\"v\":1,\"op\":\"list\",\"recursive\":true,\"cursor\":1}",
		"{\"v\":1,\"op\":\"kill\",\"group\":\"/\",\"signal\":15}",
	};
	uint64_t x = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char packet[128];
		size_t n = strlen(seeds[i % 7]);

		memcpy(packet, seeds[i % 7], n);
		for (int k = 0; k < i % 4; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			packet[x % n] = (char)(x >> 32);
		}
		json_decref(fixture_ask_as(&caller, packet, n));
	}
	assert_true(tree_consistent(&fixture.served->seg));
	assert_true(snapshot_consistent(&fixture.served->seg, RESOURCE_MEMORY, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(garbage_gets_a_reply),
		TEST(errors_have_their_names),
		TEST(the_deepest_and_the_longest_work),
		TEST(deep_nesting_is_only_an_error),
		TEST(long_strings_do_not_break_the_reply),
		TEST(pages_hold_everything_once),
		TEST(a_cursor_from_nowhere_is_the_end),
		TEST(mutants_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
