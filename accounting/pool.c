/* SPDX-License-Identifier: MIT */
/* One level of a (group x resource) counter. */
#include "accounting/pool.h"

#include "accounting/check.h"
#include "accounting/mark.h"

#include <errno.h>
#include <string.h>

/* The limit is read again after the swap: either we see the new limit or set_max, which writes the
 * limit and then reads usage, sees our charge [O3]. As page_counter_try_charge / page_counter_set_max. */
int pool_try_charge(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch)
{
	struct pool *pool = pool_of(seg, resource, group);
	uint64_t word = mc_load_full(&pool->word);
	uint64_t usage;

	do {
		if (pool_is_busy(word) || pool_epoch(word) != epoch)
			return -ESTALE;
		usage = pool_usage(word) + n;
		if (usage > pool_max(seg, resource, group) || usage > POOL_USAGE_MAX)
			return -ENOMEM;
	} while (!mc_cas_full(&pool->word, &word, pool_word(epoch, usage)));

	if (usage > pool_max(seg, resource, group)) {
		int err = pool_cancel(seg, resource, group, n, epoch);

		return err ? -ESTALE : -ENOMEM;
	}
	if (usage > mc_load_relaxed(&pool->peak))
		mc_max_relaxed(&pool->peak, usage);
	return 0;
}

int pool_charge(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch)
{
	struct pool *pool = pool_of(seg, resource, group);
	uint64_t word = mc_load_full(&pool->word);
	uint64_t usage;

	do {
		if (pool_is_busy(word) || pool_epoch(word) != epoch)
			return -ESTALE;
		usage = pool_usage(word) + n;
	} while (!mc_cas_full(&pool->word, &word, pool_word(epoch, usage)));
	mc_max_relaxed(&pool->peak, usage);
	return usage > pool_max(seg, resource, group);
}

int pool_cancel(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch)
{
	struct pool *pool = pool_of(seg, resource, group);
	uint64_t word = mc_load_full(&pool->word);
	uint64_t usage;

	do {
		if (pool_epoch(word) != epoch)
			return -ESTALE;
		if (pool_is_busy(word))
			return -EBUSY;
		usage = pool_usage(word);
		if (!CHECK(usage >= n)) /* I3; as page_counter_cancel: say so once, go on with 0 */
			n = usage;
	} while (!mc_cas_full(&pool->word, &word, pool_word(epoch, usage - n)));
	return 0;
}

void pool_count_event(const struct segment *seg, unsigned resource, uint16_t group, enum event what)
{
	mc_add_relaxed(&pool_of(seg, resource, group)->event_local[what], 1);
	for (uint16_t g = group; g != GROUP_NIL; g = group_parent(seg, g))
		mc_add_relaxed(&pool_of(seg, resource, g)->event[what], 1);
	if (mark_is_wanted(seg, MARK_COUNTED))
		mark_path(seg, MARK_COUNTED, group);
}

void pool_count_over(const struct segment *seg, unsigned resource, uint16_t group, enum over cause)
{
	mc_add_relaxed(&pool_of(seg, resource, group)->over[cause], 1);
	pool_count_event(seg, resource, group, EVENT_OVER);
}

static void keep_comm(struct pool *pool, const char *comm)
{
	uint64_t word[2];

	memcpy(word, comm, sizeof(word));
	mc_store_relaxed(&pool->refused_comm[0], word[0]);
	mc_store_relaxed(&pool->refused_comm[1], word[1]);
}

void pool_count_hit(const struct segment *seg, unsigned resource, uint16_t group)
{
	mc_add_relaxed(&pool_of(seg, resource, group)->failcnt, 1);
	pool_count_event(seg, resource, group, EVENT_MAX);
}

void pool_count_refusal(const struct segment *seg, unsigned resource, uint16_t group, uint32_t member, uint32_t pid,
			uint64_t n)
{
	struct pool *pool = pool_of(seg, resource, group);

	mc_store_relaxed(&pool->refused_units, n);
	mc_store_relaxed(&pool->refused_member, member);
	mc_store_relaxed(&pool->refused_pid, pid);
	if (member < MEMBERS_MAX)
		keep_comm(pool, seg->counters->member[member].comm);
	pool_count_event(seg, resource, group, EVENT_OOM);
}

void pool_clear_statistics(const struct segment *seg, unsigned resource, uint16_t group)
{
	struct pool *pool = pool_of(seg, resource, group);

	mc_store_relaxed(&pool->peak, 0);
	mc_store_relaxed(&pool->failcnt, 0);
	mc_store_relaxed(&pool->memsw_peak, 0);
	mc_store_relaxed(&pool->memsw_failcnt, 0);
	mc_store_relaxed(&pool->memsw_seen, 0);
	for (int i = 0; i < EVENTS; i++) {
		mc_store_relaxed(&pool->event[i], 0);
		mc_store_relaxed(&pool->event_local[i], 0);
	}
	for (int i = 0; i < OVERS; i++)
		mc_store_relaxed(&pool->over[i], 0);
	mc_store_relaxed(&pool->refused_units, 0);
	mc_store_relaxed(&pool->refused_pid, 0);
	mc_store_relaxed(&pool->effort, 0);
}

/* While a recount is on, nothing may be added to the pool: what a charge adds to it before it meets the
 * busy parent would not be wiped. Nobody can charge it yet, for the group is not live. */
bool pool_join_epoch(const struct segment *seg, unsigned resource, uint16_t group)
{
	mc_word *now = &seg->counters->header.epoch[resource];
	mc_word *word = &pool_of(seg, resource, group)->word;
	uint64_t epoch = mc_load_full(now);
	uint64_t seen = mc_load_full(word);

	if (epoch & EPOCH_RECOUNTING)
		return false;
	while (!pool_is_busy(seen) && epoch_is_older(pool_epoch(seen), (uint32_t)epoch))
		if (mc_cas_full(word, &seen, pool_word((uint32_t)epoch, 0)))
			break;
	return mc_load_full(now) == epoch && !pool_is_busy(mc_load_full(word));
}
