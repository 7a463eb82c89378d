/* SPDX-License-Identifier: MIT */
/* The helper thread: it listens for those who ask this process for pages (accounting/reclaim.h) and gives back what
 * the heap does not use.
 *
 * A thread is not harmless: unshare and setpriv refuse a process with two, a main that ends by pthread_exit waits for
 * all, Python warns when it forks. So there is none before the heap could give HELPER_WORTH_PAGES, none where
 * MEMCTL_HELPER=off, and none while such a call is under way (intercept_thread.c holds it back). Made by
 * pthread_create, not by clone: as long as glibc knows of one thread only, its mutexes, jemalloc's among them, are
 * not atomic.
 *
 * contract      helper_want, helper_is_wanted, helper_listens: any thread, signal handlers, under any lock.
 *               helper_start, helper_hold, helper_release: not under jemalloc's locks nor in a handler that may
 *               have interrupted them, for a thread's start and end allocate and free.
 * fork          its state lies in the page that is wiped on fork: a child has no helper and knows it.
 */
#ifndef PRELOAD_HELPER_H
#define PRELOAD_HELPER_H

#include "accounting/atomic.h"

#include <stdbool.h>
#include <stdint.h>

#define HELPER_WORTH_PAGES 4096u /* 16 MiB */

extern mc_word32 helper_wanted;

/* At the start of the library. */
void helper_prepare(void);

/* There is enough to give back for a helper: the next one who may will start it. */
void helper_want(void);

static inline bool helper_is_wanted(void)
{
	return mc_load_relaxed(&helper_wanted) != 0;
}

/* Starts it if it is still worth it. Keeps errno. */
void helper_start(void);

/* True while there is one. */
bool helper_listens(void);

/* Ends it, and sees to it that there is none before the last release. The thread is gone for the kernel, too, when
 * this returns. Keeps errno. In the child of a fork there is nothing to release. */
void helper_hold(void);
void helper_release(void);

/* This thread ends. When it is the program's first one, there will be no helper any more: the process ends with its
 * last thread, and that must be the program's. */
void helper_thread_ends(void);

#endif
