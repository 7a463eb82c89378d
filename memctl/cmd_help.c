/* SPDX-License-Identifier: MIT */
/* memctl help: explains memctl or one of its commands. */
#include "memctl/command.h"

#include <stdio.h>
#include <string.h>

static const struct argp_option options[] = {
	{ "names", 'n', NULL, 0, "The commands' names alone, one a line", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *names = state->input;

	(void)arg;
	if (key != 'n')
		return ARGP_ERR_UNKNOWN;
	*names = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "help",
	.options = options,
	.option = option,
	.most = 1,
};

static void print_overview(void)
{
	(void)puts("Usage: memctl COMMAND [ARGUMENT...]\n"
		   "Groups of processes with memory limits, without privilege.\n");
	for (const struct command *c = commands; c->name; c++)
		if (c->carry_out)
			(void)printf("  %-8s %s\n", c->name, c->sentence);
	(void)puts("\nA GROUP is a path such as /build/tests. 'memctl help COMMAND' or 'memctl "
		   "COMMAND --help' "
		   "explains\na command; memctl(1) has the keys, memctl(7) the model.");
}

static void print_names(void)
{
	for (const struct command *c = commands; c->name; c++)
		if (c->carry_out)
			(void)puts(c->name);
}

static int explain(const char *name)
{
	char asked[] = "--help";
	char *argv[] = { NULL, asked, NULL };
	const struct command *c = command_find(name);

	if (c && c->carry_out)
		return c->carry_out(2, argv); /* argp prints and exits */
	(void)say_failed("help", c ? "%s: not in this version" : "no such command: '%s'; 'memctl help' lists them",
			 name);
	return SAY_USAGE;
}

int cmd_help(int argc, char **argv)
{
	bool names = false;
	struct command_words w;

	command_parse(&usage, argc, argv, &names, &w);
	if (w.count)
		return explain(w.word[0]);
	if (names)
		print_names();
	else
		print_overview();
	return output_finish("help");
}
