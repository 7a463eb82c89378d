/* SPDX-License-Identifier: MIT */
/* The helper thread: it listens for those who ask this process for pages (accounting/reclaim.h) and gives back what
 * the heap does not use.
 *
 * A thread is not harmless: unshare and setpriv refuse a process with two, a main that ends by pthread_exit waits for
 * all, Python warns when it forks. So there is none before the heap could give HELPER_WORTH_PAGES (near a limit
 * HELPER_WORTH_NEAR_PAGES), none where MEMCTL_HELPER=off, and none while such a call is under way (intercept_thread.c
 * holds it back). Made by pthread_create, not by clone: as long as glibc knows of one thread only, its mutexes,
 * jemalloc's among them, are not atomic.
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
#include <stddef.h>
#include <stdint.h>

#define HELPER_WORTH_PAGES 4096u      /* 16 MiB */
#define HELPER_WORTH_NEAR_PAGES 1024u /* where some limit is more than half reached */

extern mc_word32 helper_wanted;

/* At the start of the library. */
void helper_prepare(void);

/* There is enough to give back for a helper: the next one who may will start it. */
void helper_want(void);

static inline bool helper_is_wanted(void)
{
	return mc_load_relaxed(&helper_wanted) != 0;
}

/* Starts it if it is still worth it; the second one not soon after a fork (helper_after_fork). Keep errno. */
void helper_start(void);
void helper_start_by_and_by(void);

/* So many pages of the heap are free: is it worth a helper? Under any lock, in handlers. */
bool helper_is_worth(uint64_t unused);

/* MEMCTL_ALLOCATOR=system: nobody enters malloc's slow paths through us, so that free (heap_system_free.c) and the hooks of
 * mmap's kin look whether the process holds enough by now, and start it, unless this may be a signal handler: one that
 * interrupted malloc could not. A load; 10 us when 4 MiB more or less are held. Keeps errno. */
void helper_consider(void);
bool helper_is_to_be_considered(void);

/* Where there is none and somebody asked: gives what the heap has, and what may be dropped. Not under locks of the heap. Keeps errno. */
void helper_meet(void);

/* What may be dropped (volatile.h) or shrunk has changed. */
void helper_tell(void);

/* True while there is one. */
bool helper_listens(void);

/* Ends it, and sees to it that there is none before the last release. The thread is gone for the kernel, too, when
 * this returns. Keeps errno. In the child of a fork there is nothing to release. */
void helper_hold(void);
void helper_release(void);

/* The same around a fork. Where the program has several threads anyway the helper does not go; else the parent's is not
 * made again at once: who forks may look whether it is alone right afterwards (Python 3.12 does, and warns). It comes
 * with the next wait for a child, which may be a long one, or with a large block of the heap, or 0.1 s later with a
 * small one. Where a limit is near, free heap is given back first: common to parent and child it would be held until
 * both give it back. */
void helper_before_fork(void);
void helper_after_fork(bool is_parent);

/* This thread is about to wait, in the kernel, and a helper is wanted: starts it, unless this may be a signal handler. */
void helper_before_wait(void);

/* This thread ends. When it is the program's first one, there will be no helper any more: the process ends with its
 * last thread, and that must be the program's. */
void helper_thread_ends(void);

#endif
