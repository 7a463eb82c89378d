/* SPDX-License-Identifier: MIT */
/* What this process's drivers keep and do not use, given back because another process wants it.
 *
 * The preload library's helper thread calls (preload/devices.h); what is called is what each API
 * has registered with device_charge_on_refusal. No driver is called before a pool of its own was
 * charged in this very process: not where none was started, nor in a child of fork, whose ledger is
 * empty.
 */
#ifndef DEVICE_LEND_H
#define DEVICE_LEND_H

#include "accounting/evict.h"
#include "accounting/member.h"
#include "device/member.h"

void device_lend_from(struct device_member *m, unsigned resource);
void device_lend_now(struct device_member *m);

/* A driver of this process may keep something in this region from now on. No lock held, of the heap
 * neither, and not in handlers. A load from the second time on. */
static inline void device_lend(int resource)
{
	struct device_member *m = resource < 0 ? NULL : device_member();

	if (m && !(mc_load_relaxed(&member_of(m->actor.seg, m->member)->device_gives) >> resource & 1))
		device_lend_from(m, (unsigned)resource);
}

/* Where no thread of ours listens, what somebody asks for is given here: after calls about pools,
 * no lock held. Three loads. */
static inline void device_lend_if_asked(void)
{
	struct device_member *m = device_member();

	if (m && __builtin_expect(evict_is_asked(member_of(m->actor.seg, m->member)), 0))
		device_lend_now(m);
}

#endif
