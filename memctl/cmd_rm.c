/* SPDX-License-Identifier: MIT */
/* memctl rm: removes groups. */
#include "memctl/command.h"

static const struct argp_option options[] = {
	{ "recursive", 'r', NULL, 0, "Remove all groups below them too", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *recursive = state->input;

	(void)arg;
	if (key != 'r')
		return ARGP_ERR_UNKNOWN;
	*recursive = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "rm",
	.options = options,
	.option = option,
	.least = 1,
	.most = -1,
	.missing = "GROUP is missing: a path such as /demo",
	.more = "A group with members stays; 'memctl kill GROUP' ends them.",
};

int cmd_rm(int argc, char **argv)
{
	bool recursive = false;
	struct command_words w;
	struct memctl *m;
	int status = SAY_OK;

	command_parse(&usage, argc, argv, &recursive, &w);
	m = command_open("rm");
	if (!m)
		return SAY_FAILED;
	for (int i = 0; i < w.count; i++) {
		int err = memctl_remove(m, w.word[i], recursive ? MEMCTL_RECURSIVE : 0);

		if (err)
			status = say_error("rm", err);
	}
	memctl_close(m);
	return status;
}
