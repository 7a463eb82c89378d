/* SPDX-License-Identifier: MIT */
/* Paging out pages of this process, and its accounts with it: what goes to swap is charged there before, and what is
 * gone from memory is taken from what it holds there.
 *
 * contract      the helper thread alone. Pages come back by themselves, whoever touches them, and are charged again by
 *               the daemon's next look.
 * price         20 us for the looks at a piece, beside what the kernel takes.
 */
#ifndef PRELOAD_PAGEOUT_H
#define PRELOAD_PAGEOUT_H

#include "preload/self.h"

#include <stdbool.h>
#include <stdint.h>

#define PAGEOUT_PIECE 512u /* pages; 1 to 5 ms, for which a fork waits */

/* What became of a piece. */
struct pageout {
	uint64_t present; /* pages that were in memory before */
	uint64_t gone;	  /* of them now not any more */
	bool is_full;	  /* memory.swap.max left no room for any of it */
};

/* A look at up to PAGEOUT_PIECE pages: true for each in memory; *ret_swapped (may be NULL): how
 * many are in swap. False: this process may not look at itself. */
bool pageout_look(const void *addr, unsigned pages, bool ret_present[PAGEOUT_PIECE], unsigned *ret_swapped);

/* Pages out up to PAGEOUT_PIECE pages. False as above: nothing done. */
bool pageout_piece(const struct self *self, void *addr, unsigned pages, struct pageout *ret);

#endif
