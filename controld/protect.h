/* SPDX-License-Identifier: MIT */
/* memory.min and memory.low: what of each group a reclaim leaves alone.
 *
 * Source: page_counter_calculate_protection and effective_protection (mm/page_counter.c), shrink_node_memcgs
 * and the proportional part of get_scan_count (mm/vmscan.c); ../shared/reference/kernel-semantics.md 2, 8.
 *
 * A reclaim has a target: the group that is to shrink, with all below. Protection counts below the target and
 * not for the target itself, nor for the root. It is claimed by what is used (min(usage, setting)), divided
 * among siblings who claim more than their parent has in proportion to their claims; with `recursive`, what no
 * child claims goes to them in proportion to what they use above their claims (memory_recursiveprot; dmem
 * always). Unlike the kernel's, values are never left over from an earlier reclaim: where it skips a group
 * (nothing used), they are 0.
 *
 * A reclaim first leaves both alone. When that freed nothing, and something was spared because of low
 * (PROTECT_LATER, or ret_spared of protect_scan), a second pass honours min alone. */
#ifndef CONTROLD_PROTECT_H
#define CONTROLD_PROTECT_H

#include "controld/survey.h"

/* The least that a scan is asked for, so that reclaim gets on; SWAP_CLUSTER_MAX. */
#define PROTECT_SCAN_MIN 32u

enum protect_pass { PROTECT_LOW_HONOURED, PROTECT_LOW_IGNORED };

enum protect_verdict {
	PROTECT_TAKE,	/* may be taken from */
	PROTECT_BREACH, /* the same, and is below its low: the caller counts the event low */
	PROTECT_LATER,	/* below its low: not in this pass */
	PROTECT_NEVER,	/* below its min */
};

/* Effective values, in the survey's units. */
struct protection {
	uint64_t min, low;
};

/* Fills survey.groups rows of `ret`: of groups below `target` what protects them from its reclaim, of all
 * others 0. */
void protect_calculate(const struct survey *s, uint16_t target, bool recursive, struct protection *ret);

/* Usage is all protected. Never true of the target and the root. `p`: the group's row. */
bool protect_is_below_min(const struct survey *s, uint16_t target, uint16_t group, const struct protection *p);
bool protect_is_below_low(const struct survey *s, uint16_t target, uint16_t group, const struct protection *p);

/* Whether this pass takes from what members of this very group hold. Outside the target: PROTECT_NEVER. */
enum protect_verdict protect_judge(const struct survey *s, uint16_t target, uint16_t group, const struct protection *p,
				   enum protect_pass pass);

/* How many of `size` reclaimable units of a group to look at in a round of this priority (12 least, 0 all):
 * the more of the group is protected, the fewer. True in `ret_spared` (may be NULL) when low made it fewer.
 * For groups that may be taken from. */
uint64_t protect_scan(const struct survey *s, uint16_t group, const struct protection *p, enum protect_pass pass,
		      uint64_t size, unsigned priority, bool *ret_spared);

#endif
