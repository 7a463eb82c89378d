/* SPDX-License-Identifier: MIT */
/* Values of keys: each line's first byte says which key of keys.def, the rest is what it is set to. What was refused
 * has changed nothing, and what was taken can be read. */
#include "tests/fuzz/fuzz.h"

#include "controld/key.h"
#include "tests/unit/controld_fixture.h"

static json_t *ask(json_t *packet)
{
	static const struct caller caller = { .pid = 1 };
	char *text = json_dumps(packet, 0);
	json_t *reply = fixture_ask_as(&caller, text, strlen(text));

	free(text);
	json_decref(packet);
	return reply;
}

static json_t *get(const char *key)
{
	return ask(json_pack("{s:i, s:s, s:s, s:[s]}", "v", 1, "op", "get", "group", "/a", "keys", key));
}

static void set(const char *key, const char *value, size_t size)
{
	json_t *text = json_stringn(value, size), *before, *reply, *after;

	if (!text)
		return;
	before = get(key);
	reply = ask(json_pack("{s:i, s:s, s:s, s:{s:o}}", "v", 1, "op", "set", "group", "/a", "values", key, text));
	after = get(key);
	if (json_is_false(json_object_get(reply, "ok")) && !json_equal(before, after))
		abort();
	json_decref(before);
	json_decref(reply);
	json_decref(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t keys;
	const struct key *table = key_table(&keys);

	(void)fixture_setup(NULL);
	json_decref(fixture_do("create", "\"group\":\"/a\""));
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t n = end ? (size_t)(end - data) : size;

		if (n)
			set(table[data[0] % keys].name, (const char *)data + 1, n - 1);
		data += n + (end != NULL);
		size -= n + (end != NULL);
	}
	(void)fixture_teardown(NULL);
	return 0;
}
