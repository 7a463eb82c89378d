/* SPDX-License-Identifier: MIT */
/* Contexts: with one goes what was allocated in it. Pointers are asked about afterwards, one by
 * one: what the driver no longer knows is gone. A handle that is gone must not be shown to the
 * driver: arrays remember their context. */
#include "device/cuda_holders.h"
#include "device/walk.h"

struct ended {
	struct copy *copy;
	uint64_t context;
};

static bool is_gone(const struct ledger_entry *e, void *arg)
{
	const struct ended *ended = arg;
	struct cuda_devices *d = cuda_devices(ended->copy);
	int type;

	return d->pointer_attribute && d->pointer_attribute(&type, CU_POINTER_MEMORY_TYPE, e->key) == CU_INVALID_VALUE;
}

static bool is_of(const struct ledger_entry *e, void *arg)
{
	return (e->kind == LEDGER_ARRAY ? e->of : e->size) == ((const struct ended *)arg)->context;
}

static void pointer_ended(const struct ledger_entry *e, void *arg)
{
	(void)arg;
	cuda_gave_back(e);
}

static void array_ended(const struct ledger_entry *e, void *arg)
{
	(void)arg;
	cuda_array_ended(e);
}

static void external_ended(const struct ledger_entry *e, void *arg)
{
	(void)arg;
	heirs_leave(e->of);
}

void cuda_context_ended(struct copy *copy, cu_handle context)
{
	struct ended ended = { copy, (uintptr_t)context };

	walk_take(LEDGER_POINTER, is_gone, pointer_ended, &ended);
	walk_take(LEDGER_OPENED, is_gone, external_ended, &ended);
	if (context) {
		walk_take(LEDGER_ARRAY, is_of, array_ended, &ended);
		walk_take(LEDGER_EXTERNAL, is_of, external_ended, &ended);
		walk_take(LEDGER_VIEW, is_of, external_ended, &ended);
	}
	cuda_pools_sample(copy);
	cuda_overhead_sample_all(copy);
}

int on_cuCtxDestroy(struct copy *copy, cu_handle context)
{
	int result = REAL(copy, cuCtxDestroy)(context);

	if (!result)
		cuda_context_ended(copy, context);
	return result;
}

int on_cuCtxDestroy_v2(struct copy *copy, cu_handle context)
{
	int result = REAL(copy, cuCtxDestroy_v2)(context);

	if (!result)
		cuda_context_ended(copy, context);
	return result;
}

/* A use less of it; with the last one it is not the thread's any more. */
int on_cuCtxDetach(struct copy *copy, cu_handle context)
{
	struct cuda_devices *d = cuda_devices(copy);
	int result = REAL(copy, cuCtxDetach)(context);
	cu_handle now = NULL;

	if (!result && d->ctx_current && (d->ctx_current(&now) || now != context))
		cuda_context_ended(copy, context);
	return result;
}

/* ---- a device's primary context -------------------------------------------------------------------------- */

bool cuda_primary_is_active(struct copy *copy, cu_device device)
{
	struct cuda_devices *d = cuda_devices(copy);
	unsigned flags;
	int active = 0;

	return d->primary_state && d->primary_state(device, &flags, &active) == 0 && active;
}

cu_handle cuda_primary(struct copy *copy, cu_device device)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_handle context = NULL;

	if (!cuda_primary_is_active(copy, device) || !d->primary_retain || d->primary_retain(&context, device))
		return NULL;
	if (REAL(copy, cuDevicePrimaryCtxRelease_v2))
		(void)REAL(copy, cuDevicePrimaryCtxRelease_v2)(device);
	else
		(void)REAL(copy, cuDevicePrimaryCtxRelease)(device);
	return context;
}

/* Something is there that is known by its context alone. */
static bool is_asked_for(void)
{
	return ledger_count(LEDGER_ARRAY) || ledger_count(LEDGER_EXTERNAL) || ledger_count(LEDGER_VIEW);
}

#define END(copy, name, device, is_over) \
	cu_handle context = is_asked_for() ? cuda_primary(copy, device) : NULL; \
	int result = REAL(copy, name)(device); \
	if (!result && (is_over)) \
		cuda_context_ended(copy, context); \
	return result;

int on_cuDevicePrimaryCtxReset(struct copy *copy, cu_device device)
{
	END(copy, cuDevicePrimaryCtxReset, device, true)
}

int on_cuDevicePrimaryCtxReset_v2(struct copy *copy, cu_device device)
{
	END(copy, cuDevicePrimaryCtxReset_v2, device, true)
}

int on_cuDevicePrimaryCtxRelease(struct copy *copy, cu_device device)
{
	END(copy, cuDevicePrimaryCtxRelease, device, !cuda_primary_is_active(copy, device))
}

int on_cuDevicePrimaryCtxRelease_v2(struct copy *copy, cu_device device)
{
	END(copy, cuDevicePrimaryCtxRelease_v2, device, !cuda_primary_is_active(copy, device))
}
