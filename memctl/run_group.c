/* SPDX-License-Identifier: MIT */
/* memctl run: the group that COMMAND runs in. */
#include "memctl/run.h"

#include "accounting/units.h"
#include "memctl/error.h"
#include "memctl/say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAMES_MAX 100 /* groups of earlier processes with our pid that were kept */
#define LOOK_NS   100000000L

static int use_named(struct memctl *m, const char *named, const char *const *settings,
		     struct run_group *ret)
{
	int err = -EEXIST;

	if (strlen(named) >= sizeof(ret->path))
		return error_set(-ENAMETOOLONG, "the group's path is too long");
	strcpy(ret->path, named);
	if (strcmp(named, "/") != 0)
		err = memctl_create(m, named, MEMCTL_PARENTS, settings);
	if (err == -EEXIST)
		err = *settings ? memctl_set(m, named, settings) : 0;
	return err;
}

/* "/run-PID" below `above` ("" is the root); a number behind it where a kept one is in the way. */
static int make_fresh(struct memctl *m, const char *above, bool keep, const char *const *settings,
		      struct run_group *ret)
{
	int err = -EEXIST;

	for (int i = 1; err == -EEXIST && i < NAMES_MAX; i++) {
		int n = snprintf(ret->path, sizeof(ret->path), "%s/run-%d", above, (int)getpid());

		if (n >= (int)sizeof(ret->path) - 8)
			return error_set(-ENAMETOOLONG, "the group's path is too long");
		if (i > 1)
			(void)snprintf(ret->path + n, sizeof(ret->path) - (size_t)n, "-%d", i);
		err = memctl_create(m, ret->path, keep ? 0 : MEMCTL_TRANSIENT, settings);
	}
	return err;
}

/* Inside a group the new one lies below it: 'memctl run' is no way out of a limit. */
static const char *outer_group(void)
{
	const char *outer = getenv("MEMCTL_GROUP");

	return outer && outer[0] == '/' && outer[1] ? outer : "";
}

int run_group_make(struct memctl *m, const char *named, bool keep, const char *const *settings,
		   struct run_group *ret)
{
	const char *outer = outer_group();
	int err;

	ret->transient = !named && !keep;
	if (named)
		return use_named(m, named, settings, ret);
	err = make_fresh(m, outer, keep, settings, ret);
	if (err == -ENOENT && outer[0]) /* of another daemon's tree, or gone */
		err = make_fresh(m, "", keep, settings, ret);
	return err;
}

bool run_group_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (path[1] == 0)
		return false;
	slash[slash == path] = 0;
	return true;
}

/* 0: there is room; 1: not now; negative: never. */
static int look_at(struct memctl *m, const char *path, uint64_t need)
{
	char size[UNITS_BUF], limit[UNITS_BUF];
	uint64_t max, current;
	int err = memctl_get_number(m, path, "memory.max", &max);

	if (!err)
		err = memctl_get_number(m, path, "memory.current", &current);
	if (err || max == MEMCTL_MAX)
		return err;
	if (max < need)
		return error_set(-E2BIG, "%s can never be free in %s, whose memory.max is %s",
				 units_format(need, size), path, units_format(max, limit));
	return current > max - need;
}

static int look_at_all(struct memctl *m, const struct run_group *g, uint64_t need, char *ret_full)
{
	char path[GROUP_PATH_MAX];
	int full = 0;

	strcpy(path, g->path);
	do {
		int err = look_at(m, path, need);

		if (err < 0)
			return err;
		if (err && !full)
			strcpy(ret_full, path);
		full |= err;
	} while (run_group_up(path));
	return full;
}

int run_group_wait_for_room(struct memctl *m, const struct run_group *g, uint64_t need)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	char full[GROUP_PATH_MAX], size[UNITS_BUF];
	bool said = false;
	int err;

	while ((err = look_at_all(m, g, need, full)) == 1) {
		if (!said)
			say_note("run", "waiting until %s is free in %s", units_format(need, size),
				 full);
		said = true;
		(void)nanosleep(&pause, NULL);
	}
	return err;
}
