/* SPDX-License-Identifier: MIT */
/* When memory is short as a whole, groups above their memory.soft give first.
 *
 * It is short when the machine has less available than SCARCITY_PART of its memory, when its processes stall for
 * memory (/proc/pressure/memory, where the kernel has it), or when `/` is above its own memory.high. Then a run over
 * the groups above their soft limits is made (softlimit.h), and another one as long as they give; when none of them
 * has anything to give and `/` is still above its memory.high, all are asked for the rest, as memory.low and memory.min
 * have it. The tree of excesses is brought up to date as usage moves, 1024 pages at a time. */
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
