/* SPDX-License-Identifier: MIT */
/* memctl get: prints keys of a group. */
#include "memctl/command.h"
#include "memctl/values.h"

#include <ctype.h>
#include <stdio.h>

static const struct table_column columns[] = {
	{ "key", TABLE_TEXT, "the key" },
	{ "value", TABLE_TEXT, "what it is worth" },
};

static const struct command_usage usage = {
	.name = "get",
	.prints = true,
	.least = 1,
	.most = -1,
	.missing = "GROUP is missing: a path such as /demo, or / for the root",
	.more = "One KEY: its value alone; several, or none for all that can be read: 'key "
		"value' lines. Fields: key, value.",
};

/* One key is printed without its name; if it has fields, with theirs. */
static int print_lines(const struct values *v, struct output *o, bool one_key)
{
	struct table *t = table_new("value", columns, 2);
	bool has_fields = v->n && v->row[0].value.field;
	char name[160];
	int bad;

	for (size_t i = 0; i < v->n; i++) {
		const struct values_row *row = &v->row[i];

		table_text(t, one_key && row->value.field ? row->value.field : values_name(row, name, sizeof(name)));
		values_cell(t, row);
	}
	table_set_plain(t);
	if (one_key && !has_fields && !o->fields && o->format == OUTPUT_TABLE)
		o->fields = "value";
	bad = table_print(t, "get", o);
	table_free(t);
	return bad;
}

/* A report has lines; of what else a terminal would obey, nothing is printed. */
static bool print_report(const struct values *v, const struct command_words *w)
{
	if (w->output.format != OUTPUT_TABLE || w->output.fields || w->count != 2 || v->n != 1 ||
	    v->row->value.is_number || v->row->value.field)
		return false;
	for (const char *p = v->row->value.text; *p; p++)
		(void)putchar(iscntrl((unsigned char)*p) && *p != '\n' ? '?' : *p);
	(void)putchar('\n');
	return true;
}

static int print(const struct values *v, const struct command_words *w)
{
	struct output o = w->output;

	if (print_report(v, w))
		return 0;
	switch (o.format) {
	case OUTPUT_JSON:
	case OUTPUT_JSONL:
		values_print_json(v, o.format == OUTPUT_JSONL);
		return 0;
	case OUTPUT_OPENMETRICS:
		values_print_metrics(v, w->word[0]);
		return 0;
	default:
		return print_lines(v, &o, w->count == 2);
	}
}

int cmd_get(int argc, char **argv)
{
	struct command_words w;
	struct values v = { 0 };
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, NULL, &w);
	m = command_open("get");
	if (!m)
		return SAY_FAILED;
	err = memctl_get(m, w.word[0], (const char *const *)w.word + 1, values_keep, &v);
	if (!err && (output_is_for_people(&w.output) || w.output.format == OUTPUT_OPENMETRICS))
		err = values_explain(&v, m);
	memctl_close(m);
	err = err ? say_error("get", err) : print(&v, &w);
	values_free(&v);
	return err ? err : output_finish("get");
}
