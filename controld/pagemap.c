/* SPDX-License-Identifier: MIT */
/* Private pages of a process by /proc/PID/pagemap. */
#include "controld/pagemap.h"

#include "accounting/clock.h"
#include "accounting/layout.h"
#include "controld/proc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 512u	  /* of one read: mmap_lock is taken once for them, 2 MiB */
#define SPELL_NS 50000ull /* of reading, before a rest */
#define REST_NS 100000l
#define ADDRESSES_MAX (64ull << 30) /* an entry is written for untouched pages too, 1 ns each */

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_FILE (1ull << 61) /* or shared memory */
#define ENTRY_EXCLUSIVE (1ull << 56)

struct sums {
	uint64_t own, shared;
};

static void count(const uint64_t *entry, size_t n, struct sums *sums)
{
	for (size_t i = 0; i < n; i++) {
		if ((entry[i] & (ENTRY_PRESENT | ENTRY_FILE)) != ENTRY_PRESENT)
			continue;
		if (entry[i] & ENTRY_EXCLUSIVE)
			sums->own++;
		else
			sums->shared++;
	}
}

/* The kernel gives up the processor between two pages' tables while it holds the process's mmap_lock, so a time slice
 * that ends ends there mostly, and the process's own mmap waits until we run again. Who sleeps gets a new slice:
 * one that is never used up is never taken in a bad place. A walk takes three times as long for it. */
static void rest(uint64_t *since_ns)
{
	if (clock_now_ns() - *since_ns < SPELL_NS)
		return;
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = REST_NS }, NULL);
	*since_ns = clock_now_ns();
}

static int walk(int fd, uint64_t from, uint64_t to, struct sums *sums)
{
	static uint64_t entry[ENTRIES];
	uint64_t since_ns = clock_now_ns();

	while (from < to) {
		uint64_t n = to - from < ENTRIES ? to - from : ENTRIES;
		ssize_t got = pread(fd, entry, n * sizeof(*entry), (off_t)(from * sizeof(*entry)));

		if (got <= 0)
			return got ? -errno : -ESRCH;
		count(entry, (size_t)got / sizeof(*entry), sums);
		from += (uint64_t)got / sizeof(*entry);
		rest(&since_ns);
	}
	return 0;
}

/* Lines that the buffer cuts have a path behind what is read here; the rest of them matches nothing. */
static int walk_all(FILE *maps, int fd, struct sums *sums)
{
	uint64_t walked = 0;
	char line[512];
	int err = 0;

	while (!err && fgets(line, sizeof(line), maps)) {
		unsigned long long from, to;
		char is_private;

		if (sscanf(line, "%llx-%llx %*c%*c%*c%c ", &from, &to, &is_private) != 3 || is_private != 'p' ||
		    from >= 1ull << 47)
			continue;
		walked += to - from;
		err = walked > ADDRESSES_MAX ? -EFBIG : walk(fd, from >> MC_PAGE_SHIFT, to >> MC_PAGE_SHIFT, sums);
	}
	return err;
}

int pagemap_private(pid_t pid, uint64_t *ret_own, uint64_t *ret_shared)
{
	struct sums sums = { 0 };
	FILE *maps;
	int fd, err;

	fd = proc_open_fd(pid, "pagemap");
	if (fd < 0)
		return fd;
	maps = proc_open(pid, "maps");
	err = maps ? walk_all(maps, fd, &sums) : -errno;
	if (maps)
		(void)fclose(maps);
	(void)close(fd);
	if (err)
		return err;
	*ret_own = sums.own;
	*ret_shared = sums.shared;
	return 0;
}
