/* SPDX-License-Identifier: MIT */
/* Requests that are answered when a reclaim is over: the op reclaim, and set with keys that ask for one. */
#ifndef CONTROLD_DEMAND_H
#define CONTROLD_DEMAND_H

#include "controld/command.h"
#include "controld/key.h"

/* Makes the request's group give so many pages back, under this swappiness (RECLAIM_SWAPPINESS_OWN): ok with "reclaimed", or -EAGAIN when it was less. A caller who
 * cannot be answered later is told how far it has got at once. As a command's function. */
int demand_reclaim(struct request *r, uint64_t pages, int swappiness);

/* Applies what was checked. What a key wants to come back (key_kind.excess) is reclaimed before, where the key may be
 * refused then, else afterwards. As a command's function. */
int demand_set(struct request *r, const struct key_changes *changes);

#endif
