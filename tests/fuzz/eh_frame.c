/* SPDX-License-Identifier: MIT */
/* Descriptions of frames: where the table begins (2 bytes), the address asked for (2 bytes), then the file. */
#include "tests/fuzz/fuzz.h"

#include "preload/unwind_rules.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t header = fuzz_take(&data, &size, 2) & ~3u, pc = fuzz_take(&data, &size, 2);
	struct unwind_step step;
	uint8_t *file;

	if (!size)
		return 0;
	file = malloc(size); /* of its own: what is read beyond it is found */
	memcpy(file, data, size);
	(void)unwind_rules_find(file + header % size / 4 * 4, (uint64_t)file, (uint64_t)file + size,
				(uint64_t)file + pc, &step);
	free(file);
	return 0;
}
