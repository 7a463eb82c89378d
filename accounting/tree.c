/* SPDX-License-Identifier: MIT */
/* Changes of the tree of groups, by the daemon alone. */
#include "accounting/tree.h"

#include "accounting/pool.h"
#include "accounting/recount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void tree_change_begin(struct segment *seg)
{
	mc_word32 *seq = &seg->limits->header.tree_seq;

	mc_store_full(seq, mc_load_relaxed(seq) | 1);
	atomic_thread_fence(memory_order_seq_cst);
}

static void tree_change_end(struct segment *seg)
{
	mc_word32 *seq = &seg->limits->header.tree_seq;

	mc_store_release(seq, (mc_load_relaxed(seq) | 1) + 1);
}

static mc_word16 *hash_head(struct segment *seg, const struct group *g)
{
	return &seg->limits->hash[group_hash(mc_load_relaxed(&g->parent), g->name, strlen(g->name))];
}

static void link_in(struct segment *seg, uint16_t id)
{
	struct group *g = &seg->limits->group[id];
	struct group *parent = &seg->limits->group[mc_load_relaxed(&g->parent)];
	mc_word16 *head = hash_head(seg, g);

	mc_store_relaxed(&g->next_in_hash, mc_load_relaxed(head));
	mc_store_release(head, id);
	mc_store_relaxed(&g->next_sibling, mc_load_relaxed(&parent->first_child));
	mc_store_release(&parent->first_child, id);
}

/* Takes `id` out of a chain whose links are found by `next`. */
static void unchain(struct segment *seg, mc_word16 *head, uint16_t id, size_t next)
{
	while (mc_load_relaxed(head) != 0) {
		char *g = (char *)&seg->limits->group[mc_load_relaxed(head)];
		mc_word16 *link = (mc_word16 *)(void *)(g + next);

		if (mc_load_relaxed(head) == id) {
			mc_store_release(head, mc_load_relaxed(link));
			return;
		}
		head = link;
	}
}

/* How many slots cool down before a recount makes them usable again: few enough to keep the marks low,
 * many enough that a recount for each removal is not needed. */
#define COOLING_MAX 64u

static void warm_up(struct segment *seg)
{
	uint32_t used = mc_load_relaxed(&seg->limits->header.groups_used);

	recount_all(seg);
	for (uint32_t i = 1; i < used; i++)
		if (mc_load_relaxed(&seg->limits->group[i].state) == GROUP_COOLING)
			mc_store_full(&seg->limits->group[i].state, GROUP_FREE);
}

static int find_slot(struct segment *seg, uint16_t *ret)
{
	static uint32_t hint = 1; /* where the last search ended: creating many stays linear */
	uint32_t used = mc_load_relaxed(&seg->limits->header.groups_used);

	for (uint32_t i = 1; i < used; i++) {
		hint = hint + 1 < used ? hint + 1 : 1;
		if (mc_load_relaxed(&seg->limits->group[hint].state) == GROUP_FREE) {
			*ret = (uint16_t)hint;
			return 0;
		}
		if (i >= 64 && used < GROUPS_MAX)
			break;
	}
	if (used >= GROUPS_MAX)
		return -ENOSPC;
	*ret = (uint16_t)used;
	return 0;
}

static int choose_slot(struct segment *seg, uint16_t *ret)
{
	int err = find_slot(seg, ret);

	if (!err)
		return 0;
	(void)tree_sweep(seg);
	warm_up(seg);
	return find_slot(seg, ret);
}

static int populate_slot(struct segment *seg, uint16_t id)
{
	int err = segment_populate(seg, &seg->limits->group[id], sizeof(struct group));

	for (unsigned r = 0; r < RESOURCES_MAX && !err; r++) {
		if (!mc_load_relaxed(&seg->limits->header.region[r].used))
			continue;
		err = segment_populate(seg, &seg->limits->limits[r][id], sizeof(struct limits));
		if (!err)
			err = segment_populate(seg, &seg->counters->pool[r][id], sizeof(struct pool));
	}
	return err;
}

