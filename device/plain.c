/* SPDX-License-Identifier: MIT */
/* Memory that one call makes and another gives back. */
#include "device/plain.h"

#include "device/view.h"

/* In whole units: what is left of the last one that was reserved is there. */
static bool is_room_for(struct plain *p, uint64_t bytes)
{
	uint64_t units = device_units(bytes);

	return units <= p->charge.units ||
	       device_charge_reserve_more(&p->charge, (units - p->charge.units) * REGION_UNIT);
}

bool plain_settle(struct plain *p, int result, uint64_t ptr, uint64_t bytes)
{
	struct ledger_entry e = { .key = ptr, .kind = LEDGER_POINTER, .resource = (int8_t)p->resource };

	if (result || !is_room_for(p, bytes)) {
		device_charge_cancel(&p->charge);
		return false;
	}
	device_charge_commit(&p->charge, bytes, &e.paid);
	if (e.paid.units)
		(void)ledger_put(&e);
	return true;
}

void plain_freed(const struct ledger_entry *e, int result)
{
	if (result)
		(void)ledger_put(e);
	else
		device_charge_return(&e->paid);
}

int plain_region(struct plain_regions *regions, struct copy *copy, uint64_t handle, plain_find *find)
{
	unsigned i = (unsigned)(handle ^ handle >> 4) % PLAIN_HANDLES;
	int region;

	if (mc_load_acquire(&regions->known[i].handle) == handle + 1)
		return regions->known[i].region;
	region = find(copy, handle);
	if (region >= 0 && mc_load_relaxed(&regions->known[i].handle) == 0) {
		regions->known[i].region = region;
		mc_store_release(&regions->known[i].handle, handle + 1);
	}
	return region;
}

void plain_view(int resource, uint64_t *available, uint64_t *total)
{
	struct device_share share;

	if (device_charge_share(resource, &share))
		view_fit(&share, available, total);
}
