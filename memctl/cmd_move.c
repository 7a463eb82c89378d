/* SPDX-License-Identifier: MIT */
/* memctl move: moves a running process to another group. */
#include "memctl/command.h"
#include "memctl/progress.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static const struct argp_option options[] = {
	{ "charges", 'c', "WHAT", 0,
	  "Take along what it has charged: anon, file or anon,file (default: the group's "
	  "memory.move_charge_at_immigrate)",
	  0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	const char **charges = state->input;

	if (key != 'c')
		return ARGP_ERR_UNKNOWN;
	*charges = arg;
	return 0;
}

static const struct command_usage usage = {
	.name = "move",
	.options = options,
	.option = option,
	.least = 2,
	.most = 2,
	.missing = "PID and GROUP are missing: a process number and a path such as /demo",
};

/* 0: not one. */
static pid_t parse_pid(const char *text)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(text, &end, 10);
	return errno || *end || end == text || pid < 1 || pid > INT_MAX ? 0 : (pid_t)pid;
}

int cmd_move(int argc, char **argv)
{
	const char *charges = NULL;
	struct command_words w;
	struct memctl *m;
	pid_t pid;
	int err;

	command_parse(&usage, argc, argv, &charges, &w);
	pid = parse_pid(w.word[0]);
	if (!pid) {
		(void)say_failed("move", "'%s' is not the number of a process: 'memctl ps' lists them", w.word[0]);
		return SAY_USAGE;
	}
	m = command_open("move");
	if (!m)
		return SAY_FAILED;
	progress_start("move", w.word[1]);
	err = memctl_move(m, pid, w.word[1], charges);
	progress_stop();
	memctl_close(m);
	return err ? say_error("move", err) : 0;
}
