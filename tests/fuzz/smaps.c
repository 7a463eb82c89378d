/* SPDX-License-Identifier: MIT */
/* /proc/PID/smaps, read with the least buffer: lines may be cut anywhere by it. */
#include "tests/fuzz/fuzz.h"

#include "accounting/smaps.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int file;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	file = memfd_create("smaps", MFD_CLOEXEC);
	return file < 0;
}

static void take(const struct smaps_mapping *m, void *to)
{
	*(uint64_t *)to += m->end - m->start;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(SMAPS_TEXT_LEAST);
	uint64_t sum = 0;

	if (ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size || lseek(file, 0, SEEK_SET))
		abort();
	(void)smaps_walk(file, text, SMAPS_TEXT_LEAST, take, &sum);
	free(text);
	return 0;
}
