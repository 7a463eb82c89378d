/* SPDX-License-Identifier: MIT */
/* memctl reclaim: makes a group give memory back. */
#include "memctl/command.h"

#include "accounting/units.h"
#include "memctl/progress.h"

#include <stdio.h>

static const struct argp_option options[] = {
	{ "verbose", 'v', NULL, 0, "Say how much was given back", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *verbose = state->input;

	(void)arg;
	if (key != 'v')
		return ARGP_ERR_UNKNOWN;
	*verbose = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "reclaim",
	.options = options,
	.option = option,
	.least = 2,
	.most = 2,
	.missing = "GROUP and SIZE are missing: a path such as /demo, and 64M or max",
	.more = "Fails when less than SIZE was given back, and says how much it was.",
};

int cmd_reclaim(int argc, char **argv)
{
	char size[UNITS_BUF];
	struct command_words w;
	bool verbose = false;
	uint64_t bytes = 0;
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, &verbose, &w);
	m = command_open("reclaim");
	if (!m)
		return SAY_FAILED;
	progress_start("reclaim", w.word[0]);
	err = memctl_reclaim(m, w.word[0], w.word[1], &bytes);
	progress_stop();
	memctl_close(m);
	if (err)
		return say_error("reclaim", err);
	if (verbose)
		(void)printf("%s gave %s back\n", w.word[0], units_format(bytes, size));
	return output_finish("reclaim");
}
