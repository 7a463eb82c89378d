/* SPDX-License-Identifier: MIT */
/* Program files: whether they can carry the preload library. */
#include "tests/fuzz/fuzz.h"

#include "accounting/elf.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int file;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	file = memfd_create("program", MFD_CLOEXEC);
	return file < 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size)
		abort();
	if (!elf_kind_words(elf_classify_fd(file)))
		abort();
	return 0;
}
