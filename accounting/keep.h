/* SPDX-License-Identifier: MIT */
/* Room that a process keeps free for what it will start (memctl run --need): charged to a slot of its own.
 *
 * contract      the keeper's slot is CLAIMED and flagged MEMBER_KEEPS: nobody lists it, looks how much of it is resident,
 *               or kills for it; the daemon watches its process, and takes back what it keeps when that dies.
 *               A refused descendant of the keeper, and nobody else, has room handed over (transfer.h): what is kept
 *               becomes its charge, without being free in between.
 * ordering      each change of what is kept is a charge, an adjustment (charge.h) or a transfer.
 * crash table   died after            left behind              who puts it right
 *               the keeper: anywhere  a CLAIMED slot           the daemon, as for any other
 *               adjusting             an open counter          settle: recount
 *               the slot's account freed, the slot not         settle frees what is left
 * price         a refused process: one load where nobody has ever kept anything; else a look at all slots and at its
 *               own ancestors, 10 us each, once for each new keeper on the machine; then 0.5 us a hand-over.
 */
#ifndef ACCOUNTING_KEEP_H
#define ACCOUNTING_KEEP_H

#include "accounting/member.h"

struct keep {
	struct actor actor;
	uint32_t member, account;
};

/* A slot of this process for a keeper in `group` that keeps nothing yet. As member_join. -EXDEV: the daemon lives in
 * another pid namespace and could not watch us. */
int keep_open(const struct segment *seg, uint16_t group, struct keep *ret);

/* Keeps so many pages more. -ENOMEM: *ret_refused has no room for them now; counted as having met its limit only when
 * it looked as if it had. */
int keep_take(struct keep *k, uint64_t pages, uint16_t *ret_refused);

uint64_t keep_held(const struct keep *k);

/* Keeps at most so much from now on. */
void keep_shrink(struct keep *k, uint64_t pages);

/* Gives everything back, and the slot. */
void keep_close(struct keep *k);

/* The caller was refused so many pages: an ancestor that keeps room for it charges them to `account`, its own, with
 * what it keeps. What is lacking beyond that is charged as usual. False: nobody keeps anything for the caller, or not
 * enough. Signal-safe. */
bool keep_hand_over(const struct actor *by, uint32_t account, uint64_t pages);

/* True when it would have succeeded a moment ago. */
bool keep_has_room(const struct actor *by, uint32_t account, uint64_t pages);

/* True when `pid` descends from `ancestor`, as far as /proc shows. Signal-safe. */
bool keep_is_descendant(uint32_t pid, uint32_t ancestor);

#endif
