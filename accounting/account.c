/* SPDX-License-Identifier: MIT */
/* What one member holds in one pool: claiming and freeing. */
#include "accounting/account.h"

#include "accounting/recount.h"

#include <errno.h>

/* The mark is raised before the epoch is read: a recount that begins later visits the slot, one that
 * began before is of the epoch we read [O7]. */
static void raise_mark(const struct segment *seg, uint32_t account)
{
	mc_word32 *mark = &seg->counters->header.accounts_used;
	uint32_t seen = mc_load_full(mark);

	while (seen <= account && !mc_cas_full(mark, &seen, account + 1))
		;
}

/* Nothing is in it any more; true when something was. */
static bool empty(struct account *a, uint32_t epoch)
{
	uint64_t word = mc_load_full(&a->word);

	while (!mc_cas_full(&a->word, &word, account_word(epoch, 0, 0)))
		;
	return account_held(word) != 0 || account_stock(word) != 0;
}

/* Who adjusted the account of its former owner too late has left units in it that the pools hold and nobody owns. */
static void fill(const struct segment *seg, uint32_t account, uint64_t meta, unsigned resource)
{
	struct account *a = account_of(seg, account);
	mc_word *now = &seg->counters->header.epoch[resource];
	uint64_t generation = (mc_load_full(&a->meta) >> 32) + 1;
	bool found = false;
	uint64_t epoch;

	mc_store_full(&a->meta, generation << 32 | meta);
	for (unsigned i = 0; i < CLASSES; i++)
		mc_store_relaxed(&a->class[i], 0);
	mc_store_relaxed(&a->absent, 0);
	mc_store_relaxed(&a->surplus, 0);
	mc_store_relaxed(&a->stall_ns, 0);
	raise_mark(seg, account);
	do {
		epoch = mc_load_full(now);
		found |= empty(a, (uint32_t)epoch & EPOCH_MASK);
	} while ((mc_load_full(now) & EPOCH_MASK) != (epoch & EPOCH_MASK));
	if (found)
		recount_all(seg);
}

static int take(const struct segment *seg, uint32_t account, uint32_t member, uint64_t meta, unsigned resource)
{
	struct account *a = account_of(seg, account);
	uint32_t free_slot = 0;

	if (account >= mc_load_relaxed(&seg->counters->header.accounts_used) && segment_populate(seg, a, sizeof(*a)))
		return -ENOMEM;
	if (mc_load_relaxed(&a->member) != 0 || !mc_cas_full(&a->member, &free_slot, member + 1))
		return -EBUSY;
	fill(seg, account, meta, resource);
	return 0;
}

int account_claim(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group, unsigned slot,
		  uint32_t *ret_account)
{
	mc_word32 *hint = &seg->counters->header.account_hint;
	uint64_t meta = (uint64_t)resource << 24 | (uint64_t)slot << 16 | group;
	uint32_t from = mc_load_relaxed(hint) % ACCOUNTS_MAX;

	for (uint32_t i = 0; i < ACCOUNTS_MAX; i++) {
		uint32_t account = (from + i) % ACCOUNTS_MAX;
		int err = take(seg, account, member, meta, resource);

		if (err == -ENOMEM)
			return err;
		if (err)
			continue;
		mc_store_relaxed(hint, account + 1);
		*ret_account = account;
		return 0;
	}
	return -ENOSPC;
}

void account_free(const struct segment *seg, uint32_t account)
{
	struct account *a = account_of(seg, account);
	mc_word32 *hint = &seg->counters->header.account_hint;
	uint64_t meta = mc_load_full(&a->meta);

	while (!mc_cas_full(&a->meta, &meta, meta + (1ull << 32)))
		;
	if (empty(a, account_epoch(mc_load_full(&a->word))))
		recount_all(seg);
	mc_store_full(&a->member, 0);
	if (account < mc_load_relaxed(hint)) /* low slots first: scans stay short */
		mc_store_relaxed(hint, account);
}
