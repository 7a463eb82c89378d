/* SPDX-License-Identifier: MIT */
/* memctl run: whether the program takes the library for device memory, which costs it an interposed
 * dlsym. */
#include "memctl/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *run_device_library(void)
{
	const char *path = getenv("MEMCTL_PRELOAD_DEVICE");

	return path && *path ? path : PKGLIBDIR "/libmemctl-device.so";
}

/* What the drivers of NVIDIA, of the kernel's DRM and of AMD's compute put there; WSL's. */
static bool is_there_a_device(void)
{
	static const char *const names[] = { "/dev/nvidiactl", "/dev/nvidia0", "/dev/dri/renderD128", "/dev/kfd",
					     "/dev/dxg" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (access(names[i], F_OK) == 0)
			return true;
	return false;
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
