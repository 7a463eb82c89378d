/* SPDX-License-Identifier: MIT */
/* One level of a (group x resource) counter: the kernel's page_counter, with an epoch in the word.
 *
 * All operations are one compare-and-swap, wait for nobody, and may be called by anybody at any time.
 * The hierarchical walk and what to do about another epoch is charge.h's; the recount, recount.h's.
 *
 *   word = busy(1) | epoch(14) | usage(49)
 */
#ifndef ACCOUNTING_POOL_H
#define ACCOUNTING_POOL_H

#include "accounting/group.h"
#include "accounting/segment.h"

#define POOL_BUSY (1ull << 63)
#define POOL_USAGE_MAX ((1ull << POOL_USAGE_BITS) - 1)
#define EPOCH_MASK ((1u << EPOCH_BITS) - 1)
#define EPOCH_RECOUNTING (1ull << 63) /* in header.epoch[] */

/* Epochs wrap; "older" is at most half the circle behind. A process that stops in the middle of a
 * slow path and goes on exactly 16,384 recounts later could be taken for current; accepted. */
static inline bool epoch_is_older(uint32_t epoch, uint32_t than)
{
	return ((epoch - than) & EPOCH_MASK) > EPOCH_MASK / 2;
}

static inline uint64_t pool_usage(uint64_t word)
{
	return word & POOL_USAGE_MAX;
}

static inline uint32_t pool_epoch(uint64_t word)
{
	return (uint32_t)(word >> POOL_USAGE_BITS) & EPOCH_MASK;
}

static inline bool pool_is_busy(uint64_t word)
{
	return word & POOL_BUSY;
}

static inline uint64_t pool_word(uint32_t epoch, uint64_t usage)
{
	return (uint64_t)epoch << POOL_USAGE_BITS | usage;
}

static inline struct pool *pool_of(const struct segment *seg, unsigned resource, uint16_t group)
{
	return &seg->counters->pool[resource][group];
}

static inline uint64_t pool_max(const struct segment *seg, unsigned resource, uint16_t group)
{
	return mc_load_full(&seg->limits->limits[resource][group].max); /* [O3] */
}

/* C4, one level: usage += n unless that is over the limit.
 * 0; -ENOMEM: over the limit, nothing added; -ESTALE: another epoch, or busy: nothing added. */
int pool_try_charge(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch);

/* The same without a limit. 1: charged and over the limit now; 0 charged; -ESTALE. */
int pool_charge(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch);

/* usage -= n, never below 0 (checked). 0; -ESTALE: another epoch: a recount has wiped what there was
 * to take back; -EBUSY: this very epoch is being recounted: wait and call again. */
int pool_cancel(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch);

/* True when usage + n is within the slack under the limit, where no stock is taken any more: 1/16 of the limit,
 * at least POOL_SLACK_LEAST and at most POOL_SLACK_MOST units. */
#define POOL_SLACK_LEAST 64u
#define POOL_SLACK_MOST 2048u
static inline bool pool_is_tight(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n)
{
	uint64_t max = mc_load_relaxed(&seg->limits->limits[resource][group].max);
	uint64_t slack = max / 16;

	if (max >= PAGES_MAX)
		return false;
	slack = slack < POOL_SLACK_LEAST ? POOL_SLACK_LEAST : slack > POOL_SLACK_MOST ? POOL_SLACK_MOST : slack;
	return pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word)) + n + slack > max;
}

/* Counts an event in the group and in all above it. */
void pool_count_event(const struct segment *seg, unsigned resource, uint16_t group, enum event what);

/* Counts a charge that was forced over the limit at `group`. */
void pool_count_over(const struct segment *seg, unsigned resource, uint16_t group, enum over cause);

/* Counts a charge that met the limit: failcnt of the group alone, event max. */
void pool_count_hit(const struct segment *seg, unsigned resource, uint16_t group);

/* Counts one that was refused for good: event oom; keeps who it was. */
void pool_count_refusal(const struct segment *seg, unsigned resource, uint16_t group, uint32_t member, uint32_t pid,
			uint64_t n);

/* Peak, failcnt, events and causes to 0, for a group slot that is used again. */
void pool_clear_statistics(const struct segment *seg, unsigned resource, uint16_t group);

/* Brings the pool of a group that is not live yet to the current epoch. False: a recount is or was on;
 * wait (recount_wait) and call again. The group's slot must be below the high-water mark already [O7]. */
bool pool_join_epoch(const struct segment *seg, unsigned resource, uint16_t group);

#endif
