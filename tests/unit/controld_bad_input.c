/* SPDX-License-Identifier: MIT */
/* Bad input to each key of memory: refused as the kernel refuses it, with a sentence that names the key. */
#include "tests/unit/giver_fixture.h"

#include "controld/key.h"

#define PAGE 4096

static const struct {
	const char *key, *text, *refused; /* refused: "0", or the name of the error */
} inputs[] = {
#define INPUT(key, text, error) { key, text, #error },
#define V2(key, text, error) { key, text, #error },
#include "tests/unit/bad_input.def"
#undef INPUT
#undef V2
};
#define INPUTS (sizeof(inputs) / sizeof(inputs[0]))

/* NULL: it succeeded. The sentence, at most 255 bytes of it, is copied. */
static const char *answer(const char *op, const char *group, const char *key, const char *text, char *ret_sentence)
{
	static char name[32];
	json_t *request =
		strcmp(op, "set")
			? json_pack("{s:i,s:s,s:s,s:[s]}", "v", 1, "op", op, "group", group, "keys", key)
			: json_pack("{s:i,s:s,s:s,s:{s:s}}", "v", 1, "op", op, "group", group, "values", key, text);
	static const struct caller caller = { .pid = 1 };
	char *packet = json_dumps(request, JSON_COMPACT);
	json_t *reply = fixture_ask_as(&caller, packet, strlen(packet));
	bool ok = json_is_true(json_object_get(reply, "ok"));

	*ret_sentence = 0;
	if (!ok) {
		(void)snprintf(name, sizeof(name), "%s", json_string_value(json_object_get(reply, "errno")));
		(void)snprintf(ret_sentence, 256, "%s", json_string_value(json_object_get(reply, "error")));
	}
	json_decref(request);
	json_decref(reply);
	free(packet);
	return ok ? NULL : name;
}

static void expect(const char *op, const char *group, const char *key, const char *text, const char *error)
{
	char sentence[256];
	const char *name = answer(op, group, key, text, sentence);

	if (strcmp(name ? name : "0", error) != 0)
		fail_msg("%s %s %s='%s': %s instead of %s: %s", op, group, key, text, name ? name : "0", error,
			 sentence);
	if (name && (!strstr(sentence, key) || strlen(sentence) < strlen(key) + 10))
		fail_msg("%s %s %s='%s': no sentence: %s", op, group, key, text, sentence);
}

static void each_is_refused_as_by_the_kernel(void **state)
{
	(void)state;
	giver_make_group("/a");
	for (size_t i = 0; i < INPUTS; i++)
		expect("set", "/a", inputs[i].key, inputs[i].text, inputs[i].refused);
}

static bool is_in_table(const char *key)
{
	for (size_t i = 0; i < INPUTS; i++)
		if (strcmp(inputs[i].key, key) == 0)
			return true;
	return false;
}

/* Keys that are not in the table have one way to be used wrongly at most. */
static void what_a_key_is_not_for_is_refused(void **state)
{
	size_t n;
	const struct key *table = key_table(&n);

	(void)state;
	giver_make_group("/a");
	for (size_t i = 0; i < n; i++) {
		const struct key *k = &table[i];

		if (strncmp(k->name, "memory.", 7) != 0)
			continue;
		if (k->access == KEY_NO) {
			expect("get", "/a", k->name, "", "EOPNOTSUPP");
			expect("set", "/a", k->name, "1", "EOPNOTSUPP");
		} else if (k->access == KEY_R) {
			expect("set", "/a", k->name, "1", "EINVAL");
		} else if (k->access == KEY_W) {
			expect("get", "/a", k->name, "", "EINVAL");
		}
		if (k->access & KEY_W && strcmp(k->name, "memory.oom.hook") != 0 && !is_in_table(k->name))
			fail_msg("%s is not in bad_input.def", k->name);
	}
}

static void the_root_has_not_all(void **state)
{
	static const struct {
		const char *key, *text, *refused;
	} of_root[] = {
		{ "memory.limit_in_bytes", "1G", "EINVAL" },
		{ "memory.limit_in_bytes", "-1", "EINVAL" },
		{ "memory.memsw.limit_in_bytes", "1G", "EINVAL" },
		{ "memory.force_empty", "0", "EINVAL" },
		{ "memory.oom_control", "1", "EINVAL" },
		{ "memory.oom_control", "0", "EINVAL" },
		{ "memory.min", "0", "EINVAL" },
		{ "memory.low", "0", "EINVAL" },
		{ "memory.soft_limit_in_bytes", "-1", "0" },
		{ "memory.failcnt", "0", "0" },
		{ "memory.max_usage_in_bytes", "0", "0" },
		{ "memory.reclaim", "0", "0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of_root) / sizeof(of_root[0]); i++)
		expect("set", "/", of_root[i].key, of_root[i].text, of_root[i].refused);
}

/* 1000 pages in use, of which none can be had. */
static void what_is_in_use_decides(void **state)
{
	static const struct {
		const char *key, *text, *refused;
	} in_turn[] = {
		{ "memory.limit_in_bytes", "4M", "0" },
		{ "memory.limit_in_bytes", "1M", "EBUSY" },
		{ "memory.memsw.limit_in_bytes", "3M", "EINVAL" }, /* below memory.limit_in_bytes */
		{ "memory.memsw.limit_in_bytes", "5M", "0" },
		{ "memory.limit_in_bytes", "6M", "EINVAL" }, /* above memory.memsw.limit_in_bytes */
		{ "memory.limit_in_bytes", "-1", "EINVAL" },
		{ "memory.memsw.limit_in_bytes", "-1", "0" },
		{ "memory.max", "1M", "0" }, /* v2: at once */
		{ "memory.memsw.limit_in_bytes", "2M", "EBUSY" },
		{ "memory.high", "1M", "0" },
		{ "memory.swap.max", "0", "0" },
		{ "memory.soft", "0", "0" },
		{ "memory.reclaim", "1M", "EAGAIN" },
		{ "memory.reclaim", "max", "EAGAIN" },
		{ "memory.force_empty", "0", "0" }, /* whatever is left */
	};

	(void)state;
	giver_make_group("/a");
	(void)giver_join(100, "/a", 1000, 0);
	fixture_turn();
	for (size_t i = 0; i < sizeof(in_turn) / sizeof(in_turn[0]); i++) {
		char sentence[256];
		const char *name = answer("set", "/a", in_turn[i].key, in_turn[i].text, sentence);

		if (strcmp(name ? name : "0", in_turn[i].refused) != 0 || (name && strlen(sentence) < 20))
			fail_msg("%s='%s': %s instead of %s: %s", in_turn[i].key, in_turn[i].text, name ? name : "0",
				 in_turn[i].refused, sentence);
	}
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 1 << 20);
	assert_int_equal(fixture_number("/a", "memory.current"), 1000 * PAGE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(each_is_refused_as_by_the_kernel),
		TEST(what_a_key_is_not_for_is_refused),
		TEST(the_root_has_not_all),
		TEST(what_is_in_use_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
