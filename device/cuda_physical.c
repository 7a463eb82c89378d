/* SPDX-License-Identifier: MIT */
/* Physical memory, its handles and its mappings: given back with the last handle and the last
 * mapping. Many programs release the handle as soon as it is mapped. */
#include "device/cuda_holders.h"

/* Parts of a device begin with its number. */
int cuda_region_at(struct copy *copy, const struct cu_location *location)
{
	if (location->type == CU_LOCATION_DEVICE)
		return cuda_region(copy, location->id);
	return location->type > CU_LOCATION_HOST_LAST ? cuda_region(copy, location->id & 0xff) : -1;
}

/* Memory on the host, at whatever node, is not a device's. */
static int region_of(struct copy *copy, const struct cu_physical_properties *p)
{
	return p ? cuda_region_at(copy, &p->location) : -1;
}

/* True where the driver takes no such size, or knows no such place, whatever is free. */
static bool is_odd(struct copy *copy, size_t size, const struct cu_physical_properties *p)
{
	struct cuda_devices *d = cuda_devices(copy);
	size_t grain = 0;

	if (!d->granularity)
		return false;
	if (d->granularity(&grain, p, 0))
		return p->location.type > CU_LOCATION_HOST_LAST;
	return grain && size % grain;
}

int on_cuMemCreate(struct copy *copy, cu_physical *handle, size_t size, const struct cu_physical_properties *properties,
		   unsigned long long flags)
{
	int resource = region_of(copy, properties);
	struct ledger_entry e = { .kind = LEDGER_PHYSICAL, .resource = (int8_t)resource, .handles = 1 };
	struct device_charge charge;
	int result;

	if (!handle || !size || resource < 0 || is_odd(copy, size, properties))
		return REAL(copy, cuMemCreate)(handle, size, properties, flags);
	if (!device_charge_reserve(&charge, resource, size))
		return CU_OUT_OF_MEMORY;
	CUDA_CALL(result, REAL(copy, cuMemCreate)(handle, size, properties, flags), device_full(&charge, size));
	if (result) {
		device_charge_cancel(&charge);
		return result;
	}
	device_charge_commit(&charge, size, &e.paid);
	e.key = *handle;
	if (e.paid.units)
		(void)ledger_put(&e);
	return result;
}

/* ---- counting -------------------------------------------------------------------------------------------- */

static bool is_gone(const struct ledger_entry *e)
{
	return e->handles == 0 && e->maps == 0;
}

static bool add_handle(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->handles++;
	return false;
}

static bool add_map(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->maps++;
	return false;
}

static bool drop_handle(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->handles -= e->handles != 0;
	return is_gone(e);
}

static bool drop_map(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->maps -= e->maps != 0;
	return is_gone(e);
}

/* Changed before the driver is called where it may end there, so that a handle that the driver
 * gives out anew at once is a new entry; changed back where the driver refuses. */
static bool drop(uint64_t handle, ledger_change_fn *change, struct ledger_entry *ret)
{
	return ledger_change(LEDGER_PHYSICAL, handle, change, NULL, ret);
}

static void take_back(const struct ledger_entry *e, ledger_change_fn *add)
{
	struct ledger_entry again = *e;

	if (is_gone(e)) {
		(void)add(&again, NULL);
		(void)ledger_put(&again);
	} else {
		(void)ledger_change(LEDGER_PHYSICAL, e->key, add, NULL, NULL);
	}
}

enum { MULTICAST = 1 };

/* With a multicast object goes what is bound to it. */
static void gone(const struct ledger_entry *e)
{
	if (e->size == MULTICAST)
		cuda_unbind_all(e->key);
	else
		cuda_gave_back(e);
}

bool cuda_physical_hold(uint64_t handle)
{
	return ledger_change(LEDGER_PHYSICAL, handle, add_map, NULL, NULL);
}

void cuda_physical_let(uint64_t handle)
{
	struct ledger_entry e;

	if (drop(handle, drop_map, &e) && is_gone(&e))
		gone(&e);
}

static bool is_multicast(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->size = MULTICAST;
	return false;
}

void cuda_physical_is_multicast(uint64_t handle)
{
	const struct ledger_entry e = {
		.key = handle, .kind = LEDGER_PHYSICAL, .size = MULTICAST, .handles = 1, .resource = -1
	};

	if (device_member() && !ledger_change(LEDGER_PHYSICAL, handle, is_multicast, NULL, NULL))
		(void)ledger_put(&e);
}

