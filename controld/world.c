/* SPDX-License-Identifier: MIT */
/* The real world: clock, /proc, pidfds. */
#include "controld/world.h"

#include "accounting/clock.h"
#include "accounting/member.h"
#include "controld/children.h"
#include "controld/mapped.h"
#include "controld/pagemap.h"
#include "controld/proc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ROLLUP_PAGES_MAX 8192u /* a rollup holds the process up for 2 ms then */
#define PRELOAD_NAME "/libmemctl-preload"

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

static void take_pages(const char *line, const char *name, uint64_t *pages)
{
	size_t n = strlen(name);

	if (strncmp(line, name, n) == 0)
		*pages = strtoull(line + n, NULL, 10) * 1024 / MC_PAGE_SIZE;
}

/* VmLck is of addresses. What of it is private and resident a walk over all pages tells: where any is locked. */
static uint64_t locked_pages(pid_t pid)
{
	uint64_t sum = 0, anon = 0, locked = 0;
	FILE *f = proc_open(pid, "smaps");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		take_pages(line, "Anonymous:", &anon);
		if (strncmp(line, "Locked:", 7) != 0)
			continue;
		take_pages(line, "Locked:", &locked);
		sum += locked < anon ? locked : anon;
	}
	if (f)
		(void)fclose(f);
	return sum;
}

/* A process that is dying has these lines no more: all 0. */
static int real_usage(pid_t pid, struct world_usage *ret)
{
	struct world_usage usage = { 0 };
	FILE *f = proc_open(pid, "status");
	char line[128];

	if (!f)
		return proc_error();
	while (fgets(line, sizeof(line), f)) {
		take_pages(line, "RssAnon:", &usage.anon);
		take_pages(line, "RssFile:", &usage.file);
		take_pages(line, "VmSwap:", &usage.swap);
		take_pages(line, "VmLck:", &usage.locked);
		take_pages(line, "VmStk:", &usage.stack);
	}
	(void)fclose(f);
	if (usage.locked)
		usage.locked = locked_pages(pid);
	*ret = usage;
	return 0;
}

static int read_resident(pid_t pid, struct world_resident *ret)
{
	unsigned long long size, resident, shared;
	char text[128];
	ssize_t n;
	int fd;

	fd = proc_open_fd(pid, "statm");
	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return n ? -errno : -ESRCH;
	text[n] = 0;
	if (sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3)
		return -EPROTO;
	ret->anon = resident > shared ? resident - shared : 0;
	ret->shared = shared;
	ret->size = size;
	return 0;
}

/* What /proc says of a process it says of its first thread: nothing when that has ended before the others.
 * Another thread with memory then; 0 when there is none. */
static pid_t other_thread(pid_t pid)
{
	struct dirent *entry;
	pid_t found = 0;
	DIR *d;

	d = proc_open_dir(pid, "task");
	while (d && !found && (entry = readdir(d)) != NULL) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		struct world_resident r;

		if (tid > 0 && tid != pid && read_resident(tid, &r) == 0 && r.anon + r.shared != 0)
			found = tid;
	}
	if (d)
		(void)closedir(d);
	return found;
}

static int real_resident(pid_t pid, struct world_resident *ret)
{
	int err = read_resident(pid, ret);
	pid_t tid;

	if (err || ret->anon + ret->shared != 0)
		return err;
	tid = other_thread(pid);
	return tid ? read_resident(tid, ret) : 0;
}

