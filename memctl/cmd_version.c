/* SPDX-License-Identifier: MIT */
/* memctl version: prints the versions. */
#include "memctl/command.h"
#include "memctl/values.h"

#include <string.h>

static const struct table_column columns[] = {
	{ "part", TABLE_TEXT, "memctl or memctld" },
	{ "version", TABLE_TEXT, "its version" },
};

static const struct command_usage usage = {
	.name = "version",
	.prints = true,
	.more = "The daemon's version is printed when one runs. Fields: part, version.",
};

static int keep_version(const struct memctl_value *value, void *arg)
{
	if (strcmp(value->key, "version") == 0)
		values_add_text(arg, "memctld", value->text);
	return 0;
}

static void ask_daemon(struct values *v)
{
	struct memctl *m;

	if (memctl_open(NULL, MEMCTL_NO_START, &m))
		return;
	(void)memctl_status(m, keep_version, v);
	memctl_close(m);
}

int cmd_version(int argc, char **argv)
{
	struct command_words w;
	struct values v = { 0 };
	struct table *t = table_new("version", columns, 2);
	int bad = 0;

	command_parse(&usage, argc, argv, NULL, &w);
	values_add_text(&v, "memctl", memctl_version());
	ask_daemon(&v);
	for (size_t i = 0; i < v.n; i++) {
		table_text(t, v.row[i].value.key);
		table_text(t, v.row[i].value.text);
	}
	table_set_plain(t);
	if (w.output.format == OUTPUT_JSON || w.output.format == OUTPUT_JSONL)
		values_print_json(&v, w.output.format == OUTPUT_JSONL);
	else
		bad = table_print(t, "version", &w.output);
	table_free(t);
	values_free(&v);
	return bad ? bad : output_finish("version");
}
