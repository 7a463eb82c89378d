/* SPDX-License-Identifier: MIT */
/* A daemon is rebuilding the links of the tree, or died at it: who starts just then finds its group all the same.
 *
 * It took -EAGAIN for an answer after some 30 us, and ran unaccounted for good; a new daemon's start takes longer.
 */
#include "tests/lib/ground.h"
#include "tests/lib/tap.h"

#include <errno.h>

static struct ground g;

/* As tree_repair leaves it when the daemon dies there. */
static void die_in_repair(void)
{
	struct limits_map *l = g.seg.limits;

	mc_add_full(&l->header.tree_seq, 1);
	for (uint32_t i = 0; i < GROUP_HASH_SIZE; i++)
		mc_store_relaxed(&l->hash[i], 0);
	for (uint32_t i = 0; i < mc_load_full(&l->header.groups_used); i++) {
		mc_store_relaxed(&l->group[i].first_child, 0);
		mc_store_relaxed(&l->group[i].next_in_hash, 0);
	}
}

static int find(const char *path)
{
	uint16_t group = 0;
	int err = group_find(&g.seg, path, &group);

	return err ? err : group;
}

int main(void)
{
	uint16_t a, b, beside, gone;

	ground_up(&g);
	a = ground_group(&g, "/a", 100);
	b = ground_group(&g, "/a/b", 100);
	beside = ground_group(&g, "/b", 100);
	gone = ground_group(&g, "/gone", 100);
	if (ground_remove_group(&g, gone))
		ground_bail("a group cannot be removed");
	die_in_repair();
	tap_ok(find("/") == GROUP_ROOT, "the root is found");
	tap_ok(find("/a") == a && find("/a/b") == b && find("/b") == beside, "groups are found");
	tap_ok(find("/a/c") == -ENOENT && find("/c") == -ENOENT, "what does not exist is not found");
	tap_ok(find("/gone") == -ENOENT, "what was removed is not found");
	tree_repair(&g.seg);
	tap_ok(find("/a/b") == b && tree_consistent(&g.seg), "the next daemon repairs the links");
	ground_down(&g);
	return tap_end();
}
