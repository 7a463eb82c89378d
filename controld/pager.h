/* SPDX-License-Identifier: MIT */
/* Paging out what members do not use that cannot do so themselves: they have no helper, are
 * stopped, or are observed. Only where the daemon may (process_madvise: CAP_SYS_NICE, and the right
 * to look at the process).
 *
 * As in the member (preload/cold.h), by mapping alone: all is marked as untouched, PAGER_WINDOW_NS
 * later what was touched is seen, and mappings that were not go, 8 MiB a turn. What went shows in
 * the member's counters (scanned, reclaimed) and is settled by looks at its memory and its swap. */
#ifndef CONTROLD_PAGER_H
#define CONTROLD_PAGER_H

#include "controld/served.h"

#define PAGER_WINDOW_NS 200000000ull

/* Begins, unless it is at it. -ENOMEM. */
int pager_begin(struct served *s, uint32_t member, uint64_t pages, int swappiness);

/* True while it is at it. */
bool pager_is_busy(const struct served *s, uint32_t member);

/* The stage. */
void pager_turn(struct served *s, uint64_t now_ns);

void pager_forget_all(struct served *s);

#endif
