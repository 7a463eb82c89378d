/* SPDX-License-Identifier: MIT */
/* memctl run: the group that COMMAND runs in. */
#include "memctl/run.h"

#include "memctl/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_MAX 100 /* groups of earlier processes with our pid that were kept */

static int use_named(struct memctl *m, const char *named, const char *const *settings, struct run_group *ret)
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

int run_group_make(struct memctl *m, const char *named, bool keep, const char *const *settings, struct run_group *ret)
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
