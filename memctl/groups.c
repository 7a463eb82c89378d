/* SPDX-License-Identifier: MIT */
/* The groups below a group, sorted, and their columns. */
#include "memctl/groups.h"

#include "memctl/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLOUR_NEAR "\033[33m" /* from 3/4 of the limit: yellow */
#define COLOUR_FULL "\033[31m" /* from 15/16: red */
#define COLOUR_OFF "\033[0m"
#define BAR_INSIDE 10

const struct table_column groups_columns[GROUPS_COLUMNS] = {
	{ "group", TABLE_TEXT, "path of the group" },
	{ "current", TABLE_BYTES, "memory that members of the group and below hold" },
	{ "max", TABLE_BYTES, "hard limit of the group" },
	{ "members", TABLE_COUNT, "members of the group and below" },
	{ "members_local", TABLE_COUNT, "members of the group alone" },
};

static int keep(const struct memctl_group *group, void *arg)
{
	struct groups *g = arg;

	if (g->n == g->room) {
		size_t room = g->room ? 2 * g->room : 32;
		struct memctl_group *row = reallocarray(g->row, room, sizeof(*row));

		if (!row)
			return error_set(-ENOMEM, "no memory left");
		g->row = row;
		g->room = room;
	}
	g->row[g->n] = *group;
	g->row[g->n].path = strdup(group->path);
	if (!g->row[g->n].path)
		return error_set(-ENOMEM, "no memory left");
	g->n++;
	return 0;
}

/* By path, with '/' before every other character: so each group is followed by what is below it. */
static int compare(const void *a, const void *b)
{
	const char *p = ((const struct memctl_group *)a)->path;
	const char *q = ((const struct memctl_group *)b)->path;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	if (*p == '/' || *q == '/')
		return *p == '/' ? (*q ? -1 : 1) : (*p ? 1 : -1);
	return (unsigned char)*p - (unsigned char)*q;
}

int groups_read(struct memctl *m, const char *group, unsigned flags, struct groups *g)
{
	int err = memctl_list(m, group, flags, keep, g);

	if (err)
		groups_free(g);
	else if (g->n)
		qsort(g->row, g->n, sizeof(*g->row), compare);
	return err;
}

static int count_all(const struct memctl_member *member, void *arg)
{
	(void)member;
	++*(unsigned *)arg;
	return 0;
}

int groups_read_top(struct memctl *m, const char *group, struct groups *g)
{
	struct memctl_group top = { .path = group };
	int err = memctl_get_number(m, group, "memory.current", &top.current);

	if (!err)
		err = memctl_get_number(m, group, "memory.max", &top.max);
	if (!err)
		err = memctl_members(m, group, 0, count_all, &top.members);
	if (!err)
		err = memctl_members(m, group, MEMCTL_LOCAL, count_all, &top.members_local);
	if (!err)
		err = keep(&top, g);
	if (err)
		groups_free(g);
	return err;
}

static const char *colour_of(const struct memctl_group *g)
{
	if (g->max == MEMCTL_MAX || g->current < g->max - g->max / 4)
		return "";
	return g->current < g->max - g->max / 16 ? COLOUR_NEAR : COLOUR_FULL;
}

/* "[||||||    ]  61%", red and with # from 15/16 on. */
void groups_bar(const struct memctl_group *g, char buf[GROUPS_BAR])
{
	double part = g->max ? (double)g->current / (double)g->max : 1;
	int full = part >= 1 ? BAR_INSIDE : (int)(part * BAR_INSIDE + 0.5);
	const char *colour = output_has_colour() ? colour_of(g) : "";

	*buf = 0;
	if (g->max == MEMCTL_MAX)
		return;
	(void)snprintf(buf, GROUPS_BAR, "%s[%.*s%*s] %3.0f%%%s", colour, full,
		       part >= 0.9375 ? "##########" : "||||||||||", BAR_INSIDE - full, "", part * 100,
		       *colour ? COLOUR_OFF : "");
}

void groups_add(struct table *t, const struct memctl_group *g, const char *shown)
{
	table_text_shown(t, g->path, shown);
	table_number_coloured(t, g->current, colour_of(g));
	table_number(t, g->max);
	table_number(t, g->members);
	table_number(t, g->members_local);
}

void groups_free(struct groups *g)
{
	for (size_t i = 0; i < g->n; i++)
		free((char *)g->row[i].path);
	free(g->row);
	*g = (struct groups){ 0 };
}
