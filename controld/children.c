/* SPDX-License-Identifier: MIT */
/* The children of a process, by /proc. */
#include "controld/children.h"

#include "controld/proc.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What /proc/PID/stat says behind the name, which may hold anything. */
struct stat_line {
	pid_t parent;
	uint64_t start_time; /* ticks after boot */
};

static int read_stat(pid_t pid, struct stat_line *ret)
{
	unsigned long long start;
	char text[1024];
	const char *at;
	int parent, fd;
	ssize_t n;

	fd = proc_open_fd(pid, "stat");
	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = 0;
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			  &parent, &start) != 2)
		return -ESRCH;
	ret->parent = parent;
	ret->start_time = start;
	return 0;
}

static bool is_young(uint64_t start_time)
{
	uint64_t per_second = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return ((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000) <
	       start_time * 1000 / per_second + CHILDREN_YOUTH_MS;
}

/* The number may be another process's by now: its parent tells. */
static void offer(pid_t parent, pid_t child, world_take_child *take, void *to)
{
	struct stat_line line;

	if (read_stat(child, &line) == 0 && line.parent == parent && !is_young(line.start_time))
		take(child, line.start_time, to);
}

/* False when this kernel has no such file. */
static bool offer_of_thread(pid_t pid, int thread, world_take_child *take, void *to)
{
	char path[64];
	FILE *f;
	int child;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, thread);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fscanf(f, "%d", &child) == 1)
		offer(pid, child, take, to);
	(void)fclose(f);
	return true;
}

static int search_all(pid_t pid, world_take_child *take, void *to)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;

	if (!d)
		return -errno;
	while ((entry = readdir(d)) != NULL)
		if (atoi(entry->d_name) > 0)
			offer(pid, atoi(entry->d_name), take, to);
	(void)closedir(d);
	return 0;
}

/* A thread that has just ended has no file either; then all are searched, which is right too. */
int children_list(pid_t pid, world_take_child *take, void *to)
{
	struct dirent *entry;
	bool told = true;
	DIR *d;

	d = proc_open_dir(pid, "task");
	if (!d)
		return proc_error();
	while (told && (entry = readdir(d)) != NULL)
		if (atoi(entry->d_name) > 0)
			told = offer_of_thread(pid, atoi(entry->d_name), take, to);
	(void)closedir(d);
	return told ? 0 : search_all(pid, take, to);
}