int on_cuMemRelease(struct copy *copy, cu_physical handle)
{
	struct ledger_entry e;
	bool known = drop(handle, drop_handle, &e);
	int result = REAL(copy, cuMemRelease)(handle);

	if (known && result)
		take_back(&e, add_handle);
	else if (known && is_gone(&e))
		gone(&e);
	return result;
}

int on_cuMemRetainAllocationHandle(struct copy *copy, cu_physical *handle, void *addr)
{
	int result = REAL(copy, cuMemRetainAllocationHandle)(handle, addr);

	if (!result && handle)
		(void)ledger_change(LEDGER_PHYSICAL, *handle, add_handle, NULL, NULL);
	return result;
}

/* ---- mappings -------------------------------------------------------------------------------------------- */

int on_cuMemMap(struct copy *copy, cu_ptr ptr, size_t size, size_t offset, cu_physical handle, unsigned long long flags)
{
	const struct ledger_entry e = { .key = ptr, .kind = LEDGER_MAPPING, .of = handle, .size = size };
	int result = REAL(copy, cuMemMap)(ptr, size, offset, handle, flags);

	if (!result && ledger_change(LEDGER_PHYSICAL, handle, add_map, NULL, NULL))
		(void)ledger_put(&e);
	return result;
}

#define GRAIN (2ull << 20) /* no mapping is smaller, or begins elsewhere */

/* One call may end many mappings, and there may be gaps between them. */
int on_cuMemUnmap(struct copy *copy, cu_ptr ptr, size_t size)
{
	int result = REAL(copy, cuMemUnmap)(ptr, size);
	struct ledger_entry e;

	for (uint64_t at = ptr; !result && at - ptr < size && ledger_count(LEDGER_MAPPING) != 0;)
		if (ledger_take(LEDGER_MAPPING, at, &e)) {
			cuda_physical_let(e.of);
			at += e.size ? e.size : GRAIN;
		} else {
			at += GRAIN;
		}
	return result;
}

/* ---- sharing --------------------------------------------------------------------------------------------- */

enum { SHARED_BY_DESCRIPTOR = 1, SHARED_BY_BYTES = 8 };

/* Of what was imported, the name is the one it came by. */
static void lend(const struct ledger_entry *e, const void *shareable, int type)
{
	uint64_t name = e->of;

	if (!name && type == SHARED_BY_DESCRIPTOR)
		name = heirs_lend_by_number(e);
	else if (!name && type == SHARED_BY_BYTES &&
		 heirs_lend(e, heirs_name_of_bytes(shareable, sizeof(struct cu_ipc_handle))))
		name = heirs_name_of_bytes(shareable, sizeof(struct cu_ipc_handle));
	if (name && !e->of)
		(void)ledger_set_of(LEDGER_PHYSICAL, e->key, name);
	if (!name || (type == SHARED_BY_DESCRIPTOR && !heirs_sign(*(const int *)shareable, name)))
		device_member_mark_partial();
}

int on_cuMemExportToShareableHandle(struct copy *copy, void *shareable, cu_physical handle, int type,
				    unsigned long long flags)
{
	int result = REAL(copy, cuMemExportToShareableHandle)(shareable, handle, type, flags);
	struct ledger_entry e;

	if (!result && shareable && ledger_find(LEDGER_PHYSICAL, handle, &e) && (e.paid.units || e.of))
		lend(&e, shareable, type);
	return result;
}

static uint64_t name_of(void *shareable, int type)
{
	return type == SHARED_BY_DESCRIPTOR ? heirs_name_of_descriptor((int)(intptr_t)shareable)
	       : type == SHARED_BY_BYTES    ? heirs_name_of_bytes(shareable, sizeof(struct cu_ipc_handle))
					    : 0;
}

/* Where the driver answers a handle that this process has already, it is one more of that. What
 * nobody pays for is counted all the same: it may be a multicast object. */
int on_cuMemImportFromShareableHandle(struct copy *copy, cu_physical *handle, void *shareable, int type)
{
	int result = REAL(copy, cuMemImportFromShareableHandle)(handle, shareable, type);
	struct ledger_entry e = { .kind = LEDGER_PHYSICAL, .resource = -1, .handles = 1 };

	if (result || !handle || ledger_change(LEDGER_PHYSICAL, *handle, add_handle, NULL, NULL))
		return result;
	e.key = *handle;
	e.of = name_of(shareable, type);
	if (!heirs_borrow(&e.of))
		e.of = 0;
	(void)ledger_put(&e);
	return result;
}
