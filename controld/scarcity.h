/* SPDX-License-Identifier: MIT */
/* When memory is short as a whole, groups above their memory.soft give first.
 *
 * It is short when the machine has less available than SCARCITY_PART of its memory, when its processes stall for
 * memory (/proc/pressure/memory, where the kernel has it), or when `/` is above its own memory.high. Then a run over
 * the groups above their soft limits is made (softlimit.h), and another one as long as they give; where the machine has
 * several memory nodes, on the node that is shortest first, of what lies there, and also when a node is short alone; when none of them
 * has anything to give and `/` is still above its memory.high, all are asked for the rest, as memory.low and memory.min
 * have it. That is booked as pressure on `/` (accounting/effort.h), as the kernel's global reclaim and that of a
 * memory.high are; runs over soft limits are not, there as here. Neither stops a thread, so neither is stall time. The tree of excesses is brought up to date as usage moves, 1024 pages at a time. */
#ifndef CONTROLD_SCARCITY_H
#define CONTROLD_SCARCITY_H

#include "accounting/snapshot.h"
#include "controld/served.h"

#define SCARCITY_PART 20u /* 5 % */

/* -ENOMEM. */
int scarcity_open(struct served *s);
void scarcity_close(struct served *s);

/* The stage. */
void scarcity(struct served *s, const struct snapshot *snap, uint64_t now_ns);

/* A group's memory.soft was set, or that of `/` memory.high. */
void scarcity_note_limit(struct served *s, uint16_t group);

#endif
