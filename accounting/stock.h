/* SPDX-License-Identifier: MIT */
/* Stocks: units that an account has charged in advance, and getting them back from all who have some. */
#ifndef ACCOUNTING_STOCK_H
#define ACCOUNTING_STOCK_H

#include "accounting/charge.h"

/* Takes the stock of every account at or below `group` back to the pools. Returns the units. Anybody may
 * do this to anybody: D1 to D4 in charge.h. */
uint64_t stock_drain(const struct actor *by, unsigned resource, uint16_t group);

/* Says in all pools above that somebody below has a stock [O5]. Called before the stock is taken, and
 * again afterwards: a drain may have cleared the word in between. */
static inline void stock_announce(const struct segment *seg, unsigned resource, uint16_t group)
{
	for (; group != GROUP_NIL; group = group_parent(seg, group)) {
		mc_word32 *stocked = &pool_of(seg, resource, group)->stocked;

		if (!mc_load_full(stocked)) /* [O5] */
			mc_store_full(stocked, 1);
	}
}

/* True when a drain of this group may find something; clears the word. The word can miss a stock whose
 * owner was stopped between taking and announcing it, therefore with few accounts, and every 64th time,
 * the answer is yes anyway. */
bool stock_may_be_below(const struct segment *seg, unsigned resource, uint16_t group);

#endif
