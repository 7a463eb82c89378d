/* SPDX-License-Identifier: MIT */
/* Stocks and their drain. */
#include "accounting/stock.h"

#include "accounting/step.h"

/* Below so many accounts a look at each costs less than a refusal does anyway. */
#define LOOK_ALWAYS 256u

bool stock_may_be_below(const struct segment *seg, unsigned resource, uint16_t group)
{
	struct pool *pool = pool_of(seg, resource, group);
	bool announced = mc_load_full(&pool->stocked) && mc_exchange_full(&pool->stocked, 0); /* [O5] */

	return announced || account_mark(seg) <= LOOK_ALWAYS || mc_load_relaxed(&pool->failcnt) % 64 == 0;
}

/* The account may be freed and claimed by somebody else, in another group, between our reading where it
 * belongs and our taking the stock. Its meta then differs, and only a recount knows where it was taken
 * from; our open counter is up, so it is right to do that at any time. */
static uint64_t drain_one(const struct actor *by, uint32_t account, uint64_t meta)
{
	struct account *a = account_of(by->seg, account);
	unsigned resource = account_meta_resource(meta);
	uint64_t word = mc_load_full(&a->word);

	do {
		if (account_stock(word) == 0)
			return 0;
	} while (!mc_cas_full(&a->word, &word, account_word(account_epoch(word), account_held(word), 0)));
	STEP(D2);
	if (mc_load_full(&a->meta) == meta)
		charge_down(by->seg, resource, account_meta_group(meta), account_stock(word), account_epoch(word));
	else
		recount_all(by->seg);
	return account_stock(word);
}

uint64_t stock_drain(const struct actor *by, unsigned resource, uint16_t group)
{
	uint32_t accounts = account_mark(by->seg);
	uint64_t drained = 0;

	mc_add_full(by->open, 1);
	STEP(D1);
	for (uint32_t i = 0; i < accounts; i++) {
		struct account *a = account_of(by->seg, i);
		uint64_t meta;

		if (account_stock(mc_load_full(&a->word)) == 0)
			continue;
		meta = mc_load_full(&a->meta);
		if (account_meta_resource(meta) == resource &&
		    group_is_within(by->seg, account_meta_group(meta), group))
			drained += drain_one(by, i, meta);
	}
	mc_sub_full(by->open, 1);
	return drained;
}