static void fill_limits(struct segment *seg, uint16_t id)
{
	for (unsigned r = 0; r < RESOURCES_MAX; r++) {
		struct limits *l = &seg->limits->limits[r][id];

		if (!mc_load_relaxed(&seg->limits->header.region[r].used))
			continue;
		mc_store_relaxed(&l->min, 0);
		mc_store_relaxed(&l->low, 0);
		mc_store_relaxed(&l->high, PAGES_MAX);
		mc_store_relaxed(&l->max, PAGES_MAX);
		mc_store_relaxed(&l->soft, PAGES_MAX);
		mc_store_relaxed(&l->memsw, 0);
		mc_store_relaxed(&l->told_max, PAGES_MAX);
		mc_store_full(&l->arm, 0);
	}
}

static void fill_group(struct segment *seg, uint16_t id, uint16_t parent, const char *name)
{
	struct group *g = &seg->limits->group[id];
	const struct group *p = &seg->limits->group[parent];

	mc_store_relaxed(&g->parent, parent);
	mc_store_relaxed(&g->first_child, 0);
	g->generation++;
	g->depth = p->depth + 1;
	g->oom_policy = p->oom_policy;
	g->oom_group = 0;
	g->charge_mode = p->charge_mode;
	g->swappiness = p->swappiness;
	g->move_charge = 0;
	g->transient = 0;
	g->view = p->view;
	memset(g->name, 0, sizeof(g->name));
	strcpy(g->name, name);
}

/* The mark goes up before the epoch is read [O7]; while a recount is on, wait for its end. */
static void join_epoch(struct segment *seg, uint16_t id)
{
	if (id >= mc_load_relaxed(&seg->limits->header.groups_used))
		mc_store_full(&seg->limits->header.groups_used, id + 1u);
	for (unsigned r = 0; r < RESOURCES_MAX; r++) {
		if (!mc_load_relaxed(&seg->limits->header.region[r].used))
			continue;
		pool_clear_statistics(seg, r, id);
		while (!pool_join_epoch(seg, r, id))
			(void)recount_wait(seg, r);
	}
}

static int add_group(struct segment *seg, uint16_t parent, const char *name, uint16_t *ret)
{
	uint16_t id = 0;
	int err = choose_slot(seg, &id);

	if (!err)
		err = populate_slot(seg, id) ? -ENOMEM : 0;
	if (err)
		return err;
	tree_change_begin(seg);
	fill_limits(seg, id);
	fill_group(seg, id, parent, name);
	join_epoch(seg, id);
	mc_store_full(&seg->limits->group[id].state, GROUP_LIVE);
	link_in(seg, id);
	tree_change_end(seg);
	*ret = id;
	return 0;
}

int tree_create(struct segment *seg, const char *path, uint16_t *ret_group)
{
	char parent_path[GROUP_PATH_MAX];
	const char *last = strrchr(path, '/');
	uint16_t parent = 0;
	uint16_t old;
	int err = group_find(seg, path, &old);

	if (err == 0)
		return -EEXIST;
	if (err != -ENOENT)
		return err;
	memcpy(parent_path, path, (size_t)(last - path));
	parent_path[last - path] = 0;
	err = group_find(seg, last == path ? "/" : parent_path, &parent);
	return err ? err : add_group(seg, parent, last + 1, ret_group);
}

int tree_close(struct segment *seg, uint16_t group)
{
	if (group == GROUP_ROOT)
		return -EPERM;
	if (mc_load_relaxed(&seg->limits->group[group].first_child) != 0)
		return -EBUSY;
	mc_store_full(&seg->limits->group[group].state, GROUP_DYING); /* [O4] */
	return 0;
}

void tree_reopen(struct segment *seg, uint16_t group)
{
	mc_store_full(&seg->limits->group[group].state, GROUP_LIVE);
}

void tree_unlink(struct segment *seg, uint16_t group)
{
	struct group *g = &seg->limits->group[group];

	tree_change_begin(seg);
	unchain(seg, hash_head(seg, g), group, offsetof(struct group, next_in_hash));
	unchain(seg, &seg->limits->group[mc_load_relaxed(&g->parent)].first_child, group,
		offsetof(struct group, next_sibling));
	mc_store_full(&g->state, GROUP_GONE);
	fill_limits(seg, group);
	tree_change_end(seg);
	mc_add_relaxed(&seg->limits->header.groups_gone, 1);
}

