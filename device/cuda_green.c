/* SPDX-License-Identifier: MIT */
/* Green contexts: parts of a device's processors. They have no memory of their own: what is made in
 * one is the primary context's, which each retains and releases, and it ends with that. */
#include "device/cuda_holders.h"

static void keep(uint64_t key, cu_handle primary, uint64_t as_context)
{
	const struct ledger_entry e = {
		.key = key, .kind = LEDGER_GREEN, .of = (uintptr_t)primary, .size = as_context, .resource = -1
	};

	if (key && primary)
		(void)ledger_put(&e);
}

cu_handle cuda_owner(struct copy *copy)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_handle context = NULL;
	struct ledger_entry e;

	if (!d->ctx_current || d->ctx_current(&context))
		return NULL;
	if (ledger_count(LEDGER_GREEN) && ledger_find(LEDGER_GREEN, (uintptr_t)context, &e))
		return (cu_handle)(uintptr_t)e.of; /* NOLINT: a handle */
	return context;
}

int on_cuGreenCtxCreate(struct copy *copy, cu_handle *context, cu_handle resources, cu_device device, unsigned flags)
{
	bool was_there = cuda_primary_is_active(copy, device);
	int result = REAL(copy, cuGreenCtxCreate)(context, resources, device, flags);

	if (result || !context)
		return result;
	keep((uintptr_t)*context, cuda_primary(copy, device), 0);
	if (!was_there)
		cuda_overhead_sample(copy, device);
	return result;
}

int on_cuCtxFromGreenCtx(struct copy *copy, cu_handle *context, cu_handle green)
{
	int result = REAL(copy, cuCtxFromGreenCtx)(context, green);
	uint64_t as_context = result || !context ? 0 : (uintptr_t)*context;
	struct ledger_entry e;

	if (as_context && ledger_set_size(LEDGER_GREEN, (uintptr_t)green, as_context, &e) && as_context != e.key)
		keep(as_context, (cu_handle)(uintptr_t)e.of, 0); /* NOLINT: a handle */
	return result;
}

/* Which devices' primary contexts end with it, nobody says: all are looked at that were there. */
static uint64_t active(struct copy *copy)
{
	struct cuda_devices *d = cuda_devices(copy);
	uint64_t set = 0;

	for (cu_device i = 0; i < CUDA_DEVICES_MAX; i++)
		if (mc_load_relaxed(&d->region[i]) && cuda_primary_is_active(copy, i))
			set |= 1ull << i;
	return set;
}

int on_cuGreenCtxDestroy(struct copy *copy, cu_handle context)
{
	uint64_t before = active(copy);
	struct ledger_entry e = { 0 };
	bool known = ledger_take(LEDGER_GREEN, (uintptr_t)context, &e);
	int result = REAL(copy, cuGreenCtxDestroy)(context);

	if (known && result) {
		(void)ledger_put(&e);
		return result;
	}
	if (known && e.size)
		(void)ledger_take(LEDGER_GREEN, e.size, &e);
	if (!result && (before & ~active(copy)))
		cuda_context_ended(copy, known ? (cu_handle)(uintptr_t)e.of : NULL); /* NOLINT: a handle */
	return result;
}
