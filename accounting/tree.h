/* SPDX-License-Identifier: MIT */
/* Changes of the tree of groups, by the daemon alone (one thread, one daemon a directory).
 *
 * crash table   between            what the next daemon finds          what tree_repair does
 *               slot filled        COOLING slot with a name            nothing: it is not linked
 *               state LIVE         LIVE, perhaps in no chain           rebuilds all chains from the names
 *               close              DYING                               LIVE again
 *               unlink             GONE, perhaps in a chain            rebuilds all chains
 *
 * A slot is used again only after a recount has begun since it was freed: somebody who stopped on his
 * way through its pool then finds another epoch and stops (charge.h, U4).
 */
#ifndef ACCOUNTING_TREE_H
#define ACCOUNTING_TREE_H

#include "accounting/group.h"

/* Makes the last component of `path` below an existing parent, with the kernel's defaults (min, low 0;
 * high, max, soft unlimited; policy and swappiness from the parent). -ENOENT: no parent; -EEXIST;
 * -ENOSPC: GROUPS_MAX groups are in use; -ENOMEM: the file system of the segment is full; path errors
 * as group_check_path. */
int tree_create(struct segment *seg, const char *path, uint16_t *ret_group);

/* First half of a removal: -EBUSY with a child group, -EPERM for the root. From now on nobody can join
 * [O4]; the caller looks for members and calls either of the two below. */
int tree_close(struct segment *seg, uint16_t group);
void tree_reopen(struct segment *seg, uint16_t group);

/* Second half: unlinks the name. The slot is free again after a tree_sweep that finds nothing charged;
 * until then its charges stay in its ancestors, as in the kernel. */
void tree_unlink(struct segment *seg, uint16_t group);

/* Looks for unlinked groups with nothing charged and lets them be used again; returns how many still
 * linger. Cheap when there are none. */
unsigned tree_sweep(struct segment *seg);

/* Rebuilds the links from names and parents after a daemon died in the middle of a change. */
void tree_repair(struct segment *seg);

/* True when every live group has a live parent one level up and is found by its name. */
bool tree_consistent(const struct segment *seg);

#endif
