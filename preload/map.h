/* SPDX-License-Identifier: MIT */
/* Charging ranges of address space: reserve before the real call, commit or cancel after it.
 *
 * contract      any thread, signal handlers; sizes in bytes, any alignment the kernel takes. What is
 *               taken from the ledger is either dropped (uncharged) or put back, and what is reserved is
 *               committed or cancelled, before the intercepted call returns.
 */
#ifndef PRELOAD_MAP_H
#define PRELOAD_MAP_H

#include "accounting/ticket.h"
#include "preload/ledger.h"
#include "preload/self.h"

/* A reservation. Not a member yet: pages are pending instead. */
struct map_charge {
	struct self *self;
	struct self_target to;
	struct ticket ticket;
	uint64_t pages;
	bool lazy; /* granted: charged as it becomes resident */
};

/* What the ledger held for a range, cleared there. */
struct map_taken {
	char *addr;
	uint64_t pages;
	struct ledger_runs runs;
	uint64_t present[LEDGER_RUNS_MAX]; /* of each run: how much is resident of the part that is to go */
	uint8_t *all;			   /* where there are more runs than fit: all values, a mapping of our own */
};

/* False when this process is unaccounted for good. */
bool map_is_on(void);

/* False: refused. 0 pages always succeed. With `may_be_lazy` large amounts are only granted, where the
 * group's memory.charge says so; they are refused when there is no room for all of them, or for an eighth of
 * the limit if they are larger. */
bool map_reserve(struct map_charge *charge, uint64_t pages, bool may_be_lazy);

/* The range is charged now, as `class`. */
void map_commit(struct map_charge *charge, void *addr, enum class class);

/* Nothing came of it. */
void map_cancel(struct map_charge *charge);

/* Takes what the ledger holds for [addr, addr + size); nothing where addr is NULL. The pages from `stays` on
 * are those that may go away. */
void map_take(struct map_taken *taken, void *addr, size_t size, uint64_t stays);

/* What the last page held. */
uint8_t map_last_value(const struct map_taken *taken);

/* The pages are gone: uncharges them. */
void map_drop(struct map_taken *taken);

/* They are still there. */
void map_undo_take(const struct map_taken *taken);

/* mremap: what was taken lies at `addr` now, `pages` long; what came on top is committed from `charge`
 * under the class of the last pages; what was cut off is uncharged. With `keep` the old range stays
 * mapped, empty, and the new one is all `charge`'s. */
void map_move(struct map_taken *from, void *addr, uint64_t pages, bool keep, struct map_charge *charge);

/* What a range holds and has resident, before its contents are dropped; and that they were. */
void map_look(struct map_taken *seen, void *addr, size_t size);
void map_discard(const struct map_taken *seen);

/* Pages of a range that are reserved but not charged. */
uint64_t map_count_reserved(void *addr, size_t size);

/* They are anon now. */
void map_open_reserved(struct map_charge *charge, void *addr, size_t size);

/* Something could not be recorded. */
void map_mark_partial(void);

#endif
