/* SPDX-License-Identifier: MIT */
/* memctl run: whether the program takes the library for device memory, which costs it an interposed
 * dlsym. */
#include "memctl/run.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *run_device_library(void)
{
	const char *path = getenv("MEMCTL_PRELOAD_DEVICE");

	return path && *path ? path : PKGLIBDIR "/libmemctl-device.so";
}

/* A container may have any of a machine's devices. */
static bool is_any_in(const char *directory, const char *beginning)
{
	DIR *d = opendir(directory);
	const struct dirent *entry;
	bool found = false;

	while (d && !found && (entry = readdir(d)))
		found = strncmp(entry->d_name, beginning, strlen(beginning)) == 0;
	if (d)
		(void)closedir(d);
	return found;
}

/* What the drivers of NVIDIA, of AMD's compute, of WSL, and the kernel's own for graphics and for
 * accelerators put there. */
static bool is_there_a_device(void)
{
	static const char *const names[] = { "/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (access(names[i], F_OK) == 0)
			return true;
	return is_any_in("/dev/dri", "renderD") || is_any_in("/dev/accel", "accel");
}

static int look_for_limit(const struct memctl_value *value, void *arg)
{
	if (value->is_number)
		*(bool *)arg = true;
	return 0;
}

static bool is_limited(struct memctl *m, const char *group)
{
	static const char *const keys[] = { "dmem.max", "dmem.high", NULL };
	char path[GROUP_PATH_MAX];
	bool found = false;

	strcpy(path, group);
	do
		(void)memctl_get(m, path, keys, look_for_limit, &found);
	while (!found && run_group_up(path));
	return found;
}

bool run_device_is_wanted(struct memctl *m, const char *group)
{
	const char *wish = getenv("MEMCTL_DEVICE");

	if (wish && strcmp(wish, "off") == 0)
		return false;
	if (wish && strcmp(wish, "on") == 0)
		return true;
	return is_limited(m, group) || (is_there_a_device() && access(run_device_library(), R_OK) == 0);
}
