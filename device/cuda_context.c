/* SPDX-License-Identifier: MIT */
/* Contexts: with one goes what was allocated in it. Pointers are asked about afterwards, one by
 * one: what the driver no longer knows is gone. A handle that is gone must not be shown to the
 * driver: arrays remember their context. */
#include "device/cuda.h"

#include "accounting/sys.h"

static bool is_gone(struct copy *copy, cu_ptr ptr)
{
	struct cuda_devices *d = cuda_devices(copy);
	int type;

	return d->pointer_attribute && d->pointer_attribute(&type, CU_POINTER_MEMORY_TYPE, ptr) == CU_INVALID_VALUE;
}

static bool is_of(cu_handle context, cu_handle array)
{
	struct ledger_entry e;

	return ledger_find(LEDGER_ARRAY, (uintptr_t)array, &e) && e.of == (uintptr_t)context;
}

static void give(enum ledger_kind kind, uint64_t key)
{
	struct ledger_entry e;

	if (!ledger_take(kind, key, &e))
		return;
	if (kind == LEDGER_ARRAY) /* of: its context */
		device_charge_return(&e.paid);
	else
		cuda_gave_back(&e);
}

static uint64_t *keys(enum ledger_kind kind, size_t *ret_n, size_t *ret_size)
{
	size_t room = ledger_count(kind) + 64;
	uint64_t *key;

	*ret_size = (room * sizeof(*key) + MC_PAGE_SIZE - 1) / MC_PAGE_SIZE * MC_PAGE_SIZE;
	key = device_pages(*ret_size, PAGES_ABSENT);
	*ret_n = key ? ledger_keys(kind, key, room) : 0;
	if (*ret_n > room)
		*ret_n = room;
	return key;
}

static void sweep(struct copy *copy, cu_handle context, enum ledger_kind kind)
{
	size_t n, size;
	uint64_t *key = ledger_count(kind) ? keys(kind, &n, &size) : NULL;

	if (!key)
		return;
	for (size_t i = 0; i < n; i++)
		if (kind == LEDGER_ARRAY ? is_of(context, (cu_handle)(uintptr_t)key[i]) : is_gone(copy, key[i]))
			give(kind, key[i]);
	(void)sys_munmap(key, size);
}

static void sweep_all(struct copy *copy, cu_handle context)
{
	sweep(copy, context, LEDGER_POINTER);
	sweep(copy, context, LEDGER_OPENED);
	if (context)
		sweep(copy, context, LEDGER_ARRAY);
	cuda_pools_sample(copy);
	cuda_overhead_sample_all(copy);
}

int on_cuCtxDestroy(struct copy *copy, cu_handle context)
{
	int result = REAL(copy, cuCtxDestroy)(context);

	if (!result)
		sweep_all(copy, context);
	return result;
}

int on_cuCtxDestroy_v2(struct copy *copy, cu_handle context)
{
	int result = REAL(copy, cuCtxDestroy_v2)(context);

	if (!result)
		sweep_all(copy, context);
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

/* Its handle; NULL where there is none now, or the driver is too old to be asked without making
 * one. */
static cu_handle primary(struct copy *copy, cu_device device)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_handle context = NULL;

	if (!ledger_count(LEDGER_ARRAY) || !cuda_primary_is_active(copy, device) || !d->primary_retain ||
	    d->primary_retain(&context, device))
		return NULL;
	if (REAL(copy, cuDevicePrimaryCtxRelease_v2))
		(void)REAL(copy, cuDevicePrimaryCtxRelease_v2)(device);
	else
		(void)REAL(copy, cuDevicePrimaryCtxRelease)(device);
	return context;
}

#define END(copy, name, device, is_over) \
	cu_handle context = primary(copy, device); \
	int result = REAL(copy, name)(device); \
	if (!result && (is_over)) \
		sweep_all(copy, context); \
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
