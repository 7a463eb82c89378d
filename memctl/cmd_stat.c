/* SPDX-License-Identifier: MIT */
/* memctl stat: explains what a group has. */
#include "memctl/command.h"
#include "memctl/values.h"

static const struct table_column columns[] = {
	{ "item", TABLE_TEXT, "key, or key and field" },
	{ "value", TABLE_TEXT, "what it is worth" },
	{ "meaning", TABLE_NOTE, "a sentence" },
};

static const struct command_usage usage = {
	.name = "stat",
	.prints = true,
	.least = 1,
	.most = 1,
	.missing = "GROUP is missing: a path such as /demo, or / for the root",
	.more = "Fields: item, value, meaning.",
};

static const char *const keys[] = {
	"memory.current",
	"memory.peak",
	"memory.max",
	"memory.high",
	"memory.low",
	"memory.min",
	"memory.soft",
	"memory.charge",
	"memory.oom.policy",
	"memory.failcnt",
	"memory.events",
	"memory.stat",
	NULL,
};

static int print(const struct values *v, const struct command_words *w)
{
	struct table *t;
	char name[160];
	int bad;

	if (w->output.format == OUTPUT_JSON || w->output.format == OUTPUT_JSONL) {
		values_print_json(v, w->output.format == OUTPUT_JSONL);
		return 0;
	}
	if (w->output.format == OUTPUT_OPENMETRICS) {
		values_print_metrics(v, w->word[0]);
		return 0;
	}
	t = table_new("stat", columns, 3);
	for (size_t i = 0; i < v->n; i++) {
		table_text(t, values_name(&v->row[i], name, sizeof(name)));
		values_cell(t, &v->row[i]);
		table_text(t, v->row[i].meaning ? v->row[i].meaning : "");
	}
	bad = table_print(t, "stat", &w->output);
	table_free(t);
	return bad;
}

int cmd_stat(int argc, char **argv)
{
	struct command_words w;
	struct values v = { 0 };
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, NULL, &w);
	m = command_open("stat");
	if (!m)
		return SAY_FAILED;
	err = memctl_get(m, w.word[0], keys, values_keep, &v);
	if (!err)
		err = values_explain(&v, m);
	memctl_close(m);
	err = err ? say_error("stat", err) : print(&v, &w);
	values_free(&v);
	return err ? err : output_finish("stat");
}
