/* SPDX-License-Identifier: MIT */
/* Moving a member to another group, as a task is moved between the kernel's memory cgroups.
 *
 * New charges go to the new group: the process sees the change at its next call (preload/self.c). What it has
 * charged stays where it is, and each page goes back there when it is freed. What is asked to come along is
 * moved in full, or the member is not moved. */
#ifndef CONTROLD_MOVE_H
#define CONTROLD_MOVE_H

#include "controld/complaint.h"
#include "controld/served.h"

/* As memory.move_charge_at_immigrate. */
#define MOVE_ANON 1u /* private pages: heap, anonymous mappings, stacks */
#define MOVE_FILE 2u /* shared memory that it pays for */

/* -ENOENT: the group is not there any more; -ENOSPC: the member has been in too many groups; -ENOMEM: what is to
 * come along does not fit. Then nothing has changed. */
int move_member(struct served *s, uint32_t member, uint16_t to, unsigned charges, struct complaint *why);

#endif
