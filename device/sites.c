/* SPDX-License-Identifier: MIT */
/* Call sites of device memory. */
#include "device/sites.h"

#include "accounting/cooperate.h"
#include "accounting/region.h"

/* In this namespace there may be no preload library: then nobody samples. */
extern const struct cooperate memctl_cooperate __attribute__((weak));

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static bool is_sampled(enum ledger_kind kind)
{
	return (kind == LEDGER_POINTER || kind == LEDGER_ARRAY || kind == LEDGER_PHYSICAL || kind == LEDGER_BUFFER ||
		kind == LEDGER_ALLOCATION) &&
	       &memctl_cooperate && memctl_cooperate.version >= 3;
}

/* Handles of different kinds may be the same number. */
static uint64_t name_of(enum ledger_kind kind, uint64_t key)
{
	return key ^ (uint64_t)kind << 56;
}

void device_sites_put(const struct ledger_entry *e)
{
	if (is_sampled(e->kind) && e->paid.units)
		memctl_cooperate.device_got(name_of(e->kind, e->key), e->paid.units * REGION_UNIT, __ehdr_start, _end);
}

void device_sites_take(enum ledger_kind kind, uint64_t key)
{
	if (is_sampled(kind))
		memctl_cooperate.device_ended(name_of(kind, key));
}
