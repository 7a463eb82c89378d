/* SPDX-License-Identifier: MIT */
/* The command's commands: their table, and the arguments they have in common. */
#ifndef MEMCTL_COMMAND_H
#define MEMCTL_COMMAND_H

#include "memctl/memctl.h"
#include "memctl/output.h"
#include "memctl/say.h"

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

struct command {
	const char *name;
	const char *arguments; /* as in its usage */
	const char *sentence;
	/* Returns the exit status. NULL: not in this version. */
	int (*carry_out)(int argc, char **argv);
};

#define COMMAND(name, arguments, sentence) int cmd_##name(int argc, char **argv);
#define LATER(name)
#include "memctl/commands.def"
#undef COMMAND
#undef LATER

/* The table, in the order help shows it; a row without a name ends it. */
extern const struct command commands[];

/* NULL: no such command. */
const struct command *command_find(const char *name);

/* What a command's arguments look like. */
struct command_usage {
	const char *name;						 /* the command's */
	const struct argp_option *options;				 /* its own, or NULL */
	error_t (*option)(int key, char *arg, struct argp_state *state); /* state->input is `own` */
	bool prints;							 /* it has the options of struct output */
	bool in_order;							 /* options end at the first word */
	int least, most;						 /* words wanted; most -1: any number */
	const char *missing;						 /* what to say when there are too few */
	const char *more; /* for --help, after the options; NULL: nothing */
};

/* What they were. */
struct command_words {
	char **word; /* ends with NULL, as argv does */
	int count;
	struct output output;
};

/* Parses; on a mistake says so and exits with argp_err_exit_status. */
void command_parse(const struct command_usage *u, int argc, char **argv, void *own, struct command_words *ret);

/* A connection; on failure says so, and NULL. */
struct memctl *command_open(const char *name);

#endif
