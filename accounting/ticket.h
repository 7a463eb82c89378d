/* SPDX-License-Identifier: MIT */
/* Reserve before a real call, commit or cancel after it: what is not committed is never left behind. */
#ifndef ACCOUNTING_TICKET_H
#define ACCOUNTING_TICKET_H

#include "accounting/keep.h"

struct ticket {
	uint32_t account;
	uint64_t units; /* reserved */
};

/* 0, or -ENOMEM with nothing reserved; *ret_refused as charge_try. */
static inline int ticket_reserve(const struct actor *by, uint32_t account, uint64_t units, struct ticket *t,
				 uint16_t *ret_refused)
{
	int err = charge_try(by, account, units, ret_refused);

	t->account = account;
	t->units = err ? 0 : units;
	return err;
}

/* The same where the caller makes room and tries again (CHARGE_FIRST); what an ancestor keeps for it is its (keep.h). */
static inline int ticket_reserve_first(const struct actor *by, uint32_t account, uint64_t units, struct ticket *t,
				       uint16_t *ret_refused)
{
	int err = charge_try_as(by, account, units, CHARGE_FIRST, ret_refused);

	if (err && keep_hand_over(by, account, units))
		err = 0;
	t->account = account;
	t->units = err ? 0 : units;
	return err;
}

/* The call took `actual` units (at most what is reserved) of this class; the rest goes back. */
static inline void ticket_commit(const struct actor *by, struct ticket *t, uint64_t actual, enum class class)
{
	account_class_add(by->seg, t->account, class, (int64_t)actual);
	charge_uncharge(by, t->account, t->units - actual);
	t->units = 0;
}

static inline void ticket_cancel(const struct actor *by, struct ticket *t)
{
	charge_uncharge(by, t->account, t->units);
	t->units = 0;
}

/* Grants without charging: what becomes resident of it is charged when it is found. */
static inline void ticket_grant(const struct actor *by, uint32_t account, uint64_t units, enum class class)
{
	account_class_add(by->seg, account, class, (int64_t)units);
}

/* `units` of a committed charge are gone, of which only `present` were resident: what had been found absent
 * has been given back already. */
static inline void ticket_return_part(const struct actor *by, uint32_t account, uint64_t units, uint64_t present,
				      enum class class)
{
	uint64_t given = account_take(&account_of(by->seg, account)->absent, units - present);

	account_class_add(by->seg, account, class, -(int64_t)units);
	charge_uncharge(by, account, units - given);
}

/* The same for what was granted: of the `present` units those are given back that were found before. */
static inline void ticket_return_granted(const struct actor *by, uint32_t account, uint64_t units, uint64_t present,
					 enum class class)
{
	account_class_add(by->seg, account, class, -(int64_t)units);
	charge_uncharge(by, account, account_take(&account_of(by->seg, account)->surplus, present));
}

/* The contents of `present` resident units are gone, the memory may be touched again. */
static inline void ticket_discard(const struct actor *by, uint32_t account, uint64_t present)
{
	mc_add_relaxed(&account_of(by->seg, account)->absent, present);
	charge_uncharge(by, account, present);
}

/* Ends a committed charge: `units` of `class` are gone. */
static inline void ticket_return(const struct actor *by, uint32_t account, uint64_t units, enum class class)
{
	account_class_add(by->seg, account, class, -(int64_t)units);
	charge_uncharge(by, account, units);
}

#endif
