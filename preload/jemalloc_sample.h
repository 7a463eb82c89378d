/* SPDX-License-Identifier: MIT */
/* A block that is to be sampled, on its way through jemalloc (jemalloc_sample.c): what its slow
 * paths give out. */
#ifndef PRELOAD_JEMALLOC_SAMPLE_H
#define PRELOAD_JEMALLOC_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>

#define JEMALLOC_SMALL_MAX 14336u
#define JEMALLOC_CACHED 41u /* classes that a thread's cache holds, with jemalloc's default for the largest */

/* Between jemalloc's "a sample is due" and its "that many bytes more have been allocated", in one
 * call of malloc. */
struct jemalloc_due {
	bool is_due;
	void *came;		      /* from a slow path; NULL: out of the thread's cache */
	void **head[JEMALLOC_CACHED]; /* of the cache's stacks before */
};

extern __thread struct jemalloc_due jemalloc_due;

static inline void *jemalloc_came(void *p)
{
	if (__builtin_expect(jemalloc_due.is_due, 0))
		jemalloc_due.came = p;
	return p;
}

/* je_arena_ralloc of a small block, where some are sampled: its own looks twice at what may change
 * in between. */
void *jemalloc_ralloc(void *tsdn, void *arena, void *old, size_t old_size, size_t size, size_t alignment, bool zero,
		      void *tcache);

#endif
