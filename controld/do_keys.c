/* SPDX-License-Identifier: MIT */
/* keys: the keys that groups have, for help and completion. */
#include "controld/command.h"
#include "controld/key.h"
#include "controld/page.h"

static const char *access_name(const struct key *k)
{
	return k->access == KEY_R ? "r" : k->access == KEY_W ? "w" : k->access == KEY_RW ? "rw" : "-";
}

static const char *format_name(const struct key *k)
{
	static const char *const names[] = {
		[FORMAT_NONE] = "none",		  [FORMAT_BYTES] = "bytes",	  [FORMAT_COUNT] = "count",
		[FORMAT_NUMBER] = "number",	  [FORMAT_WORD] = "word",	  [FORMAT_COUNT_MAP] = "count-map",
		[FORMAT_BYTES_MAP] = "bytes-map", [FORMAT_WORD_MAP] = "word-map", [FORMAT_TEXT] = "text",
	};

	return names[k->format];
}

int do_keys(struct request *r, json_t *reply)
{
	struct page page = { .rows = json_array() };
	size_t n;
	const struct key *keys = key_table(&n);

	for (size_t i = command_number(r, "cursor", 0); i < n; i++)
		if (!page_add(&page, i, NULL,
			      json_pack("{s:s, s:s, s:s, s:s}", "name", keys[i].name, "access", access_name(&keys[i]),
					"format", format_name(&keys[i]), "help", keys[i].sentence)))
			break;
	return page_end(&page, reply, "keys");
}
