/* SPDX-License-Identifier: MIT */
/* A snapshot with the tree and the limits beside it, as plain numbers. */
#include "controld/survey.h"

#include <errno.h>
#include <stdlib.h>

int survey_make(uint32_t groups, struct survey *ret)
{
	struct survey_group *group = calloc(groups ? groups : 1, sizeof(*group));

	if (!group)
		return -ENOMEM;
	*ret = (struct survey){ .groups = groups, .group = group };
	return 0;
}

void survey_free(struct survey *s)
{
	free(s->group);
	s->group = NULL;
}

/* From the last to the first, so that each is put before those of higher index. */
void survey_link(struct survey *s)
{
	for (uint32_t g = 0; g < s->groups; g++)
		s->group[g].first_child = s->group[g].next_sibling = 0;
	for (uint32_t g = s->groups; g-- > 1;) {
		uint16_t parent = s->group[g].parent;

		if (!s->group[g].is_used || !survey_is_used(s, parent))
			continue;
		s->group[g].next_sibling = s->group[parent].first_child;
		s->group[parent].first_child = (uint16_t)g;
	}
}

static void fill_limits(const struct limits *l, struct survey_group *g)
{
	g->min = mc_load_relaxed(&l->min);
	g->low = mc_load_relaxed(&l->low);
	g->high = mc_load_relaxed(&l->high);
	g->max = mc_load_relaxed(&l->max);
	g->soft = mc_load_relaxed(&l->soft);
}

static void fill(const struct segment *seg, const struct snapshot *snap, uint16_t group, struct survey_group *g)
{
	enum group_state state = group_state(seg, group);

	g->is_live = state == GROUP_LIVE || state == GROUP_DYING;
	g->is_used = g->is_live || state == GROUP_GONE;
	g->parent = group == GROUP_ROOT ? GROUP_NIL : group_parent(seg, group);
	g->usage = snapshot_current(&snap->pool[group]);
	g->oom_group = g->is_live && seg->limits->group[group].oom_group;
	g->high = g->max = g->soft = PAGES_MAX;
	if (g->is_live)
		fill_limits(&seg->limits->limits[snap->resource][group], g);
}

int survey_take(const struct segment *seg, const struct snapshot *snap, struct survey *ret)
{
	struct survey s;
	int err = survey_make(snap->groups, &s);

	if (err)
		return err;
	for (uint32_t g = 0; g < s.groups; g++)
		fill(seg, snap, (uint16_t)g, &s.group[g]);
	survey_link(&s);
	*ret = s;
	return 0;
}

void survey_give_back(struct survey *s, uint16_t group, uint64_t pages)
{
	for (; survey_is_used(s, group); group = s->group[group].parent) {
		uint64_t *usage = &s->group[group].usage;

		*usage -= *usage < pages ? *usage : pages;
	}
}

uint16_t survey_next(const struct survey *s, uint16_t top, uint16_t group)
{
	if (s->group[group].first_child)
		return s->group[group].first_child;
	while (group != top && !s->group[group].next_sibling)
		group = s->group[group].parent;
	return group == top ? GROUP_NIL : s->group[group].next_sibling;
}

bool survey_is_within(const struct survey *s, uint16_t group, uint16_t above)
{
	if (!survey_is_used(s, above))
		return false;
	while (survey_is_used(s, group) && group != above)
		group = s->group[group].parent;
	return group == above;
}
