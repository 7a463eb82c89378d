/* SPDX-License-Identifier: MIT */
/* A fuzz target: whatever bytes come in, nothing is read or written that is not there, and it ends.
 *
 * Each file of this folder that defines the second of these is a target. `make fuzz` builds them with clang's libFuzzer and its
 * sanitizers and lets each run for FUZZ_SECONDS; `make check` replays the seeds, and mutations of them that are the
 * same each time (replay.c). What fuzzing finds becomes a seed in the commit that repairs it. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Once, before all inputs; not every target has one. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes a number off the front of an input; 0 where it has ended. */
static inline uint32_t fuzz_take(const uint8_t **data, size_t *size, unsigned bytes)
{
	uint32_t n = 0;
	unsigned had = *size < bytes ? (unsigned)*size : bytes;

	memcpy(&n, *data, had);
	*data += had;
	*size -= had;
	return n;
}

/* One damage to a structure that others can write to: `size` bytes laid over `at`. */
struct fuzz_damage {
	const uint8_t *bytes;
	size_t size;
	uint32_t where;	 /* which structure */
	uint32_t offset; /* in it */
};

/* The next one that an input describes: where (1 byte), offset (2), size (1), bytes. False: none is left. */
static inline bool fuzz_next_damage(const uint8_t **data, size_t *size, struct fuzz_damage *ret)
{
	size_t n;

	if (*size < 5)
		return false;
	ret->where = fuzz_take(data, size, 1);
	ret->offset = fuzz_take(data, size, 2);
	n = fuzz_take(data, size, 1) % 64;
	ret->size = n < *size ? n : *size;
	ret->bytes = *data;
	*data += ret->size;
	*size -= ret->size;
	return true;
}

/* Within a structure of `room` bytes. */
static inline void fuzz_damage_in(void *structure, size_t room, const struct fuzz_damage *d)
{
	size_t offset = d->offset % room;

	memcpy((char *)structure + offset, d->bytes, d->size < room - offset ? d->size : room - offset);
}

#endif
