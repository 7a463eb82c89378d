/* SPDX-License-Identifier: MIT */
/* Out of memory in a group: which member is killed, and who goes with it.
 *
 * Source: oom_badness, oom_evaluate_task (mm/oom_kill.c), mem_cgroup_get_oom_group (mm/memcontrol.c);
 * ../shared/reference/kernel-semantics.md 6. The domain is the group that refused; nobody outside its subtree
 * is ever chosen, nor one whose oom_score_adj is -1000. Unlike the kernel's, which takes the last it meets,
 * the choice does not depend on the order of the candidates: of equal scores the one that started last goes,
 * then the one with the higher pid. */
#ifndef CONTROLD_OOM_H
#define CONTROLD_OOM_H

#include "controld/survey.h"

#define OOM_ADJ_NEVER (-1000) /* OOM_SCORE_ADJ_MIN */
#define OOM_ADJ_MAX 1000

struct oom_candidate {
	uint64_t held, swap; /* pages, each below 2^49 */
	uint64_t start_time;
	uint32_t pid;
	uint16_t group;
	int16_t adj;   /* /proc/PID/oom_score_adj */
	bool is_dying; /* killed already, its memory is still to come */
};

/* What adj is a share of: the domain's memory.max and the swap that it may use, in pages. */
uint64_t oom_total_pages(const struct survey *s, uint16_t domain, uint64_t swap_pages);

/* False for whom nobody may kill; else in `ret_score` held + swap + adj * (total / 1000), which may be
 * negative. Does not ask where it is. */
bool oom_score(const struct oom_candidate *c, uint64_t total_pages, int64_t *ret_score);

/* Index of the victim in `ret_index`. -ESRCH: there is nobody to kill, the charge fails; -EBUSY: somebody of
 * the domain is dying, wait for him (the caller leaves out those that he has waited for long enough). */
int oom_choose(const struct survey *s, uint16_t domain, uint64_t total_pages, const struct oom_candidate *candidates,
	       uint32_t count, uint32_t *ret_index);

/* The group that is killed as a whole with a victim in `group`: the uppermost up to the domain that has
 * memory.oom.group; GROUP_NIL: the victim goes alone. Never the root; a victim outside the domain (moved
 * meanwhile) takes nobody along. */
uint16_t oom_find_group(const struct survey *s, uint16_t domain, uint16_t group);

/* True when this candidate goes with `group`. */
bool oom_goes_with(const struct survey *s, uint16_t group, const struct oom_candidate *c);

#endif
