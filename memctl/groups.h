/* SPDX-License-Identifier: MIT */
/* The groups below a group, sorted, and their columns: what ls and tree have in common. */
#ifndef MEMCTL_GROUPS_H
#define MEMCTL_GROUPS_H

#include "memctl/memctl.h"
#include "memctl/table.h"

#include <stddef.h>

#define GROUPS_COLUMNS 5
extern const struct table_column groups_columns[GROUPS_COLUMNS];

struct groups {
	struct memctl_group *row; /* paths are owned; each comes before those below it */
	size_t n, room;
};

/* Reads the groups below `group` (memctl_list's flags). Negative errno with its sentence. */
int groups_read(struct memctl *m, const char *group, unsigned flags, struct groups *ret);

/* Reads the group itself, in front of the others. */
int groups_read_top(struct memctl *m, const char *group, struct groups *ret);

/* Adds one group's row; `shown` is its name for people. */
void groups_add(struct table *t, const struct memctl_group *g, const char *shown);

#define GROUPS_BAR 48

/* What is used of its limit, for people: "[||||||    ]  61%"; "" without a limit. */
void groups_bar(const struct memctl_group *g, char buf[GROUPS_BAR]);

void groups_free(struct groups *g);

#endif
