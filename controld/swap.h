/* SPDX-License-Identifier: MIT */
/* What members have in swap, whoever paged it out: measured (VmSwap; among relatives SwapPss of
 * smaps_rollup), and charged to RESOURCE_SWAP in the group where each member is. A member's own
 * paging-out charges before (preload/pageout.h); here that is made true. And memsw: what a group
 * has in memory and in swap together.
 *
 * There is no counter for both: a charge would pay for it each time. memory.memsw.limit_in_bytes
 * lowers what memory.max is to the charges by what is in swap, at each look. So memory.max counts
 * charges that memsw refused too, until they are told apart here.
 *
 * A member is looked at once a second where the machine has swap, and before somebody reads a key.
 */
#ifndef CONTROLD_SWAP_H
#define CONTROLD_SWAP_H

#include "controld/served.h"

/* The stage. */
void swap_turn(struct served *s, uint64_t now_ns);

/* Looks at all members at or below `group` now, and at the limits of memsw. */
void swap_refresh(struct served *s, uint16_t group, uint64_t now_ns);

/* The machine has swap. */
bool swap_is_there(struct served *s, uint64_t now_ns);

/* Looks at one member now. */
void swap_look_at(struct served *s, uint32_t member);

/* Pages of members of this group and below. */
uint64_t swap_used(const struct served *s, uint16_t group);

/* Memory and swap together. */
uint64_t swap_memsw(const struct served *s, uint16_t group);

/* PAGES_MAX: none. */
uint64_t swap_memsw_limit(const struct served *s, uint16_t group);

/* A group's memory.max or memsw limit was set: what charges see is made of both. */
void swap_tighten(const struct served *s, uint16_t group);

#endif
