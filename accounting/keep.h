/* SPDX-License-Identifier: MIT */
/* Room that a process keeps free for what it will start (memctl run --need): charged to a slot of its own.
 *
 * contract      the keeper's slot is CLAIMED and flagged MEMBER_KEEPS: nobody lists it, looks how much of it is resident,
 *               or kills for it; the daemon watches its process, and takes back what it keeps when that dies.
 *               Whoever is refused asks keep_release_for: only the keeper's descendants are given anything.
 * ordering      each change of what is kept is a charge or an adjustment (charge.h).
 * crash table   died after            left behind              who puts it right
 *               the keeper: anywhere  a CLAIMED slot           the daemon, as for any other
 *               adjusting             an open counter          settle: recount
 *               the slot's account freed, the slot not         settle frees what is left
 * price         a refused process: a look at all slots while any keeper is there; then, once for each refusal, its own
 *               ancestors, 10 us each.
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

/* Some ancestor of the caller, who was refused so many pages, keeps room for it: at least so much is given back, if so
 * much is kept, and then there may be room. False: nobody keeps anything for the caller. Signal-safe. */
bool keep_release_for(const struct actor *by, uint64_t pages);

/* True when `pid` descends from `ancestor`, as far as /proc shows. Signal-safe. */
bool keep_is_descendant(uint32_t pid, uint32_t ancestor);

#endif
