/* SPDX-License-Identifier: MIT */
/* The children of a process, by /proc.
 *
 * price   for each thread of the process one file that the kernel writes from a list, and one for each child: 30 us
 *         each; where it was built without CONFIG_PROC_CHILDREN, one for every process of the machine. */
#ifndef CONTROLD_CHILDREN_H
#define CONTROLD_CHILDREN_H

#include "controld/world.h"

/* Who is younger may be about to execute another image and to become a member by himself. */
#define CHILDREN_YOUTH_MS 100u

/* Calls `take` for each child that is no longer young. -ESRCH: there is no such process. */
int children_list(pid_t pid, world_take_child *take, void *to);

#endif