static uint64_t real_spent_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The name in field 2 may hold anything: minflt is the eighth behind the last ')'. */
static int real_faults(pid_t pid, uint64_t *ret)
{
	FILE *f = proc_open(pid, "stat");
	unsigned long long faults;
	char line[1024];
	const char *p;

	if (!f)
		return proc_error();
	p = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	(void)fclose(f);
	if (!p || sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %llu", &faults) != 1)
		return -ESRCH;
	*ret = faults;
	return 0;
}

static int read_proportional(pid_t pid, uint64_t *ret_pages)
{
	FILE *f = proc_open(pid, "smaps_rollup");
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

/* With two sharers a page is either's own or both's. Where a rollup would hold the process up for long. */
static int by_pagemap(pid_t pid, unsigned sharers, uint64_t *ret_pages)
{
	struct world_resident r;
	uint64_t own, shared;
	int err;

	if (sharers != 2 || read_resident(pid, &r) || r.anon < ROLLUP_PAGES_MAX)
		return -EOPNOTSUPP;
	err = pagemap_private(pid, &own, &shared);
	if (!err)
		*ret_pages = own + shared / 2;
	return err;
}

static int real_proportional(pid_t pid, unsigned sharers, uint64_t *ret_pages)
{
	int err = by_pagemap(pid, sharers, ret_pages);
	pid_t tid;

	if (!err)
		return 0;
	err = read_proportional(pid, ret_pages);
	tid = err == -ESRCH ? other_thread(pid) : 0;
	return tid ? read_proportional(tid, ret_pages) : err;
}

/* A line of a file of /proc/PID, in pages. */
static int read_line(pid_t pid, const char *file, const char *name, uint64_t *ret_pages)
{
	FILE *f = proc_open(pid, file);
	uint64_t pages = UINT64_MAX;
	char line[128];

	if (!f)
		return proc_error();
	while (pages == UINT64_MAX && fgets(line, sizeof(line), f))
		take_pages(line, name, &pages);
	(void)fclose(f);
	*ret_pages = pages == UINT64_MAX ? 0 : pages; /* dying */
	return 0;
}

/* The rollup walks over all pages: only where there is anything to be divided. */
static int real_swapped(pid_t pid, bool shares, uint64_t *ret_pages)
{
	uint64_t part;
	int err = read_line(pid, "status", "VmSwap:", ret_pages);

	if (!err && shares && *ret_pages && read_line(pid, "smaps_rollup", "SwapPss:", &part) == 0)
		*ret_pages = part;
	return err;
}

static int real_used(pid_t pid, smaps_take *take, void *to)
{
	static char text[32 << 10];
	int fd, err;

	fd = proc_open_fd(pid, "smaps");
	if (fd < 0)
		return fd;
	err = smaps_walk(fd, text, sizeof(text), take, to);
	(void)close(fd);
	return err;
}

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static int real_advise(pid_t pid, uint64_t start, uint64_t size, int advice)
{
	struct iovec part = { (void *)(uintptr_t)start, size }; /* NOLINT: of another process */
	int fd = real_pidfd_open(pid), err;

	if (fd < 0)
		return fd;
	err = syscall(SYS_process_madvise, fd, &part, 1, advice, 0) < 0 ? -errno : 0;
	(void)close(fd);
	return err;
}

static bool is_counters(const char *line, dev_t device, ino_t counters)
{
	unsigned major_number, minor_number;
	unsigned long long inode;

	/* Some stacked file systems show another device there than stat does. */
	return sscanf(line, "%*s %*s %*s %x:%x %llu", &major_number, &minor_number, &inode) == 3 && inode == counters &&
	       (makedev(major_number, minor_number) == device || strstr(line, "/" SEGMENT_COUNTERS_NAME));
}

/* Lines longer than the buffer come in pieces; a piece that is not a line's head matches
 * nothing. */
static int real_image(pid_t pid, dev_t device, ino_t counters, enum world_image *ret)
{
	enum world_image image = IMAGE_BARE;
	FILE *f = proc_open(pid, "maps");
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
	FILE *f = proc_open(pid, "comm");
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

static int real_host(struct world_host *ret)
{
	FILE *f = fopen("/proc/meminfo", "re");
	struct world_host host = { 0 };
	char line[128];

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		take_pages(line, "MemTotal:", &host.total);
		take_pages(line, "MemAvailable:", &host.available);
		take_pages(line, "SwapTotal:", &host.swap);
	}
	(void)fclose(f);
	if (!host.total)
		return -EPROTO;
	*ret = host;
	return 0;
}

/* Node numbers may have gaps: those are nodes without memory. */
static int real_nodes(struct numa_node *ret, unsigned most)
{
	int n = 0;

	for (unsigned i = 0; i < most; i++) {
		char path[64], line[128];
		FILE *f;

		ret[i] = (struct numa_node){ 0 };
		(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", i);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			numa_add_meminfo(&ret[i], line);
		if (f)
			(void)fclose(f);
		if (ret[i].total)
			n = (int)i + 1;
	}
	return n;
}

static int real_spread(pid_t pid, struct numa_spread *ret)
{
	FILE *f = proc_open(pid, "numa_maps");
	char *line = NULL;
	size_t room = 0;

	*ret = (struct numa_spread){ 0 };
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	while (getline(&line, &room, f) > 0)
		numa_add_mapping(ret, line);
	free(line);
	(void)fclose(f);
	return 0;
}

static int real_ran_ns(pid_t pid, uint64_t *ret_ns)
{
	struct timespec t;
	clockid_t clock;
	int err = clock_getcpuclockid(pid, &clock);

	if (err)
		return -err;
	if (clock_gettime(clock, &t))
		return -ESRCH;
	*ret_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	return 0;
}

static int real_oom_adj(pid_t pid, int *ret)
{
	FILE *f = proc_open(pid, "oom_score_adj");
	int adj, n;

	if (!f)
		return proc_error();
	n = fscanf(f, "%d", &adj);
	(void)fclose(f);
	if (n != 1)
		return -ESRCH;
	*ret = adj;
	return 0;
}

const struct world world_real = {
	.now_ns = clock_now_ns,
	.pidfd_open = real_pidfd_open,
	.pidfd_signal = real_pidfd_signal,
	.start_time = real_start_time,
	.usage = real_usage,
	.resident = real_resident,
	.proportional = real_proportional,
	.faults = real_faults,
	.swapped = real_swapped,
	.used = real_used,
	.advise = real_advise,
	.spent_ns = real_spent_ns,
	.host = real_host,
	.nodes = real_nodes,
	.spread = real_spread,
	.ran_ns = real_ran_ns,
	.oom_adj = real_oom_adj,
	.image = real_image,
	.comm = real_comm,
	.children = children_list,
	.mappings = mapped_list,
	.is_memory = mapped_is_memory,
	.object = mapped_object,
	.touched = mapped_touched,
};
