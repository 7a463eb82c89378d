/* SPDX-License-Identifier: MIT */
/* Files of a process in /proc. */
#include "controld/proc.h"

#include <errno.h>
#include <fcntl.h>

#define PATH_ROOM 64 /* "/proc/", a pid, and a name of the kernel's */

static const char *path_of(char *buf, pid_t pid, const char *name)
{
	(void)snprintf(buf, PATH_ROOM, "/proc/%d/%s", (int)pid, name);
	return buf;
}

int proc_error(void)
{
	return errno == ENOENT ? -ESRCH : -errno;
}

FILE *proc_open(pid_t pid, const char *name)
{
	char path[PATH_ROOM];

	return fopen(path_of(path, pid, name), "re");
}

DIR *proc_open_dir(pid_t pid, const char *name)
{
	char path[PATH_ROOM];

	return opendir(path_of(path, pid, name));
}

int proc_open_fd(pid_t pid, const char *name)
{
	char path[PATH_ROOM];
	int fd = open(path_of(path, pid, name), O_RDONLY | O_CLOEXEC);

	return fd < 0 ? proc_error() : fd;
}
