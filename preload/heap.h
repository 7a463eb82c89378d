/* SPDX-License-Identifier: MIT */
/* What is done to the heap as a whole: jemalloc's (heap.c), or whatever the program has (heap_system.c). */
#ifndef PRELOAD_HEAP_H
#define PRELOAD_HEAP_H

#include "accounting/atomic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False: the program's malloc is left alone. */
extern const bool heap_is_ours;

/* When the library starts. */
void heap_start(void);

/* Gives unused pages of all arenas back; the bytes by which the heap shrank. */
size_t heap_purge(void);

/* Around a fork, in the parent and in the child. */
void heap_before_fork(void);
void heap_after_fork(void);

/* A thread begins that has allocated nothing and will call heap_reclaim. */
void heap_start_thread(void);

/* How many pages it could give back at once; under any lock, in handlers. */
uint64_t heap_unused(void);

/* Gives back so many pages if it can, or some more; returns how many. Not under locks of the heap, nor in a thread that
 * has not allocated yet. */
uint64_t heap_reclaim(uint64_t pages);

/* Asks all threads to give what they have cached back to the heap; each does when it next enters malloc or free by the
 * slow path, for nobody else can. */
void heap_want_flush(void);
extern mc_word32 heap_flush_turn;
extern __thread uint32_t heap_flush_seen __attribute__((visibility("hidden"), tls_model("initial-exec")));
static inline bool heap_is_flush_wanted(void)
{
	return mc_load_relaxed(&heap_flush_turn) != heap_flush_seen;
}

/* The calling thread does. Not under locks of the heap. */
void heap_flush_thread(void);

/* One of jemalloc's statistics, in bytes, brought up to date; 0 when there is none of that name. */
size_t heap_statistic(const char *name);

#endif
