/* SPDX-License-Identifier: MIT */
/* memctl ps: lists the members of a group. */
#include "memctl/command.h"
#include "memctl/table.h"

#include <stdio.h>

static const struct table_column columns[] = {
	{ "pid", TABLE_ID, "the process" },
	{ "group", TABLE_TEXT, "its group" },
	{ "held", TABLE_BYTES, "memory charged to the member" },
	{ "refused", TABLE_TOTAL, "charges the member was refused" },
	{ "state", TABLE_TEXT, "live or observed" },
	{ "flags", TABLE_NOTE, "what is special about it" },
	{ "comm", TABLE_TEXT, "its name" },
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct argp_option options[] = {
	{ "local", 'l', NULL, 0, "Only members of GROUP itself, not of groups below it", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *local = state->input;

	(void)arg;
	if (key != 'l')
		return ARGP_ERR_UNKNOWN;
	*local = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "ps",
	.options = options,
	.option = option,
	.prints = true,
	.most = 1,
	.more = "Without GROUP: all members. Fields: pid, group, held, refused, state, flags, "
		"comm.",
};

static int add(const struct memctl_member *member, void *arg)
{
	struct table *t = arg;

	table_number(t, (uint64_t)member->pid);
	table_text(t, member->group);
	table_number(t, member->held);
	table_number_coloured(t, member->refused, member->refused ? "\033[31m" : "");
	table_text(t, member->state);
	table_text(t, member->flags);
	table_text(t, member->comm);
	return 0;
}

int cmd_ps(int argc, char **argv)
{
	bool local = false;
	struct command_words w;
	struct memctl *m;
	struct table *t;
	int err;

	command_parse(&usage, argc, argv, &local, &w);
	if (!w.output.sort && output_is_for_people(&w.output) && w.output.format == OUTPUT_TABLE)
		w.output.sort = "held"; /* who is looked for is mostly large */
	m = command_open("ps");
	if (!m)
		return SAY_FAILED;
	t = table_new("member", columns, COLUMNS);
	err = memctl_members(m, w.count ? w.word[0] : "/", local ? MEMCTL_LOCAL : 0, add, t);
	memctl_close(m);
	err = err ? say_error("ps", err) : table_print(t, "ps", &w.output);
	table_free(t);
	return err ? err : output_finish("ps");
}
