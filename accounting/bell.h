/* SPDX-License-Identifier: MIT */
/* The bell: a sequence number and a futex by which members make the daemon look.
 *
 * ordering [O6] ring:  bell++, then read waiting.   wait:  waiting = 1, then compare bell in the kernel.
 * price         a ring with nobody asleep: one locked add. A wait costs nothing while nobody rings.
 */
#ifndef ACCOUNTING_BELL_H
#define ACCOUNTING_BELL_H

#include "accounting/segment.h"

/* Makes the daemon look. Signal-safe; leaves errno alone. */
void bell_ring(const struct segment *seg);

/* Sleeps until the bell differs from `seen` (at most timeout_ns, 0: for ever); returns the bell now.
 * One thread of the daemon. May return early. */
uint32_t bell_wait(const struct segment *seg, uint32_t seen, uint64_t timeout_ns);

static inline uint32_t bell_read(const struct segment *seg)
{
	return mc_load_full(&seg->counters->header.bell);
}

#endif
