/* SPDX-License-Identifier: MIT */
/* Arming words: the two usages of a pool, one above and one below, at which the daemon wants to be told.
 *
 * Written by the daemon, compared by whoever changes usage, after the change: however many thresholds are set, a charge
 * compares with two. A crossing is told as long as it lasts and the words have not been moved, so that one that nobody
 * told - who should have died or was stopped - is told by the next charge.
 *
 * ordering [O10] a charge: usage swapped, then the word read.   the daemon: the word written, then usage read.
 * units         the pool's. Thresholds from 2^32 units on (16 TiB of pages) are never armed.
 * price         nobody wants to know: one load. Armed and not crossed: two loads a level.
 */
#ifndef ACCOUNTING_ARM_H
#define ACCOUNTING_ARM_H

#include "accounting/mark.h"
#include "accounting/pool.h"

#define ARM_MOST UINT32_MAX

static inline uint64_t arm_word(uint64_t up, uint64_t down)
{
	return (up > ARM_MOST ? 0 : up) << 32 | (down > ARM_MOST ? ARM_MOST : down);
}

static inline uint64_t arm_up(uint64_t word)
{
	return word >> 32;
}

static inline uint64_t arm_down(uint64_t word)
{
	return word & ARM_MOST;
}

static inline mc_word *arm_of(const struct segment *seg, unsigned resource, uint16_t group)
{
	return &seg->limits->limits[resource][group].arm;
}

/* True when this usage is one to be told. */
static inline bool arm_is_crossed(uint64_t word, uint64_t usage)
{
	return (arm_up(word) && usage >= arm_up(word)) || usage < arm_down(word);
}

/* Tells the daemon where usage is beyond an arming word: of the group and of those above it. */
void arm_look_path(const struct segment *seg, unsigned resource, uint16_t group);
static inline void arm_look(const struct segment *seg, unsigned resource, uint16_t group)
{
	if (__builtin_expect(mark_is_wanted(seg, MARK_CROSSED), 0))
		arm_look_path(seg, resource, group);
}

/* The same for all groups: a recount has changed usages. */
void arm_look_all(const struct segment *seg, unsigned resource, uint32_t groups);

/* True when usage + n is so near to an arming word that stocks would blur the crossing: none is taken or filled there.
 * Where one was taken before and a fall might be noticed late, the daemon is told: it drains them. */
bool arm_is_near_in(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n);
static inline bool arm_is_near(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n)
{
	return __builtin_expect(mark_is_wanted(seg, MARK_CROSSED), 0) && arm_is_near_in(seg, resource, group, n);
}

#endif
