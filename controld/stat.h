/* SPDX-License-Identifier: MIT */
/* memory.stat: what the memory of a group and of all below it is.
 *
 * What is charged is known to the page, and by what it was asked for as. What of it is resident is known for the
 * whole process alone: where not all is, the heap is taken to be resident first, then stacks, then the rest. */
#ifndef CONTROLD_STAT_H
#define CONTROLD_STAT_H

#include "accounting/snapshot.h"
#include "controld/served.h"

#include <stdbool.h>

enum stat_row {
#define STAT(id, name, sentence) STAT_##id,
#include "accounting/stats.def"
#undef STAT
	STATS
};

/* Fills ret[STATS], in pages. The snapshot is one of residency_snapshot. Reads /proc for each member. */
void stat_take(const struct served *s, uint16_t group, const struct snapshot *snap, uint64_t *ret);

/* The same for all groups in one pass: ret[group][STATS], zeroed before. Without `thorough` /proc is not read: then file,
 * swap, what is locked and main stacks are not told apart. */
void stat_take_all(const struct served *s, const struct snapshot *snap, bool thorough, uint64_t (*ret)[STATS]);

#endif
