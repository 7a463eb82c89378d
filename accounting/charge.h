/* SPDX-License-Identifier: MIT */
/* Charging an account and all pools above it.
 *
 * contract      any thread of any member, the daemon, signal handlers: all operations at any time.
 * ordering      the swap of the account's word is the point at which a charge or an uncharge happens;
 *               everything in the pools before it is provisional, everything after it is owed.
 * progress      lock-free; waits only while a recount is on (recount.h), never for a stopped process.
 * model         tests/model/accounting.pml has the same steps under the same names.
 *
 *   charge      C1 own stock covers it: one swap.         uncharge   U1 into the stock: one swap.
 *               C2 open++                                            U2 open++
 *               C3 e = epoch                                         U3 swap: held - n, stock kept small
 *               C4 pools += b, leaf to root, all of epoch e          U4 pools -= given, all of U3's epoch;
 *                  refused: C4r undo, C4d drain and again               another epoch: already counted
 *               C5 swap: held + n, stock + (b - n), epoch e          U5 open--
 *               C6 open--
 *   drain       D1 open++  D2 swap: stock 0  D3 pools -= stock (as U4)  D4 open--
 *   adjust      open++, as C3 C4 without limits, A1 swap: held only if it is still what the adjuster saw;
 *               or A1 swap down, then as U4; open--
 *
 * crash table   died after    left behind                      who puts it right
 *               C1, C5, U1    nothing                          settle: the account says it all
 *               C2..C4        pools too high, open != 0        settle sees open: recount
 *               A1            raised: nothing; lowered: pools too high, open != 0
 *               U3, D2        pools too high, open != 0        settle sees open: recount
 *               stopped anywhere: nobody waits; what it does later fails by epoch or is right.
 * price         C1, U1: about 10 ns. A slow charge: about 20 ns a level.
 */
#ifndef ACCOUNTING_CHARGE_H
#define ACCOUNTING_CHARGE_H

#include "accounting/recount.h"

/* Units taken in advance, as the kernel's MEMCG_CHARGE_BATCH (64 pages). */
#define CHARGE_BATCH 64u

/* Who is at work: a member or the daemon, with its counter of open slow paths. */
struct actor {
	const struct segment *seg;
	mc_word32 *open;
	uint32_t member; /* MEMBER_NIL for the daemon */
	uint32_t pid;
};

/* C1: n units out of the account's own stock. False: it has not so many; nothing done. */
static inline bool charge_from_stock(struct account *account, uint64_t n)
{
	uint64_t word = mc_load_full(&account->word);

	while (account_stock(word) >= n)
		if (mc_cas_full(&account->word, &word,
				account_word(account_epoch(word), account_held(word) + n, account_stock(word) - n)))
			return true;
	return false;
}

/* Charges n units. 0; -ENOMEM: a limit refuses, nothing is charged, *ret_refused (may be NULL) is the
 * group that refused, its failcnt and events are counted. Leaves errno alone. */
int charge_try(const struct actor *by, uint32_t account, uint64_t n, uint16_t *ret_refused);

enum charge_how {
	CHARGE_LARGE = 1, /* under each limit that fails requests (oom_policy) and is not small itself, a little is
			   * left to small ones, so that a program that was refused can still say so and clean up */
	CHARGE_FIRST = 2, /* the caller makes room and tries again: a refusal counts as having met the limit, and
			   * for good with charge_refuse */
};
int charge_try_as(const struct actor *by, uint32_t account, uint64_t n, unsigned how, uint16_t *ret_refused);

/* `group` has refused so much for good. */
void charge_refuse(const struct actor *by, uint32_t account, uint64_t n, uint16_t group);

/* How much is left to small requests. */
uint64_t charge_room_to_unwind(const struct segment *seg, unsigned resource, uint16_t group);
#define UNWIND_MAX_LEAST (16u << (20 - MC_PAGE_SHIFT)) /* from this limit on */
#define UNWIND_LEAST 16u			       /* units, */
#define UNWIND_PART 200u			       /* or this part of the limit */

/* Charges n units whatever the limits; each group that is over its max afterwards counts `cause`. */
void charge_force(const struct actor *by, uint32_t account, uint64_t n, enum over cause);

/* True when no limit would refuse n units now, stocks left aside. */
bool charge_has_room(const struct actor *by, uint32_t account, uint64_t n);
bool charge_has_room_large(const struct actor *by, uint32_t account, uint64_t n);

/* True when some group of the account's path is more than half full. */
bool charge_is_near(const struct actor *by, uint32_t account);

/* The least max of the account's group and those above it. */
uint64_t charge_least_max(const struct actor *by, uint32_t account);

/* Gives n held units back, at most what is held. */
void charge_uncharge(const struct actor *by, uint32_t account, uint64_t n);

/* The same, and up to `most` units (at most ACCOUNT_STOCK_MAX) stay in the account's stock, where no limit is near:
 * for resources that are taken in large pieces. */
void charge_uncharge_keeping(const struct actor *by, uint32_t account, uint64_t n, uint64_t most);

/* Makes what an account holds `to`, if it still is `from`, whatever the limits; limits exceeded by a raise
 * count `cause`. `meta` is the account's, read before `from`: anybody may adjust anybody's account, and when
 * it has been claimed anew in between, the pools are recounted. -EAGAIN: it was not `from`; nothing done. */
int charge_adjust(const struct actor *by, uint32_t account, uint64_t meta, uint64_t from, uint64_t to, enum over cause);

/* U4, D3: takes n from the pools above `group` that are of this epoch. */
void charge_down(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch);

#endif
