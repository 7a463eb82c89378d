/* SPDX-License-Identifier: MIT */
/* What is done to the heap as a whole: jemalloc's (heap.c), or whatever the program has (heap_system.c). */
#ifndef PRELOAD_HEAP_H
#define PRELOAD_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* When the library starts. */
void heap_start(void);

/* Gives unused pages of all arenas back; the bytes by which the heap shrank. */
size_t heap_purge(void);

/* How many pages it could give back at once; under any lock, in handlers. */
uint64_t heap_unused(void);

/* Gives back so many pages if it can, or some more; returns how many. Not under locks of the heap. */
uint64_t heap_reclaim(uint64_t pages);

/* One of jemalloc's statistics, in bytes, brought up to date; 0 when there is none of that name. */
size_t heap_statistic(const char *name);

#endif
