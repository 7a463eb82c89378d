/* SPDX-License-Identifier: MIT */
/* How long a thread waits that charged beyond memory.high. Integers alone, no libc: for both planes.
 *
 * Source: calculate_overage, mem_find_max_overage and calculate_high_delay (mm/memcontrol.c);
 * ../shared/reference/kernel-semantics.md 7. The kernel's jiffies are milliseconds here. */
#ifndef ACCOUNTING_THROTTLE_H
#define ACCOUNTING_THROTTLE_H

#include "accounting/layout.h"

#define THROTTLE_PRECISION 20	/* bits of an overage behind the point */
#define THROTTLE_BATCH 64u	/* pages; the delay of the formula is for so many */
#define THROTTLE_MAX_MS 2000u	/* of one pass */
#define THROTTLE_IGNORED_MS 10u /* a delay up to this is not slept: it would cost more than it slows */
#define THROTTLE_OVERAGE_MAX (64ull << THROTTLE_PRECISION) /* from here on even one page waits the maximum */

struct segment;

/* How far usage is above high, as a part of high, in 1/2^20; at most THROTTLE_OVERAGE_MAX. */
uint64_t throttle_overage(uint64_t usage, uint64_t high);

/* The largest overage of `group` and those above it, the root left out. Reads the counters as they are; any
 * process may call it, at any time. */
uint64_t throttle_overage_of(const struct segment *seg, unsigned resource, uint16_t group);

/* Milliseconds for somebody who charged `pages` in all since the last wait. Delays for memory and for swap add
 * up; at most THROTTLE_MAX_MS. Those up to THROTTLE_IGNORED_MS are returned, too. */
uint32_t throttle_delay_ms(uint64_t memory_overage, uint64_t swap_overage, uint64_t pages);

#endif
