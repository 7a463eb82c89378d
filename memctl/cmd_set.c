/* SPDX-License-Identifier: MIT */
/* memctl set: sets keys of a group. */
#include "memctl/command.h"

static const struct command_usage usage = {
	.name = "set",
	.least = 2,
	.most = -1,
	.missing = "GROUP KEY=VALUE is wanted, such as /demo memory.max=64M",
	.more = "Sizes are bytes, with K M G T P or E behind them (powers of 1024), or max. When "
		"one setting is refused, none is made.",
};

int cmd_set(int argc, char **argv)
{
	struct command_words w;
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, NULL, &w);
	m = command_open("set");
	if (!m)
		return SAY_FAILED;
	err = memctl_set(m, w.word[0], (const char *const *)w.word + 1);
	memctl_close(m);
	return err ? say_error("set", err) : SAY_OK;
}
