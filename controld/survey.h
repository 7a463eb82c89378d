/* SPDX-License-Identifier: MIT */
/* A snapshot with the tree and the limits beside it, as plain numbers: what policy decides by.
 *
 * Policy reads nothing else (and time, as an argument), so that the same survey gives the same decision and a
 * test writes one by hand. Rows are by group index, GROUP_ROOT is the root. Children are linked in the order
 * of their index, whatever the order in which they were made. */
#ifndef CONTROLD_SURVEY_H
#define CONTROLD_SURVEY_H

#include "accounting/snapshot.h"

struct survey_group {
	uint64_t usage; /* snapshot_current: what memory.current shows */
	uint64_t min, low, high, max, soft;
	uint16_t parent;       /* the root's is GROUP_NIL */
	uint16_t first_child;  /* survey_link's; 0 none */
	uint16_t next_sibling; /* survey_link's; 0 none */
	bool is_used;	       /* has a name, or is charged still; all else counts only then */
	bool is_live;	       /* has a name */
	bool oom_group;
	bool is_elsewhere; /* it, and all below, have nothing on the memory node that is looked at: no excess there */
};

struct survey {
	uint32_t groups;
	struct survey_group *group; /* owned */
};

/* Rows for `groups` groups, none in use. -ENOMEM. */
int survey_make(uint32_t groups, struct survey *ret);

/* The segment as it is, with the usages of `snap`. Groups that were removed but are charged still have no
 * protection and no limits, as in the kernel. -ENOMEM. Cost: one pass over the groups. */
int survey_take(const struct segment *seg, const struct snapshot *snap, struct survey *ret);
void survey_free(struct survey *s);

/* Makes first_child and next_sibling from parent. */
void survey_link(struct survey *s);

/* Says that `pages` have been given back by members of `group`: down it goes there and above. */
void survey_give_back(struct survey *s, uint16_t group, uint64_t pages);

/* `top` and all below in pre-order: begin with `top` itself; GROUP_NIL at the end. */
uint16_t survey_next(const struct survey *s, uint16_t top, uint16_t group);

/* True when both are in use and `group` is `above` or lies below it. */
bool survey_is_within(const struct survey *s, uint16_t group, uint16_t above);

static inline bool survey_is_used(const struct survey *s, uint16_t group)
{
	return group < s->groups && s->group[group].is_used;
}

#endif
