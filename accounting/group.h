/* SPDX-License-Identifier: MIT */
/* Groups: names, parents, lookup. Changed by the daemon alone (tree.h), read by everybody.
 *
 * Concurrency: one writer (the daemon's only thread). Readers run at any time and never wait for it:
 * they repeat while limits_header.tree_seq is odd or has changed, at most GROUP_FIND_TRIES times. A
 * daemon that died in between leaves tree_seq odd; the next one repairs the links (tree_repair).
 */
#ifndef ACCOUNTING_GROUP_H
#define ACCOUNTING_GROUP_H

#include "accounting/segment.h"

#include <stddef.h>

/* Finds the group of an absolute path ("/" is the root). -EINVAL: not a path (see group_check_path);
 * -ENOENT: none of that name. While the tree is being changed, or its repair is left to the next daemon, the
 * groups themselves are looked through. Signal-safe. */
int group_find(const struct segment *seg, const char *path, uint16_t *ret_group);

/* 0, or -EINVAL: does not begin with '/', an empty name, a character outside [A-Za-z0-9._@:+-], "." or
 * ".."; -ENAMETOOLONG: a name over 63 bytes; -ELOOP: deeper than GROUP_DEPTH_MAX. */
int group_check_path(const char *path);

/* Writes the path of `group` into buf (GROUP_PATH_MAX bytes); returns its length. */
size_t group_path(const struct segment *seg, uint16_t group, char *buf);

/* True when `group` is `above` or lies below it. */
bool group_is_within(const struct segment *seg, uint16_t group, uint16_t above);

static inline uint16_t group_parent(const struct segment *seg, uint16_t group)
{
	return mc_load_relaxed(&seg->limits->group[group].parent);
}

static inline enum group_state group_state(const struct segment *seg, uint16_t group)
{
	return (enum group_state)mc_load_full(&seg->limits->group[group].state);
}

/* One step of group_find: the child of `parent` with this name (n bytes), 0 when there is none. What it
 * answers while tree_seq is odd means nothing. */
uint16_t group_find_child(const struct segment *seg, uint16_t parent, const char *name, size_t n);

/* Each child of `group` in turn: pass 0 to begin; 0 at the end. Under tree_seq as above. */
uint16_t group_next_child(const struct segment *seg, uint16_t group, uint16_t child);

/* Which chain of limits_map.hash holds the name. */
uint32_t group_hash(uint16_t parent, const char *name, size_t n);

#endif
