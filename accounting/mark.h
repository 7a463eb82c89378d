/* SPDX-License-Identifier: MIT */
/* Marks: which groups the daemon's notifier shall look at, and why. As the bell, with a name on it.
 *
 * contract      anybody marks, at any time, signal handlers too; one thread of the daemon takes. A group that is marked
 *               already is marked once. Nothing is marked that nobody wants to know (limits_header.watched).
 * ordering [O11] mark: bit, then `some`, then marked++, then marked_waiting read.  take: `some` cleared, then bits.
 *                wait: marked_waiting = 1, then marked compared by the kernel.
 *          [O10] who marks has swapped usage before; who takes clears the bit and then reads usage.
 * crash table   died after    left behind              who puts it right
 *               bit           not taken                the next who marks; a turn of the daemon (mark_some_again)
 *               some          taken with the next one  the same
 * price         marked already: two loads, and for MARK_CROSSED a ring. A ring with nobody asleep: one locked add.
 */
#ifndef ACCOUNTING_MARK_H
#define ACCOUNTING_MARK_H

#include "accounting/segment.h"

static inline bool mark_is_wanted(const struct segment *seg, enum mark_reason why)
{
	return mc_load_full(&seg->limits->header.watched) & 1u << why; /* [O10] */
}

/* Makes the notifier look at a group. Signal-safe; leaves errno alone. */
void mark_group(const struct segment *seg, enum mark_reason why, uint16_t group);

/* The same for the group and all above it. */
void mark_path(const struct segment *seg, enum mark_reason why, uint16_t group);

/* ---- the daemon's --------------------------------------------------------------------------------------------- */

typedef void mark_taken(void *arg, uint16_t group);

/* Calls `each` for all marked groups; their bits stay set: mark_clear. */
void mark_take(const struct segment *seg, enum mark_reason why, mark_taken *each, void *arg);

/* Before looking: who marks from now on is heard again. */
void mark_clear(const struct segment *seg, enum mark_reason why, uint16_t group);

/* Finds bits whose markers died or were stopped before they could say so. */
void mark_some_again(const struct segment *seg);

/* Sleeps until `marked` differs from `seen`, at most so long (0: for ever). May return early. */
void mark_wait(const struct segment *seg, uint32_t seen, uint64_t timeout_ns);

void mark_ring(const struct segment *seg);

static inline uint32_t mark_read(const struct segment *seg)
{
	return mc_load_full(&seg->counters->header.marked);
}

#endif
