/* SPDX-License-Identifier: MIT */
/* memory.soft: whom to take from first when the machine is short of memory.
 *
 * Source: mem_cgroup_update_tree, memcg1_soft_limit_reclaim and mem_cgroup_soft_reclaim (mm/memcontrol-v1.c,
 * before the limit was made inert in 2026); ../shared/reference/kernel-semantics.md 3.
 *
 * There is a tree for each memory node, of those groups above their soft limit that have pages there
 * (survey_group.is_elsewhere: they have none). They stand in a red-black tree by excess, that of the whole subtree; of equal ones
 * the newest entry is the worst. The worst is at hand without a search, whatever the number of groups. Keys
 * are as old as the last softlimit_update; what is taken from the tree is checked against the survey.
 *
 * A run is driven by its caller, who shrinks the groups it names, one after the other:
 *
 *	softlimit_begin(&run, tree);
 *	for (g = softlimit_step(&run, survey, 0); g != GROUP_NIL; g = softlimit_step(&run, survey, pages))
 *		pages = ... take SOFTLIMIT_GOAL pages of the members of g itself, with all force;
 *		survey_give_back(survey, g, pages);
 *
 * The survey must know what was given back, or be a new one, at each step; the run may be left at any time by
 * softlimit_end. Beyond the kernel: a next worst that was not tried goes back to the tree at once. */
#ifndef CONTROLD_SOFTLIMIT_H
#define CONTROLD_SOFTLIMIT_H

#include "controld/survey.h"

#define SOFTLIMIT_UPDATE_PAGES 1024 /* charged and uncharged until a group's key is made anew */
#define SOFTLIMIT_GOAL 32	    /* pages of one step */
#define SOFTLIMIT_FRUITLESS 2	    /* tries in a run that give nothing; the one after them is the last */
#define SOFTLIMIT_ROUNDS 100	    /* over the subtree of one group; the one after them is the last */
#define SOFTLIMIT_PART 4	    /* a group is left when 1/4 of its excess came back */

struct softlimit;

struct softlimit_run {
	struct softlimit *tree;
	uint16_t group;	 /* whose subtree is being shrunk; GROUP_NIL none */
	uint16_t next;	 /* the next worst, taken from the tree already; GROUP_NIL none */
	uint64_t excess; /* of group, as it was taken */
	uint64_t got;	 /* from it */
	uint64_t total;	 /* in the run */
	unsigned rounds; /* ended, over its subtree */
	unsigned tried;	 /* groups, one of them perhaps twice */
};

/* An empty tree; what is freed by softlimit_free (NULL is fine). -ENOMEM. */
int softlimit_make(struct softlimit **ret);
void softlimit_free(struct softlimit *t);

/* Notes that `pages` more were charged to or uncharged from the group. True when it is time to update it;
 * the count begins anew then. */
bool softlimit_note(struct softlimit *t, uint16_t group, uint64_t pages);

/* Puts the group and all above it where their excess belongs; those without any, off the tree. */
void softlimit_update(struct softlimit *t, const struct survey *s, uint16_t group);

/* The slot is another group's from now on, or nobody's. */
void softlimit_forget(struct softlimit *t, uint16_t group);

/* The worst by its key, GROUP_NIL when the tree is empty. Left where it is. */
uint16_t softlimit_worst(const struct softlimit *t);

/* What a group has above its soft limit; 0 of one not in use. */
uint64_t softlimit_excess(const struct survey *s, uint16_t group);

void softlimit_begin(struct softlimit_run *run, struct softlimit *t);

/* The group to take from next, GROUP_NIL when the run is over (it needs no softlimit_end then); run.total is
 * what came of it. `got`: pages that the last named group gave. */
uint16_t softlimit_step(struct softlimit_run *run, const struct survey *s, uint64_t got);
void softlimit_end(struct softlimit_run *run, const struct survey *s);

/* True when the tree is one, and its worst is known. For tests. */
bool softlimit_consistent(const struct softlimit *t);

#endif
