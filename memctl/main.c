/* SPDX-License-Identifier: MIT */
/* memctl: finds the command and lets it go. */
#include "memctl/command.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static int no_command(const char *name)
{
	const struct command *c = command_find(name);

	if (c)
		return say_failed("", "%s: not in this version", c->name);
	(void)say_failed("", "no such command: '%s'; 'memctl help' lists them", name);
	return SAY_USAGE;
}

static const char *meant(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0)
		return "help";
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return "version";
	return word;
}

int main(int argc, char **argv)
{
	const struct command *c;

	(void)setlocale(LC_CTYPE, "");
	argp_err_exit_status = SAY_USAGE;
	if (argc < 2) {
		(void)say_failed("", "a command is missing; 'memctl help' lists them");
		return SAY_USAGE;
	}
	c = command_find(meant(argv[1]));
	if (!c || !c->carry_out)
		return no_command(argv[1]);
	return c->carry_out(argc - 1, argv + 1);
}
