/* SPDX-License-Identifier: MIT */
/* The real world: clock, /proc, pidfds. */
#include "controld/world.h"

#include "accounting/member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define PRELOAD_NAME "libmemctl-preload.so"

static uint64_t real_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int real_pidfd_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

static int real_pidfd_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) ? -errno : 0;
}

static int real_start_time(pid_t pid, uint64_t *ret_ticks)
{
	return member_read_start_time((uint32_t)pid, ret_ticks);
}

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

static int proc_error(void)
{
	return errno == ENOENT ? -ESRCH : -errno;
}

static void take_pages(const char *line, const char *name, uint64_t *pages)
{
	size_t n = strlen(name);

	if (strncmp(line, name, n) == 0)
		*pages = strtoull(line + n, NULL, 10) * 1024 / MC_PAGE_SIZE;
}

/* A process that is dying has these lines no more: all 0. */
static int real_usage(pid_t pid, struct world_usage *ret)
{
	struct world_usage usage = { 0 };
	FILE *f = open_proc(pid, "status");
	char line[128];

	if (!f)
		return proc_error();
	while (fgets(line, sizeof(line), f)) {
		take_pages(line, "RssAnon:", &usage.anon);
		take_pages(line, "RssFile:", &usage.file);
		take_pages(line, "VmSwap:", &usage.swap);
	}
	(void)fclose(f);
	*ret = usage;
	return 0;
}

static int real_resident(pid_t pid, struct world_resident *ret)
{
	unsigned long long size, resident, shared;
	char path[64], text[128];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return proc_error();
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return n ? -errno : -ESRCH;
	text[n] = 0;
	if (sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3)
		return -EPROTO;
	ret->anon = resident > shared ? resident - shared : 0;
	ret->shared = shared;
	return 0;
}

static int real_proportional(pid_t pid, uint64_t *ret_pages)
{
	FILE *f = open_proc(pid, "smaps_rollup");
	char line[128];
	uint64_t pages = UINT64_MAX;

	if (!f)
		return proc_error();
	while (fgets(line, sizeof(line), f))
		take_pages(line, "Pss_Anon:", &pages);
	(void)fclose(f);
	if (pages == UINT64_MAX)
		return -ESRCH;
	*ret_pages = pages;
	return 0;
}

static bool is_counters(const char *line, dev_t device, ino_t counters)
{
	unsigned major_number, minor_number;
	unsigned long long inode;

	/* Some stacked file systems show another device there than stat does. */
	return sscanf(line, "%*s %*s %*s %x:%x %llu", &major_number, &minor_number, &inode) == 3 &&
	       inode == counters &&
	       (makedev(major_number, minor_number) == device ||
		strstr(line, "/" SEGMENT_COUNTERS_NAME));
}

/* Lines longer than the buffer come in pieces; a piece that is not a line's head matches
 * nothing. */
static int real_image(pid_t pid, dev_t device, ino_t counters, enum world_image *ret)
{
	enum world_image image = IMAGE_BARE;
	FILE *f = open_proc(pid, "maps");
	char line[512];

	if (!f && errno != EACCES && errno != EPERM)
		return proc_error();
	while (f && image != IMAGE_ATTACHED && fgets(line, sizeof(line), f)) {
		if (is_counters(line, device, counters))
			image = IMAGE_ATTACHED;
		else if (strstr(line, PRELOAD_NAME))
			image = IMAGE_LOADING;
	}
	if (f)
		(void)fclose(f);
	*ret = image;
	return 0;
}

static int real_comm(pid_t pid, char ret_comm[16])
{
	FILE *f = open_proc(pid, "comm");
	char text[32];
	bool ok;

	if (!f)
		return proc_error();
	ok = fgets(text, sizeof(text), f) != NULL;
	(void)fclose(f);
	if (!ok)
		return -ESRCH;
	text[strcspn(text, "\n")] = 0;
	(void)snprintf(ret_comm, 16, "%.15s", text);
	return 0;
}

const struct world world_real = {
	.now_ns = real_now_ns,
	.pidfd_open = real_pidfd_open,
	.pidfd_signal = real_pidfd_signal,
	.start_time = real_start_time,
	.usage = real_usage,
	.resident = real_resident,
	.proportional = real_proportional,
	.image = real_image,
	.comm = real_comm,
};
