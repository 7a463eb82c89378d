/* SPDX-License-Identifier: MIT */
/* Recomputing the pools of a resource from its accounts alone, after somebody died in a slow path.
 *
 * contract      anybody may recount at any time, several at once; the youngest wins and every later step
 *               of an older one fails by its epoch. Nobody is waited for: stopped members hold nothing up.
 * steps         R1 header.epoch -> recounting | e+1
 *               R2 pools -> busy, e, 0     R3 accounts -> e, held, 0; summed up the tree
 *               R4 pools -> e, sum         R5 header.epoch -> e
 * relabel       L1, between R2 and R3: an account becomes another group's, with all it holds. The wish lies in
 *               header.epoch from R1 to R5, so that whoever takes the recount over carries it out as well, by
 *               compare-and-swap of account.meta with its generation raised. Who charges reads the epoch, then
 *               the group; who gives back swaps his word, then reads the group: with either group he fails by
 *               the epoch, or counts in the one that the recount found.
 * meanwhile     charges wait or start again; uncharges that stay in the account go on (held + stock does
 *               not change); uncharges that reach a busy pool wait.
 * crash         between R1 and R5: whoever waits longer than RECOUNT_WAIT_NS since header.epoch last
 *               changed recounts himself; a new daemon does so at once.
 * price         one pass over the accounts and groups in use: 0.7 us for a dozen, < 1 ms for 131,072.
 */
#ifndef ACCOUNTING_RECOUNT_H
#define ACCOUNTING_RECOUNT_H

#include "accounting/account.h"

#define RECOUNT_WAIT_NS 10000000ull

/* R1 to R5. True when it was carried to the end, false when a younger recount took over (which is as
 * good). Async-signal-safe; the sums are taken by mmap, or, where there is no memory, in a static
 * table that one thread of a process has at a time (then false; call again). */
bool recount(const struct segment *seg, unsigned resource);

/* Makes an account, which its owner goes on using, another group's: what it holds moves there at one stroke. `meta` is
 * the account's as the caller has seen it; nothing happens when it is somebody else's by then.
 * Limits are not looked at. The caller has his open counter up: should he die, the pools are recounted. */
void recount_relabel(const struct segment *seg, uint32_t account, uint64_t meta, uint16_t group);

/* C3: the epoch to charge in. Waits while a recount is on, and recounts itself when that one does not
 * move. */
uint32_t recount_wait(const struct segment *seg, unsigned resource);

/* recount() to a good end for every resource that is in use and mapped. */
void recount_all(const struct segment *seg);

#endif
