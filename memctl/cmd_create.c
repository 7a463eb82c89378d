/* SPDX-License-Identifier: MIT */
/* memctl create: makes a group. */
#include "memctl/command.h"

#include <errno.h>

static const struct argp_option options[] = {
	{ "parents", 'p', NULL, 0, "Make missing groups above it too; one that exists is set", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	bool *parents = state->input;

	(void)arg;
	if (key != 'p')
		return ARGP_ERR_UNKNOWN;
	*parents = true;
	return 0;
}

static const struct command_usage usage = {
	.name = "create",
	.options = options,
	.option = option,
	.least = 1,
	.most = -1,
	.missing = "GROUP is missing: a path such as /demo",
	.more = "A setting that is refused makes no group.",
};

static const char *const *settings_of(const struct command_words *w)
{
	return (const char *const *)w->word + 1;
}

int cmd_create(int argc, char **argv)
{
	bool parents = false;
	struct command_words w;
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, &parents, &w);
	m = command_open("create");
	if (!m)
		return SAY_FAILED;
	err = memctl_create(m, w.word[0], parents ? MEMCTL_PARENTS : 0, settings_of(&w));
	if (err == -EEXIST && parents)
		err = w.count > 1 ? memctl_set(m, w.word[0], settings_of(&w)) : 0;
	memctl_close(m);
	return err ? say_error("create", err) : SAY_OK;
}
