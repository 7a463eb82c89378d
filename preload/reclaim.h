/* SPDX-License-Identifier: MIT */
/* What a thread does when a limit refuses it, and what it owes above memory.high.
 *
 * Notes are taken where the charge is (under jemalloc's locks, in handlers); what follows from them is done where
 * waiting harms nobody: behind jemalloc's slow paths (jemalloc_slow.c) and at the end of the hooks of mmap's kin.
 *
 *   refused   give back what this process's heap does not use; ask others below the refusing group, and wait at
 *             most RECLAIM_PATIENCE_MS; where there is swap, ask all there, this process's own helper too, to page
 *             out what they do not use, and wait at most RECLAIM_COLD_PATIENCE_MS; then that group's policy: fail, or wait for room, or ask for a kill and wait
 *             KILL_PATIENCE_MS. What cannot fit under the limit at all fails at once.
 *   high      work off what was charged while a group was above its memory.high: an event, reclaim of the excess,
 *             then the delay of accounting/throttle.h.
 *
 * price         nothing to do: one thread-local load. Refused with nothing to be had anywhere: 20 ns, and a look at
 *               the other members once in RECLAIM_AGAIN_MS.
 */
#ifndef PRELOAD_RECLAIM_H
#define PRELOAD_RECLAIM_H

#include "preload/self.h"

#include <stdbool.h>
#include <stdint.h>

/* Not 0: this thread has something before it. volatile: a handler may allocate. */
extern __thread volatile unsigned reclaim_due __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* This thread's request for so many pages was refused by `group`; a large one leaves the room to unwind (charge.h). */
void reclaim_note_refused(uint16_t group, uint64_t pages, bool is_large);

/* So many pages were charged to an account in `group`; what is above memory.high becomes a debt. */
void reclaim_note_charged(const struct self *self, uint64_t pages);

/* Behind an allocation, outside all locks: true when it failed and is worth another try. Keeps errno. */
bool reclaim_after_heap(bool failed);

/* A mapping was refused as noted: true when it is worth another try. Async-signal-safe, as mmap is. */
bool reclaim_after_refused_mapping(void);

/* At the end of a hook that may have charged. Keeps errno. */
void reclaim_after_mapping(void);

#endif
