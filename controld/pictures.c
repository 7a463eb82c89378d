/* SPDX-License-Identifier: MIT */
/* The pictures that profiled members leave. */
#include "controld/pictures.h"

#include "accounting/stacks.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_within(const char *path, const char *group)
{
	size_t n = strlen(group);

	return n == 1 || (strncmp(path, group, n) == 0 && (!path[n] || path[n] == '/'));
}

static bool is_of(int at, const char *name, const char *group)
{
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stacks_header header;
	ssize_t n = -1;

	if (fd >= 0) {
		n = pread(fd, &header, sizeof(header), 0);
		(void)close(fd);
	}
	if (n != (ssize_t)sizeof(header) || header.magic != STACKS_MAGIC)
		return false;
	header.group[sizeof(header.group) - 1] = 0;
	return is_within(header.group, group);
}

bool pictures_are_of(const char *dir, const char *group)
{
	char path[1200];
	bool found = false;
	const struct dirent *entry;
	DIR *all;

	(void)snprintf(path, sizeof(path), "%s/" STACKS_DIRECTORY, dir);
	all = opendir(path);
	while (all && !found && (entry = readdir(all)) != NULL)
		if (*entry->d_name >= '0' && *entry->d_name <= '9')
			found = is_of(dirfd(all), entry->d_name, group);
	if (all)
		(void)closedir(all);
	return found;
}
