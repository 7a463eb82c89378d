/* SPDX-License-Identifier: MIT */
/* Efforts: what it took to get memory back under a limit. Booked on the group whose limit was hit, by whoever
 * looked for memory; the daemon makes levels of pressure of it (controld/pressure.h).
 *
 * Scanned is what was wanted, and reclaimed what came of it: who got all that he wanted stopped looking there. */
#ifndef ACCOUNTING_EFFORT_H
#define ACCOUNTING_EFFORT_H

#include "accounting/mark.h"

#define EFFORT_WINDOW 512u
#define EFFORT_MOST (1u << 20) /* units of one booking: sums of 32 bits hold thousands */

static inline uint64_t effort_scanned(uint64_t word)
{
	return word >> 32;
}

static inline uint64_t effort_reclaimed(uint64_t word)
{
	return word & UINT32_MAX;
}

/* Books that so much was wanted and got. Signal-safe. */
static inline void effort_book(const struct segment *seg, unsigned resource, uint16_t group, uint64_t wanted,
			       uint64_t got)
{
	mc_word *word = &seg->counters->pool[resource][group].effort;
	uint64_t scanned = wanted > got ? wanted : got;

	if (scanned == 0 || !mark_is_wanted(seg, MARK_STRAINED))
		return;
	if (scanned > EFFORT_MOST) {
		got = (uint64_t)((unsigned __int128)got * EFFORT_MOST / scanned);
		scanned = EFFORT_MOST;
	}
	scanned += effort_scanned(mc_add_full(word, scanned << 32 | got));
	if (scanned >= EFFORT_WINDOW)
		mark_group(seg, MARK_STRAINED, group);
}

/* Books that nothing is left to be tried: in the kernel, a round of priority 3 and less. */
static inline void effort_book_last(const struct segment *seg, unsigned resource, uint16_t group)
{
	effort_book(seg, resource, group, EFFORT_WINDOW, 0);
}

/* The daemon's: takes the sums once they fill a window; 0: they do not. */
static inline uint64_t effort_take(const struct segment *seg, unsigned resource, uint16_t group)
{
	mc_word *word = &seg->counters->pool[resource][group].effort;

	return effort_scanned(mc_load_full(word)) >= EFFORT_WINDOW ? mc_exchange_full(word, 0) : 0;
}

#endif
