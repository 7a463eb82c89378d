/* SPDX-License-Identifier: MIT */
/* Charging an account with what another one holds: room that changes hands, and is nobody's in between.
 *
 * contract      `to` is the caller's own account, `from` anybody's of the same resource. The pools above both keep what
 *               they have, so nobody who charges meanwhile finds room there; those above `to` alone must have room, as
 *               for a charge, and those above `from` alone get it back.
 * ordering      the swap of from's word, then the swap of to's: in this order pools are never below what accounts hold.
 * progress      as a charge (charge.h).
 *
 *   T2 open++    T3 e = epoch; pools of `to` below the common one += n, common ones += n - part; refused: undone
 *   T4 swap: from's held - part, of epoch e alone        T5 swap: to's held + n, of epoch e alone
 *   T6 pools of `from` below the common one -= part, as U4        T7 open--
 *
 * crash table   died after    left behind                      who puts it right
 *               T3, T4        pools too high, open != 0        settle sees open: recount
 *               T5            from's pools too high, open != 0 the same
 *   A recount between T4 and T5 finds the room with neither: it goes back to `from` where the recount has not looked at
 *   that yet, else it is free, and what is left to do is an ordinary charge.
 */
#ifndef ACCOUNTING_TRANSFER_H
#define ACCOUNTING_TRANSFER_H

#include "accounting/charge.h"

/* Charges `to` with n units, of which as many as can be are what `from` holds; `meta` is from's, as the caller has seen
 * it. 0; -ENOMEM: the rest of it, or a group of `to` alone, has no room, nothing is done, nothing counted; -EAGAIN:
 * `from` is somebody else's by now, or holds nothing. */
int transfer_try(const struct actor *by, uint32_t from, uint64_t meta, uint32_t to, uint64_t n);

/* True when transfer_try would find room now. */
bool transfer_has_room(const struct actor *by, uint32_t from, uint32_t to, uint64_t n);

#endif
