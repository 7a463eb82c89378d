/* SPDX-License-Identifier: MIT */
/*
 * Call sites: which code asked for the memory this process has. On only where MEMCTL_PROFILE is set when the program
 * starts; otherwise nothing here is reached but one test of sites_on for a mapping.
 *
 * heap          jemalloc counts the bytes and says when one is due (jemalloc_sample.c): its own profiler's places,
 *               with our stacks in place of its own.
 * mappings      what is charged when it is mapped; ranges are remembered until they are unmapped (ranges.h).
 * device        the same, by the driver's pointer.
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

uint64_t sites_rate(void);

/* A sampled block while it lives. */
struct sites_record;

/* The stack above `from` is asking for memory. NULL: cannot be sampled. */
struct sites_record *sites_begin(const struct unwind_registers *from, enum stacks_kind kind);

/* It has `size` bytes. */
void sites_take(struct sites_record *r, uint64_t size);

/* It got none. */
void sites_cancel(struct sites_record *r);

/* It is given back. */
void sites_drop(struct sites_record *r);

/* A range was mapped, or handed out by a driver (`kind`): sampled where it is due. Before its end sites_unmap. */
void sites_map(const void *addr, size_t size, enum stacks_kind kind);

/* The range will be unmapped now: before the call, for another thread may get these addresses at once. */
void sites_unmap(const void *addr, size_t size);

/* Files are about to be unmapped: what was learned about addresses is void. */
void sites_forget_code(void);

#endif