static bool is_charged(const struct segment *seg, uint16_t group)
{
	for (unsigned r = 0; r < seg->resources; r++)
		if (mc_load_relaxed(&seg->limits->header.region[r].used) &&
		    pool_usage(mc_load_full(&seg->counters->pool[r][group].word)))
			return true;
	return false;
}

/* What still refers to a group: accounts of members that moved on, children that linger. */
static void mark_referred(const struct segment *seg, uint8_t *referred)
{
	uint32_t accounts = account_mark(seg);
	uint32_t used = mc_load_relaxed(&seg->limits->header.groups_used);

	for (uint32_t i = 0; i < accounts; i++)
		if (mc_load_full(&account_of(seg, i)->member) != 0)
			referred[account_meta_group(mc_load_full(&account_of(seg, i)->meta))] = 1;
	for (uint32_t i = 1; i < used; i++)
		if (mc_load_relaxed(&seg->limits->group[i].state) == GROUP_GONE)
			referred[group_parent(seg, (uint16_t)i)] = 1;
}

static void cool_down(struct segment *seg, const uint8_t *referred, unsigned *gone, unsigned *cooling)
{
	uint32_t used = mc_load_relaxed(&seg->limits->header.groups_used);

	for (uint32_t i = 1; i < used; i++) {
		mc_word32 *state = &seg->limits->group[i].state;

		if (mc_load_relaxed(state) == GROUP_GONE) {
			if (referred[i] || is_charged(seg, (uint16_t)i))
				(*gone)++;
			else
				mc_store_full(state, GROUP_COOLING);
		}
		if (mc_load_relaxed(state) == GROUP_COOLING)
			(*cooling)++;
	}
}

unsigned tree_sweep(struct segment *seg)
{
	unsigned gone = 0;
	unsigned cooling = 0;
	uint8_t *referred;

	if (mc_load_relaxed(&seg->limits->header.groups_gone) == 0)
		return 0;
	referred = calloc(GROUPS_MAX + 1, 1);
	if (!referred)
		return 1;
	mark_referred(seg, referred);
	cool_down(seg, referred, &gone, &cooling);
	free(referred);
	if (cooling >= COOLING_MAX) {
		warm_up(seg);
		cooling = 0;
	}
	mc_store_relaxed(&seg->limits->header.groups_gone, gone + cooling);
	return gone;
}

void tree_repair(struct segment *seg)
{
	struct limits_map *l = seg->limits;
	uint32_t used = mc_load_relaxed(&l->header.groups_used);

	mc_store_relaxed(&l->header.groups_gone, 1);
	tree_change_begin(seg);
	for (uint32_t i = 0; i < GROUP_HASH_SIZE; i++)
		if (mc_load_relaxed(&l->hash[i]) != 0) /* do not allocate the pages of empty heads */
			mc_store_relaxed(&l->hash[i], 0);
	for (uint32_t i = 0; i < used; i++)
		mc_store_relaxed(&l->group[i].first_child, 0);
	for (uint32_t i = 1; i < used; i++) {
		uint32_t state = mc_load_relaxed(&l->group[i].state);

		if (state == GROUP_DYING)
			mc_store_full(&l->group[i].state, GROUP_LIVE);
		if (state == GROUP_LIVE || state == GROUP_DYING)
			link_in(seg, (uint16_t)i);
	}
	tree_change_end(seg);
}

bool tree_consistent(const struct segment *seg)
{
	const struct limits_map *l = seg->limits;
	uint32_t used = mc_load_relaxed(&l->header.groups_used);

	if (mc_load_relaxed(&l->header.tree_seq) & 1)
		return false;
	for (uint32_t i = 1; i < used; i++) {
		const struct group *g = &l->group[i];
		uint16_t parent = mc_load_relaxed(&g->parent);

		if (mc_load_relaxed(&g->state) != GROUP_LIVE)
			continue;
		if (parent >= used || g->depth != l->group[parent].depth + 1 ||
		    group_find_child(seg, parent, g->name, strlen(g->name)) != i)
			return false;
	}
	return true;
}
