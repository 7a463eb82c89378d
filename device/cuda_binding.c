/* SPDX-License-Identifier: MIT */
/* Physical memory in a place of something: it lives while it is there, whatever becomes of its
 * handle. */
#include "device/cuda_holders.h"
#include "device/walk.h"

static uint64_t key_of(const struct cuda_place *place)
{
	return heirs_name_of_bytes(place, sizeof(*place));
}

void cuda_bind(const struct cuda_place *place, uint64_t handle)
{
	const struct ledger_entry e = {
		.key = key_of(place), .kind = LEDGER_BINDING, .of = handle, .size = place->in, .resource = -1
	};
	struct ledger_entry before;
	bool replaced;

	if (!cuda_physical_hold(handle)) {
		cuda_unbind(place);
		return;
	}
	replaced = ledger_take(LEDGER_BINDING, e.key, &before);
	if (!ledger_put(&e)) {
		device_member_mark_partial();
		cuda_physical_let(handle);
	}
	if (replaced)
		cuda_physical_let(before.of);
}

void cuda_unbind(const struct cuda_place *place)
{
	struct ledger_entry e;

	if (ledger_count(LEDGER_BINDING) && ledger_take(LEDGER_BINDING, key_of(place), &e))
		cuda_physical_let(e.of);
}

static bool is_in(const struct ledger_entry *e, void *in)
{
	return e->size == *(uint64_t *)in;
}

static void let(const struct ledger_entry *e, void *in)
{
	(void)in;
	cuda_physical_let(e->of);
}

void cuda_unbind_all(uint64_t in)
{
	walk_take(LEDGER_BINDING, is_in, let, &in);
}
