/* SPDX-License-Identifier: MIT */
/* Groups: names, paths, lookup. */
#include "accounting/group.h"

#include <errno.h>
#include <string.h>

#define GROUP_FIND_TRIES 1000

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._@:+-", c));
}

static int check_name(const char *name, size_t n)
{
	if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (!name_char(name[i]))
			return -EINVAL;
	return n > GROUP_NAME_MAX ? -ENAMETOOLONG : 0;
}

/* Cuts the next component off *path; its length, 0 at the end. */
static size_t next_name(const char **path, const char **ret_name)
{
	const char *slash;

	if (**path == '/')
		(*path)++;
	*ret_name = *path;
	slash = strchrnul(*path, '/');
	*path = slash;
	return (size_t)(slash - *ret_name);
}

int group_check_path(const char *path)
{
	int depth = 0;
	const char *name;

	if (path[0] != '/')
		return -EINVAL;
	if (path[1] == 0)
		return 0;
	while (*path) {
		size_t n = next_name(&path, &name);
		int err = check_name(name, n);

		if (err)
			return err;
		if (++depth > GROUP_DEPTH_MAX)
			return -ELOOP;
	}
	return 0;
}

uint32_t group_hash(uint16_t parent, const char *name, size_t n)
{
	uint32_t h = 2166136261u ^ parent;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)name[i]) * 16777619u;
	return (h ^ (h >> 16)) % GROUP_HASH_SIZE;
}

static bool is_named(const struct group *g, uint16_t parent, const char *name, size_t n)
{
	return mc_load_relaxed(&g->parent) == parent && memcmp(g->name, name, n) == 0 && g->name[n] == 0;
}

/* One component. The chain is bounded: a torn read may lead anywhere, but not for ever. */
uint16_t group_find_child(const struct segment *seg, uint16_t parent, const char *name, size_t n)
{
	const struct limits_map *l = seg->limits;
	uint16_t g = mc_load_acquire(&l->hash[group_hash(parent, name, n)]);

	for (unsigned i = 0; g != 0 && i < GROUPS_MAX; i++) {
		if (is_named(&l->group[g], parent, name, n))
			return g;
		g = mc_load_acquire(&l->group[g].next_in_hash);
	}
	return 0;
}

/* The same by a look at all groups, for when the links cannot be relied on. What a slot says is right if it was
 * the same live group before and after. */
static uint16_t scan_for_child(const struct segment *seg, uint16_t parent, const char *name, size_t n)
{
	uint32_t used = mc_load_full(&seg->limits->header.groups_used);

	for (uint32_t i = 1; i < used; i++) {
		const struct group *g = &seg->limits->group[i];
		uint32_t state = mc_load_full(&g->state);

		if ((state == GROUP_LIVE || state == GROUP_DYING) && is_named(g, parent, name, n) &&
		    (mc_load_full(&g->state) == GROUP_LIVE || mc_load_full(&g->state) == GROUP_DYING))
			return (uint16_t)i;
	}
	return 0;
}

typedef uint16_t find_child(const struct segment *seg, uint16_t parent, const char *name, size_t n);

static int walk(const struct segment *seg, const char *path, find_child *find, uint16_t *ret)
{
	uint16_t g = GROUP_ROOT;
	const char *name;

	while (path[0] == '/' && path[1]) {
		size_t n = next_name(&path, &name);

		g = find(seg, g, name, n);
		if (g == 0)
			return -ENOENT;
	}
	*ret = g;
	return 0;
}

int group_find(const struct segment *seg, const char *path, uint16_t *ret_group)
{
	int err = group_check_path(path);

	if (err)
		return err;
	for (int i = 0; i < GROUP_FIND_TRIES; i++) {
		uint32_t seq = mc_load_acquire(&seg->limits->header.tree_seq);
		uint16_t g = 0;

		if (seq & 1) {
			mc_spin_hint();
			continue;
		}
		err = walk(seg, path, group_find_child, &g);
		atomic_thread_fence(memory_order_acquire);
		if (mc_load_relaxed(&seg->limits->header.tree_seq) != seq)
			continue;
		if (!err)
			*ret_group = g;
		return err;
	}
	return walk(seg, path, scan_for_child, ret_group);
}

size_t group_path(const struct segment *seg, uint16_t group, char *buf)
{
	char reversed[GROUP_PATH_MAX];
	size_t at = sizeof(reversed) - 1;

	reversed[at] = 0;
	for (int i = 0; group != GROUP_ROOT && i < GROUP_DEPTH_MAX; i++) {
		const struct group *g = &seg->limits->group[group];
		size_t n = strnlen(g->name, GROUP_NAME_MAX);

		at -= n;
		memcpy(reversed + at, g->name, n);
		reversed[--at] = '/';
		group = mc_load_relaxed(&g->parent);
	}
	if (at == sizeof(reversed) - 1)
		reversed[--at] = '/';
	memcpy(buf, reversed + at, sizeof(reversed) - at);
	return sizeof(reversed) - 1 - at;
}

bool group_is_within(const struct segment *seg, uint16_t group, uint16_t above)
{
	for (int i = 0; i <= GROUP_DEPTH_MAX && group != GROUP_NIL; i++) {
		if (group == above)
			return true;
		group = group_parent(seg, group);
	}
	return false;
}

uint16_t group_next_child(const struct segment *seg, uint16_t group, uint16_t child)
{
	return child == 0 ? mc_load_relaxed(&seg->limits->group[group].first_child)
			  : mc_load_relaxed(&seg->limits->group[child].next_sibling);
}
