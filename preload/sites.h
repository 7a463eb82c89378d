/* SPDX-License-Identifier: MIT */
/*
 * Call sites: which code asked for the memory this process has. On only where MEMCTL_PROFILE is set when the program
 * starts; otherwise nothing here is reached but one test of sites_on for a mapping.
 *
 * heap          jemalloc counts the bytes and says when one is due (jemalloc_sample.c).
 * mappings      what is charged when it is mapped; ranges are remembered until they are unmapped (ranges.h).
 * device        the same, by a name, from the device library (device/sites.c).
 *
 * contract      any thread, signal handlers, in malloc; never allocates, never waits.
 * fork          a child starts with an empty picture of its own; what it frees of its parent's is nobody's.
 */
#ifndef PRELOAD_SITES_H
#define PRELOAD_SITES_H

#include "accounting/stacks.h"
#include "preload/unwind.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern bool sites_on;

static inline bool sites_are_on(void)
{
	return __builtin_expect(sites_on, 0);
}

/* Reads what the program was started with, before libc knows the environment. True: sampling is on. */
bool sites_start(bool has_heap);

/* The end, by the program itself. */
void sites_end(void);

/* A sampled block while it lives. */
struct sites_record;

/* How many bytes of heap this thread may allocate until the next sample. */
uint64_t sites_wait(void);

/* The stack above `from` has got a block of `size` bytes, and this thread's wait is over. NULL: no room. */
struct sites_record *sites_sample(const struct unwind_registers *from, enum stacks_kind kind, uint64_t size);

/* It is given back. */
void sites_drop(struct sites_record *r);

/* The block is a small one at this address. False: no room. */
bool sites_keep(struct sites_record *r, uint64_t address);

/* A small block is given back, a sampled one or not. False: nothing sampled is left in its page. */
bool sites_end_small(uint64_t address);
bool sites_has_page(uint64_t address);

/* A range was mapped: sampled where it is due. Before its end sites_unmap. */
void sites_map(const void *addr, size_t size);

/* The range will be unmapped now: before the call, for another thread may get these addresses at once. */
void sites_unmap(const void *addr, size_t size);

/* Device memory by a name of its owner's choice, until it ends; the stack begins behind [skip, skip_end). */
void sites_device(uint64_t name, uint64_t size, const void *skip, const void *skip_end);
void sites_device_end(uint64_t name);

/* Files are about to be unmapped: what was learned about addresses is void. */
void sites_forget_code(void);

#endif
