/* SPDX-License-Identifier: MIT */
/* What is tried when a limit has refused memory of a device, until there is room.
 *
 * From free to costly: what the APIs of this process keep for themselves, its own shrinkers, those
 * of other members and what their drivers keep (accounting/evict.h says whose), and then what
 * memory.oom.policy of the group that refused says: nothing, a plea for a kill, or to wait.
 *
 * contract      the thread that was refused, no lock held and nothing reserved. Signal handlers run
 * meanwhile, and a signal that kills does so. Each wait has an end, but for the policy wait. Who
 * dies in it leaves one wake-up or one ask too many, or a plea that the daemon serves. The time is
 * booked on the account, for dmem.pressure.
 */
#ifndef DEVICE_REFUSED_H
#define DEVICE_REFUSED_H

#include "device/charge.h"

/* `group` has refused so many units. True: they are charged now, to c->to, which may be another
 * account if the member was moved meanwhile. Without `may_wait` the policy is not asked. */
bool device_refused(struct device_charge *c, unsigned resource, uint64_t units, uint16_t group, bool may_wait);

/* So many units were charged, and not from a stock: where that is above dmem.high, what can be had
 * is given back, and this thread waits as one above memory.high. */
void device_charged(struct device_charge *c, unsigned resource, uint64_t units);

/* All that was registered, one after the other. True when anything was given back. */
bool device_trim(unsigned resource, uint64_t bytes);

#endif
