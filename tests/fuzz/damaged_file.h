/* SPDX-License-Identifier: MIT */
/* A file that a daemon has left, with what an input says laid over it. */
#ifndef TESTS_FUZZ_DAMAGED_FILE_H
#define TESTS_FUZZ_DAMAGED_FILE_H

#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DAMAGED_PARTS 64u /* of a file; `where` says which: an offset reaches over one of 4 MiB */

static inline void damage_file(const char *folder, const char *name, const uint8_t *data, size_t size)
{
	struct fuzz_damage d;
	char path[256], *file;
	size_t all, part;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	all = (size_t)lseek(fd, 0, SEEK_END);
	part = all / DAMAGED_PARTS;
	file = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (file == MAP_FAILED)
		abort();
	while (fuzz_next_damage(&data, &size, &d))
		fuzz_damage_in(file + d.where % DAMAGED_PARTS * part, part, &d);
	(void)munmap(file, all);
}

#endif
