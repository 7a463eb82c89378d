/* SPDX-License-Identifier: MIT */
/* What top shows. */
#include "memctl/top.h"

#include "memctl/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (GROUPS_MAX + 1)

int top_open(struct top *t)
{
	t->past = calloc(SLOTS, sizeof(*t->past));
	t->sort = TOP_BY_CURRENT;
	return t->past ? 0 : error_set(-ENOMEM, "no memory left");
}

void top_close(struct top *t)
{
	census_free(&t->census);
	free(t->group);
	free(t->line);
	free(t->past);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

/* Which columns are wanted. */
struct columns {
	int current, max, high, low, pressure, hits, refused;
};

static struct columns find_columns(const struct census_copy *c)
{
	return (struct columns){
		.current = census_find(c, "memory.current", ""),
		.max = census_find(c, "memory.max", ""),
		.high = census_find(c, "memory.high", ""),
		.low = census_find(c, "memory.low", ""),
		.pressure = census_find(c, "memory.pressure", "some.avg10"),
		.hits = census_find(c, "memory.events", "max"),
		.refused = census_find(c, "memory.events", "oom"),
	};
}

static uint64_t known(uint64_t value)
{
	return value == CENSUS_UNKNOWN ? 0 : value;
}

static void fill(struct top *t, struct top_group *g, uint32_t i, const struct columns *c, uint64_t passed_ns)
{
	const struct census_row *row = census_at(&t->census, i);
	struct top_past *past = &t->past[row->slot % SLOTS];
	bool is_known = past->generation == row->generation + 1;

	*g = (struct top_group){ .row = i,
				 .slot = row->slot,
				 .generation = row->generation,
				 .depth = row->depth,
				 .members = row->members,
				 .members_local = row->members_local,
				 .name = row->name,
				 .current = known(census_value(row, c->current)),
				 .max = census_value(row, c->max),
				 .high = census_value(row, c->high),
				 .low = known(census_value(row, c->low)),
				 .pressure = (uint32_t)known(census_value(row, c->pressure)),
				 .hits = known(census_value(row, c->hits)) + known(census_value(row, c->refused)) };
	g->limit = g->max < g->high ? g->max : g->high;
	if (is_known && passed_ns) {
		g->rate = (int64_t)((double)((int64_t)g->current - (int64_t)past->current) * 1e9 / (double)passed_ns);
		g->hits_new = g->hits > past->hits ? g->hits - past->hits : 0;
	}
	g->is_folded = is_known && past->is_folded;
	*past = (struct top_past){ row->generation + 1, g->is_folded, g->current, g->hits };
}

/* The root is put first, and rows are found by slot. */
static int make_groups(struct top *t, uint64_t passed_ns)
{
	uint32_t n = t->census.rows;
	struct columns c = find_columns(&t->census);
	uint32_t used = 1;

	if (n > t->group_room) {
		struct top_group *room = reallocarray(t->group, n, sizeof(*room));

		if (!room)
			return error_set(-ENOMEM, "no memory left");
		t->group = room;
		t->group_room = n;
	}
	for (uint32_t i = 0; i < n; i++) {
		bool is_root = census_at(&t->census, i)->parent == GROUP_NIL;

		if (!is_root && used == n)
			return error_set(-EPROTO, "the census has no root");
		fill(t, &t->group[is_root ? 0 : used++], i, &c, passed_ns);
	}
	t->groups = n;
	return n ? 0 : error_set(-EPROTO, "the census is empty");
}

/* A group whose parent is not there (removed just now) is shown below the root. */
static void link_groups(struct top *t)
{
	static uint32_t index_of[SLOTS];

	memset(index_of, 0, sizeof(index_of));
	for (uint32_t i = 0; i < t->groups; i++)
		index_of[t->group[i].slot % SLOTS] = i;
	for (uint32_t i = 1; i < t->groups; i++) {
		struct top_group *g = &t->group[i];

		g->parent = index_of[census_at(&t->census, g->row)->parent % SLOTS];
		if (t->group[g->parent].depth + 1 != g->depth)
			g->parent = 0;
	}
}

int top_read(struct top *t, struct memctl *m)
{
	uint64_t before_ns = t->seen_ns;
	int err = census_read(m, false, &t->census);

	if (err) {
		if (!t->census.rows) /* names lie in it */
			t->groups = t->lines = 0;
		return err;
	}
	t->seen_ns = t->census.census->at_ns;
	err = make_groups(t, before_ns && t->seen_ns > before_ns ? t->seen_ns - before_ns : 0);
	if (!err)
		link_groups(t);
	return err;
}

/* ---- arranging ------------------------------------------------------------------------------------------- */

static const struct top *sorting; /* qsort has no argument for it */

unsigned top_share(const struct top_group *g)
{
	if (g->limit == CENSUS_MAX)
		return 0;
	if (!g->limit)
		return g->current ? 1000 : 0;
	return (unsigned)((double)g->current / (double)g->limit * 1000);
}

static int order(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

static int compare(const void *p, const void *q)
{
	const struct top_group *a = &sorting->group[*(const uint32_t *)p], *b = &sorting->group[*(const uint32_t *)q];
	int r = 0;

	switch (sorting->sort) {
	case TOP_BY_CURRENT:
		r = order((int64_t)a->current, (int64_t)b->current);
		break;
	case TOP_BY_RATE:
		r = order(a->rate, b->rate);
		break;
	case TOP_BY_PRESSURE:
		r = order(a->pressure, b->pressure);
		break;
	case TOP_BY_SHARE:
		r = order(top_share(a), top_share(b));
		break;
	case TOP_BY_MEMBERS:
		r = order(a->members, b->members);
		break;
	case TOP_BY_NAME:
	case TOP_SORTS:
		break;
	}
	if (!r)
		r = strcmp(a->name, b->name);
	if (!r)
		r = order(b->slot, a->slot);
	return sorting->is_inverse ? -r : r;
}

char *top_path(const struct top *t, uint32_t group, char *buf)
{
	uint32_t chain[GROUP_DEPTH_MAX + 1];
	unsigned n = 0;
	size_t at = 0;

	for (; group && n < GROUP_DEPTH_MAX; group = t->group[group].parent)
		chain[n++] = group;
	(void)strcpy(buf, "/");
	while (n--)
		at += (size_t)snprintf(buf + at, GROUP_PATH_MAX - at, "/%s", t->group[chain[n]].name);
	return buf;
}

/* Matches, and what is above them, so that the tree holds together. */
static void match(struct top *t)
{
	char path[GROUP_PATH_MAX];

	for (uint32_t i = 0; i < t->groups; i++)
		t->group[i].is_match = !*t->filter;
	for (uint32_t i = 0; i < t->groups && *t->filter; i++) {
		if (!strcasestr(top_path(t, i, path), t->filter))
			continue;
		t->group[i].is_match = true;
		for (uint32_t p = i; p && !t->is_flat;) {
			p = t->group[p].parent;
			t->group[p].is_match = true;
		}
	}
}

/* Children of each in their order, linked; sorted all at once. */
static void sort(struct top *t, uint32_t *all)
{
	for (uint32_t i = 0; i < t->groups; i++) {
		all[i] = i;
		t->group[i].first = t->group[i].next = 0;
	}
	sorting = t;
	qsort(all, t->groups, sizeof(*all), compare);
	for (uint32_t i = t->groups; i-- > 0;) {
		struct top_group *g = &t->group[all[i]];

		if (all[i] == 0)
			continue;
		g->next = t->group[g->parent].first;
		t->group[g->parent].first = all[i];
	}
}

static void add_line(struct top *t, uint32_t group, int member, bool is_last, uint32_t open)
{
	if (t->lines == t->line_room) {
		uint32_t room = t->line_room ? 2 * t->line_room : 256;
		struct top_line *line = reallocarray(t->line, room, sizeof(*line));

		if (!line)
			return;
		t->line = line;
		t->line_room = room;
	}
	t->line[t->lines++] = (struct top_line){ group, member, is_last, open };
}

static void add_group(struct top *t, uint32_t group, bool is_last, uint32_t open)
{
	const struct top_group *g = &t->group[group];

	add_line(t, group, -1, is_last, open);
	for (uint32_t i = 0; t->has_members && i < g->members_local && (t->is_flat || !g->is_folded); i++)
		add_line(t, group, (int)i, false, is_last ? open : open | 1u << g->depth);
}

static bool has_later_match(const struct top *t, uint32_t group)
{
	for (uint32_t i = t->group[group].next; i; i = t->group[i].next)
		if (t->group[i].is_match)
			return true;
	return false;
}

static void add_tree(struct top *t, uint32_t group, uint32_t open)
{
	bool is_last = !group || !has_later_match(t, group);

	if (!t->group[group].is_match)
		return;
	add_group(t, group, is_last, open);
	if (t->group[group].is_folded && !*t->filter)
		return;
	for (uint32_t i = t->group[group].first; i; i = t->group[i].next)
		add_tree(t, i, is_last ? open : open | 1u << t->group[group].depth);
}

void top_arrange(struct top *t)
{
	uint32_t *all = calloc(t->groups ? t->groups : 1, sizeof(*all));

	t->lines = 0;
	if (!all || !t->groups) {
		free(all);
		return;
	}
	match(t);
	sort(t, all);
	if (t->is_flat) {
		for (uint32_t i = 0; i < t->groups; i++)
			if (t->group[all[i]].is_match)
				add_group(t, all[i], false, 0);
	} else {
		add_tree(t, 0, 0);
	}
	free(all);
}

void top_fold(struct top *t, uint32_t group, bool folded)
{
	t->group[group].is_folded = folded;
	t->past[t->group[group].slot % SLOTS].is_folded = folded;
}

int top_find_line(const struct top *t, uint32_t slot, uint32_t generation)
{
	for (uint32_t i = 0; i < t->lines; i++) {
		const struct top_group *g = &t->group[t->line[i].group];

		if (t->line[i].member < 0 && g->slot == slot && g->generation == generation)
			return (int)i;
	}
	return -1;
}
