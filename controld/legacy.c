/* SPDX-License-Identifier: MIT */
/* What one daemon leaves to the next. */
#include "controld/legacy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATH_ROOM 256 /* a segment's directory, and a name */
#define PAGE 4096u
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

static void *own_memory(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

void *legacy_map(const char *directory, const char *name, size_t size)
{
	char path[PATH_ROOM];
	void *map = MAP_FAILED;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		(void)close(fd);
	if (map == MAP_FAILED)
		map = own_memory(size);
	return map == MAP_FAILED ? NULL : map;
}

bool legacy_populate(const void *at, size_t size)
{
	uintptr_t from = (uintptr_t)at & ~(uintptr_t)(PAGE - 1);
	uintptr_t to = ((uintptr_t)at + size + PAGE - 1) & ~(uintptr_t)(PAGE - 1);

	return madvise((void *)from, to - from, MADV_POPULATE_WRITE) == 0 || errno == EINVAL; /* NOLINT: an address */
}

/* By way of the file: to read a hole through the mapping would want a page, too. */
bool legacy_detach(void *map, size_t size, const char *directory, const char *name)
{
	char *own = own_memory(size), path[PATH_ROOM];
	off_t at = 0, end;
	bool ok;
	int fd;

	if (own == MAP_FAILED)
		return false;
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	for (ok = fd >= 0; ok && (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < (off_t)size; at = end) {
		end = lseek(fd, at, SEEK_HOLE);
		ok = end > at && end <= (off_t)size && pread(fd, own + at, (size_t)(end - at), at) == end - at;
	}
	if (fd >= 0)
		(void)close(fd);
	ok = ok && mremap(own, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, map) != MAP_FAILED;
	if (!ok)
		(void)munmap(own, size);
	return ok;
}
