/* SPDX-License-Identifier: MIT */
/* Device memory that several processes have: who pays for it.
 *
 * Its creator does, as for all it allocates, by itself. When he has given it back or is gone, and
 * another process still has it open, that one inherits the charge, whatever the limits of its group
 * (what cannot be refused is not); then the next one. What was inherited is charged and given back
 * by the daemon alone.
 *
 * A record is a name that who exports and who imports find by themselves (device/heirs.h), with
 * those who have it open. It is kept after the last one has gone, while there is room: memory may
 * be on its way in a descriptor, and whoever opens it then is its heir at once.
 *
 * They lie in a file of the runtime directory, so the next daemon has them. What was inherited lies
 * in accounts of its own, where nobody else charges: the next daemon makes them what the records
 * say.
 *
 * crash table   died after    left behind                     who puts it right
 *               H1, H2, H4    nobody pays, perhaps charged    heirs_open: uncharged, one is elected
 *               H3            two pay                         heirs_open: the one that is recorded
 *               H5            nothing
 *               H6            who has closed it pays          heirs_open
 */
#ifndef CONTROLD_HEIRS_H
#define CONTROLD_HEIRS_H

#include "controld/served.h"

#define HEIRS_NAME "heirs"
#define HEIRS_RECORDS 4096u
#define HEIRS_NUMBERS \
	128u		 /* names of descriptors, at most 32 bits: pid * HEIRS_NUMBERS + number \
			  */
#define HEIRS_HOLDERS 8u /* of one record: others have it unpaid, and are `partial` */

struct heirs;

/* Takes over what another daemon has left, after settle_daemon. 0 or -ENOMEM. */
int heirs_open(struct served *s);
void heirs_close(struct served *s);

/* `member` has made `units` of a region known to others by this name, and pays for them. 0;
 * -EEXIST: somebody has something else of this name; -ENOSPC: all records are in use; -ESRCH: no
 * such member. */
int heirs_lend(struct served *s, uint64_t name, uint32_t member, unsigned resource, uint64_t units);

/* `member` has opened what is called so. -ENOENT: nobody who pays has made it known; -ENOSPC: more
 * have it open than are counted. Below HEIRS_NUMBERS, *name is all that a descriptor tells whose
 * creator is gone: what it ends in; it becomes the whole name, of the last one that fits. */
int heirs_borrow(struct served *s, uint64_t *name, uint32_t member);

/* It does not have it any more, or has closed one of several; name 0: anything. Where it paid for
 * it, somebody else does now, or nobody. */
void heirs_leave(struct served *s, uint64_t name, uint32_t member);

/* Its maker gives back what it has lent, and may have opened it again itself: then it is its own
 * heir. */
void heirs_give(struct served *s, uint64_t name, uint32_t member);

/* The slot is about to be settled: its process has gone. */
void heirs_lose(struct served *s, uint32_t slot);

/* Images that were replaced have nothing any more. Each turn. */
void heirs_look(struct served *s);

#endif
