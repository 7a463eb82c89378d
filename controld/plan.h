/* SPDX-License-Identifier: MIT */
/* How a reclaim is divided among groups: how many pages each is asked for. Reads and changes the survey alone, which
 * is afterwards as it will be when they have been given. */
#ifndef CONTROLD_PLAN_H
#define CONTROLD_PLAN_H

#include "controld/softlimit.h"
#include "controld/survey.h"

/* One for each group of the survey, by index; of its own members, without those of groups below. Pages. */
struct plan_row {
	uint64_t has;	  /* in: what could be given; out: what is left of it */
	uint64_t take;	  /* out, added: what to ask for */
	bool is_breached; /* out: it is taken from although it is below its memory.low */
};

/* Up to `wanted` pages at and below `target`: from each group in proportion to what it has, less what memory.min and
 * memory.low protect (protect.h). memory.low counts for nothing when nothing is to be had otherwise. Returns the sum;
 * 0 also when there is no memory for it. */
uint64_t plan_take(struct survey *s, uint16_t target, uint64_t wanted, struct plan_row *rows);

/* One run over the groups above their soft limits, the worst first (softlimit.h). */
uint64_t plan_soften(struct survey *s, struct softlimit *tree, struct plan_row *rows);

#endif
