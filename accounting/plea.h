/* SPDX-License-Identifier: MIT */
/* What a refused member asks of the daemon, and what the daemon tells it: pool.oom, member.leave and
 * member.device_leave.
 *
 * contract      a plea is for somebody of the group to be killed. It is dropped by the daemon when there is room or
 *               somebody was killed; who still has none asks again. Where nobody may be killed the daemon answers so.
 *               A leave is for a member among others that wait for each other: to go beyond the group's max, or
 *               to be refused.
 * crash table   died after           left behind                who puts it right
 *               asking               a plea                     the daemon, which serves it as any other
 *               (the daemon) a leave to go beyond a limit       the next one takes back those it finds
 */
#ifndef ACCOUNTING_PLEA_H
#define ACCOUNTING_PLEA_H

#include "accounting/charge.h"

enum plea {
	PLEA_MADE,   /* just now; the bell was rung */
	PLEA_OPEN,   /* somebody has asked already */
	PLEA_DENIED, /* nobody may be killed there */
};

/* `member` was refused so much of a resource by `group`, whose policy is kill. */
enum plea plea_make(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint64_t units);

/* True while it is worth waiting longer than a death takes: the daemon lives, and has not decided yet. */
bool plea_is_open(const struct segment *seg, unsigned resource, uint16_t group);

/* One request that hopes for a kill; all 0 at its first plea. */
struct plea_hope {
	uint32_t made;	   /* so often was asked, */
	uint32_t made_at;  /* the last time when */
	uint32_t deadline; /* of the kill that was asked for */
	bool has_begun;
};

/* Asks, and asks again who gets none of what a kill made free. True while a kill, or what precedes it, may still make
 * room. */
bool plea_hopes(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint64_t units,
		struct plea_hope *hope);

/* ---- leave: the daemon's side ------------------------------------------------------------------------------- */

#define LEAVE_UNITS_MAX (UINT32_MAX - 1)

/* May go so many units beyond the max of `group` from now on; of all regions together one leave. */
void leave_grant(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint64_t units);

/* Shall be refused, once. */
void leave_refuse(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group);

/* No longer. */
void leave_withdraw(const struct segment *seg, unsigned resource, uint32_t member);

/* True while it has leave for this group, or was to be refused and has not noticed; or the latter alone. */
bool leave_is_given(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group);
bool leave_is_unheard(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group);

/* ---- and the member's ---------------------------------------------------------------------------------------- */

/* True, once, when the daemon has decided that this member is refused. */
bool leave_is_refused(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group);

/* True when what `group` has just refused may be charged nevertheless: the member has leave, and no other limit above
 * `leaf` is in the way. Not exact when others charge at this moment. */
bool leave_covers(const struct actor *by, unsigned resource, uint16_t leaf, uint16_t group, uint64_t units);

#endif
