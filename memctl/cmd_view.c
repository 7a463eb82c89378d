/* SPDX-License-Identifier: MIT */
/* memctl top, plot, doctor and export: programs of their own, for the libraries they want would
 * slow every other command. */
#include "memctl/command.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside us, as in the build; else where it was installed. */
static void find(const char *name, char ret_path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
	char *slash;

	ret_path[n > 0 ? n : 0] = 0;
	slash = strrchr(ret_path, '/');
	if (slash && slash - ret_path + strlen(name) + 9 < PATH_MAX) {
		(void)sprintf(slash + 1, "memctl-%s", name);
		if (access(ret_path, X_OK) == 0)
			return;
	}
	(void)snprintf(ret_path, PATH_MAX, "%s/memctl-%s", PKGLIBEXECDIR, name);
}

static int view(const char *name, const char *library, char **argv)
{
	char path[PATH_MAX];

	find(name, path);
	if (!argv[0]) /* memctl help */
		argv[0] = (char *)(uintptr_t)name;
	(void)execv(path, argv);
	if (errno == ENOENT)
		return say_failed(name, "it was not built, for want of %s; configure says what to install", library);
	return say_failed(name, "cannot run %s: %m", path);
}

int cmd_top(int argc, char **argv)
{
	(void)argc;
	return view("top", "ncursesw", argv);
}

int cmd_plot(int argc, char **argv)
{
	(void)argc;
	return view("plot", "its program", argv);
}

int cmd_doctor(int argc, char **argv)
{
	(void)argc;
	return view("doctor", "libelf", argv);
}

int cmd_profile(int argc, char **argv)
{
	(void)argc;
	return view("profile", "its program", argv);
}

int cmd_export(int argc, char **argv)
{
	(void)argc;
	return view("export", "libmicrohttpd", argv);
}
