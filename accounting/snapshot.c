/* SPDX-License-Identifier: MIT */
/* One reading of a resource over the whole tree. */
#include "accounting/snapshot.h"

#include <errno.h>
#include <stdlib.h>

static void read_accounts(const struct segment *seg, struct snapshot *s)
{
	uint32_t mark = account_mark(seg);

	for (uint32_t i = 0; i < mark; i++) {
		struct account *a = account_of(seg, i);
		uint64_t meta = mc_load_full(&a->meta);
		uint16_t group = account_meta_group(meta);
		struct snapshot_pool *p = &s->pool[group];

		if (mc_load_relaxed(&a->member) == 0 || account_meta_resource(meta) != s->resource ||
		    group >= s->groups)
			continue;
		p->current += account_held(mc_load_full(&a->word));
		for (unsigned c = 0; c < CLASSES; c++)
			p->class[c] += mc_load_relaxed(&a->class[c]);
	}
}

static void read_members(const struct segment *seg, struct snapshot *s)
{
	uint32_t mark = member_mark(seg);

	for (uint32_t i = 0; i < mark; i++) {
		uint16_t group = mc_load_relaxed(&member_of(seg, i)->group);

		if (group < s->groups && member_is_present(seg, i)) {
			s->pool[group].members_local++;
			s->pool[group].members++;
		}
	}
}

static void add_to_parent(struct snapshot_pool *parent, const struct snapshot_pool *child)
{
	parent->current += child->current;
	parent->members += child->members;
	for (unsigned c = 0; c < CLASSES; c++)
		parent->class[c] += child->class[c];
}

static void sum_up(const struct segment *seg, struct snapshot *s)
{
	for (int depth = GROUP_DEPTH_MAX; depth > 0; depth--)
		for (uint32_t g = 1; g < s->groups; g++) {
			uint16_t parent = group_parent(seg, (uint16_t)g);

			if (seg->limits->group[g].depth == depth && parent < s->groups)
				add_to_parent(&s->pool[parent], &s->pool[g]);
		}
}

static void read_pools(const struct segment *seg, struct snapshot *s)
{
	for (uint32_t g = 0; g < s->groups; g++) {
		struct pool *pool = pool_of(seg, s->resource, (uint16_t)g);

		s->pool[g].usage = pool_usage(mc_load_full(&pool->word));
		s->pool[g].peak = mc_load_relaxed(&pool->peak);
		if (s->pool[g].peak < s->pool[g].current)
			s->pool[g].peak = s->pool[g].current;
	}
}

int snapshot_take(const struct segment *seg, unsigned resource, struct snapshot *ret)
{
	struct snapshot s = { .resource = resource };

	s.groups = mc_load_full(&seg->limits->header.groups_used);
	s.pool = calloc(s.groups, sizeof(*s.pool));
	if (!s.pool)
		return -ENOMEM;
	read_accounts(seg, &s);
	read_members(seg, &s);
	sum_up(seg, &s);
	read_pools(seg, &s);
	*ret = s;
	return 0;
}

void snapshot_free(struct snapshot *s)
{
	free(s->pool);
	s->pool = NULL;
}

/* What a group's pool should show: its accounts' held and stock, and its children's usage. */
static void expect(const struct segment *seg, unsigned resource, uint64_t *sum, uint32_t groups)
{
	uint32_t mark = account_mark(seg);

	for (uint32_t i = 0; i < mark; i++) {
		uint64_t word = mc_load_full(&account_of(seg, i)->word);
		uint64_t meta = mc_load_full(&account_of(seg, i)->meta);

		if (account_meta_resource(meta) == resource && account_meta_group(meta) < groups)
			sum[account_meta_group(meta)] += account_held(word) + account_stock(word);
	}
	for (uint32_t g = 1; g < groups; g++) {
		uint16_t parent = group_parent(seg, (uint16_t)g);

		if (mc_load_full(&seg->limits->group[g].state) != GROUP_FREE && parent < groups)
			sum[parent] += pool_usage(mc_load_full(&pool_of(seg, resource, (uint16_t)g)->word));
	}
}

bool snapshot_consistent(const struct segment *seg, unsigned resource, uint16_t *ret_group)
{
	uint32_t groups = mc_load_full(&seg->limits->header.groups_used);
	uint64_t *sum = calloc(groups, sizeof(*sum));
	bool ok = sum != NULL;

	if (ok)
		expect(seg, resource, sum, groups);
	for (uint32_t g = 0; ok && g < groups; g++) {
		ok = sum[g] == pool_usage(mc_load_full(&pool_of(seg, resource, (uint16_t)g)->word));
		if (!ok && ret_group)
			*ret_group = (uint16_t)g;
	}
	free(sum);
	return ok;
}
