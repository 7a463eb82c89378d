/* SPDX-License-Identifier: MIT */
/* What top shows: groups with their numbers and rates, in lines, sorted, filtered, folded. No
 * terminal here. */
#ifndef MEMCTL_TOP_H
#define MEMCTL_TOP_H

#include "memctl/census.h"

#include <stdbool.h>

enum top_sort { TOP_BY_NAME, TOP_BY_CURRENT, TOP_BY_RATE, TOP_BY_PRESSURE, TOP_BY_SHARE, TOP_BY_MEMBERS, TOP_SORTS };

struct top_group {
	uint32_t row; /* of the census */
	uint32_t slot, generation;
	uint32_t parent;      /* index; the root's is its own */
	uint32_t first, next; /* first child, next sibling; indices, 0 none */
	uint32_t depth, members, members_local;
	const char *name; /* in the census */
	uint64_t current, max, high, low;
	uint64_t limit;		  /* the lower of max and high; CENSUS_MAX: none */
	int64_t rate;		  /* of current, bytes a second */
	uint32_t pressure;	  /* some.avg10, in hundredths of a percent */
	uint64_t hits;		  /* memory.events: max and oom */
	uint64_t hits_new;	  /* since the last census */
	bool is_folded, is_match; /* match: of the filter, or above one */
};

/* One line: a group, or the member number `member` of it. */
struct top_line {
	uint32_t group;
	int member;    /* -1: the group itself */
	bool is_last;  /* of its siblings */
	uint32_t open; /* bit d: its ancestor of depth d has siblings below */
};

/* What is remembered of a slot from one census to the next. */
struct top_past {
	uint32_t generation; /* + 1; 0: nothing */
	bool is_folded;
	uint64_t current, hits;
};

struct top {
	struct census_copy census;
	uint64_t seen_ns;	 /* when it was taken */
	struct top_group *group; /* group[0] is the root */
	uint32_t groups, group_room;
	struct top_line *line;
	uint32_t lines, line_room;
	struct top_past *past; /* by slot */

	enum top_sort sort;
	bool is_inverse, is_flat, has_members;
	char filter[64];
};

/* -ENOMEM. */
int top_open(struct top *t);
void top_close(struct top *t);

/* Reads a new census. Negative errno with its sentence; what was read before stays then. */
int top_read(struct top *t, struct memctl *m);

/* Makes the lines, after anything has changed. */
void top_arrange(struct top *t);

void top_fold(struct top *t, uint32_t group, bool folded);

/* The group's path; GROUP_PATH_MAX bytes. Returns buf. */
char *top_path(const struct top *t, uint32_t group, char *buf);

/* The line of a group by slot and generation, else -1. */
int top_find_line(const struct top *t, uint32_t slot, uint32_t generation);

/* Part of its limit in use, in thousandths; 0 without a limit. */
unsigned top_share(const struct top_group *g);

#endif
