/* SPDX-License-Identifier: MIT */
/* Charging device memory: reserve before the driver is called, commit or cancel after it.
 *
 *   struct device_charge c;
 *   if (!device_charge_reserve(&c, resource, bytes)) -> the API's own out-of-memory error
 *   driver's call
 *   failed: device_charge_cancel(&c)      done: device_charge_commit(&c, bytes it took, &paid)
 *   later:  device_charge_return(&paid)
 *
 * contract      any thread, no lock held across anything. Where this process is not a member, or the region is not known
 *               (resource negative), everything is granted and nothing charged.
 * units         bytes are rounded up to REGION_UNIT, each charge for itself.
 * price         a pair of up to DEVICE_STOCK_MOST units, no limit near: two swaps of the own account.
 */
#ifndef DEVICE_CHARGE_H
#define DEVICE_CHARGE_H

#include "accounting/region.h"
#include "device/region.h"

/* Units that an account keeps when memory is given back, for the next request: 16 MiB, and beside them
 * what small requests left there. */
#define DEVICE_STOCK_MOST (4096u + 2 * CHARGE_BATCH)

/* What somebody holds: kept in the ledger until it is given back. */
struct device_paid {
	union {
		struct {
			uint64_t units : 56;
			uint64_t slot : 8; /* of the account in the member's table */
		};
		uint64_t word; /* both at once: a load after two stores waits for them, 5 ns */
	};
};

static inline struct device_paid device_paid_of(uint64_t units, unsigned slot)
{
	return (struct device_paid){ .word = units | (uint64_t)slot << 56 };
}

struct device_charge {
	struct device_member *member; /* NULL: nothing is charged */
	struct device_target to;
	uint64_t units;
};

/* Called when a limit has refused, before the last tries: gives back what an API keeps for itself in
 * this region. True when anything was given. In the thread that was refused, no lock held; several
 * threads may be in it. What belongs to another API's region answers false. */
typedef bool device_charge_trim(unsigned resource, uint64_t bytes);

/* Adds one; each is asked in the order in which they came, until there is room. Any thread, never
 * taken back; the same one again, and one beyond DEVICE_TRIMS_MAX, does nothing. */
#define DEVICE_TRIMS_MAX 8
void device_charge_on_refusal(device_charge_trim *trim);

/* False: refused. */
bool device_charge_reserve(struct device_charge *c, int resource, uint64_t bytes);

/* More of the same reservation. False: refused, what was reserved before stays. */
bool device_charge_reserve_more(struct device_charge *c, uint64_t bytes);

/* The driver has no more of it, whatever our limits: this process's APIs and shrinkers, and other
 * members, are asked to give back what they do not use. True: something came, the call is worth
 * another try. */
bool device_full(struct device_charge *c, uint64_t bytes);

/* The same where nothing is reserved beforehand. */
bool device_full_at(int resource, uint64_t bytes);

/* A driver's call, into `result`; made once more where that means that the device `is_full`, and
 * something came. Else the driver's answer stays. */
#define DEVICE_CALL(result, call, is_full) \
	do { \
		(result) = (call); \
		if (__builtin_expect(is_full, 0)) \
			(result) = (call); \
	} while (0)

void device_charge_cancel(struct device_charge *c);

static inline uint64_t device_units(uint64_t bytes)
{
	return bytes / REGION_UNIT + (bytes % REGION_UNIT != 0);
}

/* It took `bytes`; what was reserved beyond goes back, what is lacking is charged whatever the
 * limits. */
void device_charge_commit_other(struct device_charge *c, uint64_t units, struct device_paid *ret);
static inline void device_charge_commit(struct device_charge *c, uint64_t bytes, struct device_paid *ret)
{
	uint64_t units = device_units(bytes);

	if (__builtin_expect(!c->member || units != c->units, 0))
		device_charge_commit_other(c, units, ret);
	else
		*ret = device_paid_of(units, c->to.slot);
	c->units = 0;
}

void device_charge_return(const struct device_paid *paid);

/* Changes what is paid for to `bytes`, whatever the limits: what a driver's pool turned out to have
 * reserved. The reservation `c` (may be NULL) is used up. The caller sees to it that one thread at
 * a time changes *paid. */
void device_charge_settle(struct device_charge *c, int resource, struct device_paid *paid, uint64_t bytes);

/* What there is for this process in a region: the least of all limits above, and how much is left
 * below them, in bytes. False: no limit, or the group shows what the device shows. */
struct device_share {
	uint64_t total, available;
	uint64_t used; /* of the group whose limit is the least */
	uint16_t group;
};
bool device_charge_share(int resource, struct device_share *ret);

#endif
