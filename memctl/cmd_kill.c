/* SPDX-License-Identifier: MIT */
/* memctl kill: sends a signal to all members of a group. */
#include "memctl/command.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct argp_option options[] = {
	{ "signal", 's', "SIGNAL", 0, "Name or number of the signal (default KILL)", 0 },
	{ "verbose", 'v', NULL, 0, "Say how many members got it", 0 },
	{ 0 },
};

struct wish {
	int signal;
	bool verbose;
};

/* TERM, SIGTERM, term or 15; 0: none of these. */
static int find_signal(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (isdigit((unsigned char)*text))
		return *end == 0 && number > 0 && number <= SIGRTMAX ? (int)number : 0;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int s = 1; s <= SIGRTMAX; s++) {
		const char *known = sigabbrev_np(s);

		if (known && strcasecmp(known, text) == 0)
			return s;
	}
	return 0;
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *wish = state->input;

	switch (key) {
	case 's':
		wish->signal = find_signal(arg);
		if (!wish->signal)
			argp_error(state, "no such signal: '%s'; 'kill -l' lists them", arg);
		return 0;
	case 'v':
		wish->verbose = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "kill",
	.options = options,
	.option = option,
	.least = 1,
	.most = 1,
	.missing = "GROUP is missing: a path such as /demo",
};

int cmd_kill(int argc, char **argv)
{
	struct wish wish = { .signal = SIGKILL };
	struct command_words w;
	struct memctl *m;
	int n;

	command_parse(&usage, argc, argv, &wish, &w);
	m = command_open("kill");
	if (!m)
		return SAY_FAILED;
	n = memctl_kill(m, w.word[0], wish.signal);
	memctl_close(m);
	if (n < 0)
		return say_error("kill", n);
	if (wish.verbose)
		(void)printf("%d member%s of %s got SIG%s\n", n, n == 1 ? "" : "s", w.word[0],
			     sigabbrev_np(wish.signal) ? sigabbrev_np(wish.signal) : "RT");
	return output_finish("kill");
}
