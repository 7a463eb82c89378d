/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=wait: groups whose members wait for room, and what is done when they wait for each other.
 *
 * A group is out of memory while a member of it has stood still for most of STANDSTILL_LOOK_NS (member.stall_ns) and
 * somebody wants room there (pool.waited). When the members that could make room all wait (deadlock.h), twice in a row,
 * memory.oom.deadlock says what happens: one is let through, up to a quarter of memory.max beyond it; when that was not
 * enough, or with `refuse`, one is refused. Each time a report is kept.
 *
 * The same for each region of a device, with account.stall_ns and dmem.max. */
#ifndef CONTROLD_STANDSTILL_H
#define CONTROLD_STANDSTILL_H

#include "controld/served.h"

#define STANDSTILL_LOOK_NS 500000000ull
#define STANDSTILL_PART 4u /* of memory.max: so far beyond it one is let through */

/* A part of the stage killer. */
void standstill(struct served *s, uint64_t now_ns);

#endif
