/* SPDX-License-Identifier: MIT */
/* memctl ls: lists the groups below a group. */
#include "memctl/command.h"
#include "memctl/groups.h"
#include "memctl/table.h"

static const struct argp_option options[] = {
	{ "recursive", 'R', NULL, 0, "List all groups below, not only those directly below", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *recursive = state->input;

	(void)arg;
	if (key != 'R')
		return ARGP_ERR_UNKNOWN;
	*recursive = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "ls",
	.options = options,
	.option = option,
	.prints = true,
	.most = 1,
	.more = "Without GROUP: below the root. Fields: group, current, max, members, "
		"members_local.",
};

int cmd_ls(int argc, char **argv)
{
	bool recursive = false;
	struct command_words w;
	struct groups g = { 0 };
	struct memctl *m;
	struct table *t;
	int err;

	command_parse(&usage, argc, argv, &recursive, &w);
	m = command_open("ls");
	if (!m)
		return SAY_FAILED;
	err = groups_read(m, w.count ? w.word[0] : "/", recursive ? MEMCTL_RECURSIVE : 0, &g);
	memctl_close(m);
	if (err)
		return say_error("ls", err);
	t = table_new("group", groups_columns, GROUPS_COLUMNS);
	for (size_t i = 0; i < g.n; i++)
		groups_add(t, &g.row[i], g.row[i].path);
	err = table_print(t, "ls", &w.output);
	table_free(t);
	groups_free(&g);
	return err ? err : output_finish("ls");
}
