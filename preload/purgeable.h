/* SPDX-License-Identifier: MIT */
/* How much of the heap is charged and free: jemalloc's caches of dirty extents, which a purge gives back.
 * Counted where extents go in and come out, for jemalloc's own statistics take locks that our callers hold. */
#ifndef PRELOAD_PURGEABLE_H
#define PRELOAD_PURGEABLE_H

#include <stdint.h>

/* Pages in this process, and before it became a member. Any thread; a moment behind. */
uint64_t purgeable_pages(void);

/* Around a fork: what the parent has free, the child has, too, though it pays for its part of it only. */
void purgeable_before_fork(void);
void purgeable_after_fork(void);

/* So many were decommitted. */
void purgeable_gone(uint64_t pages);

/* How many were in all. */
uint64_t purgeable_given(void);

/* From now on the calling thread's purges end once they have taken so many pages, or some more, out of the caches;
 * 0: they take all they want. */
void purgeable_limit(uint64_t pages);

#endif
