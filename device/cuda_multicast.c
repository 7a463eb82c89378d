/* SPDX-License-Identifier: MIT */
/* Multicast objects: memory that is bound to one lives as long as it is. What an object itself
 * takes is the driver's (cuda_overhead.c). One that other processes have, too, is gone here with
 * our last handle and mapping. */
#include "device/cuda_holders.h"

int on_cuMulticastCreate(struct copy *copy, cu_physical *handle, const void *properties)
{
	int result = REAL(copy, cuMulticastCreate)(handle, properties);

	if (!result && handle)
		cuda_physical_is_multicast(*handle);
	return result;
}

static struct cuda_place place_of(cu_physical object, cu_device device, size_t at)
{
	return (struct cuda_place){ .in = object, .at = { (uint64_t)(unsigned)device, at } };
}

typedef int ask_properties(struct cu_physical_properties *, cu_physical);

/* The device that memory lies on. */
static cu_device device_of(struct copy *copy, cu_physical handle)
{
	struct cu_physical_properties p = { 0 };
	ask_properties *ask;

	*(void **)&ask = resolve_in(copy, "cuMemGetAllocationPropertiesFromHandle");
	return ask && ask(&p, handle) == 0 && p.location.type == CU_LOCATION_DEVICE ? p.location.id : 0;
}

/* An object that was imported is met here first. */
static void bound(cu_physical object, cu_device device, size_t at, cu_physical handle)
{
	struct cuda_place place = place_of(object, device, at);

	cuda_physical_is_multicast(object);
	cuda_bind(&place, handle);
}

#define BIND(copy, name, object, device, at, handle, ...) \
	bool held = cuda_physical_hold(handle); \
	int result = REAL(copy, name)(__VA_ARGS__); \
	if (!result && held) \
		bound(object, device, at, handle); \
	if (held) \
		cuda_physical_let(handle); \
	return result;

int on_cuMulticastBindMem(struct copy *copy, cu_physical object, size_t at, cu_physical handle, size_t offset,
			  size_t size, unsigned long long flags)
{
	BIND(copy, cuMulticastBindMem, object, device_of(copy, handle), at, handle, object, at, handle, offset, size,
	     flags)
}

int on_cuMulticastBindMem_v2(struct copy *copy, cu_physical object, cu_device device, size_t at, cu_physical handle,
			     size_t offset, size_t size, unsigned long long flags)
{
	BIND(copy, cuMulticastBindMem_v2, object, device, at, handle, object, device, at, handle, offset, size, flags)
}

/* What is mapped there, by a handle of ours that goes back at once: the mapping stays. 0: it is no
 * physical memory, or nothing is. */
static cu_physical mapped_at(struct copy *copy, cu_ptr ptr)
{
	cu_physical handle = 0;

	if (!ledger_count(LEDGER_MAPPING) || !REAL(copy, cuMemRetainAllocationHandle) || !REAL(copy, cuMemRelease) ||
	    REAL(copy, cuMemRetainAllocationHandle)(&handle, (void *)(uintptr_t)ptr)) /* NOLINT: an address */
		return 0;
	(void)REAL(copy, cuMemRelease)(handle);
	return handle;
}

/* Of a pool's memory nobody says when it goes. */
#define BIND_ADDRESS(copy, name, object, device, at, ptr, ...) \
	cu_physical handle = mapped_at(copy, ptr); \
	bool held = handle && cuda_physical_hold(handle); \
	int result = REAL(copy, name)(__VA_ARGS__); \
	if (!result && held) \
		bound(object, device, at, handle); \
	else if (!result && !handle && device_member()) \
		device_member_mark_partial(); \
	if (held) \
		cuda_physical_let(handle); \
	return result;

int on_cuMulticastBindAddr(struct copy *copy, cu_physical object, size_t at, cu_ptr ptr, size_t size,
			   unsigned long long flags)
{
	BIND_ADDRESS(copy, cuMulticastBindAddr, object, device_of(copy, handle), at, ptr, object, at, ptr, size, flags)
}

int on_cuMulticastBindAddr_v2(struct copy *copy, cu_physical object, cu_device device, size_t at, cu_ptr ptr,
			      size_t size, unsigned long long flags)
{
	BIND_ADDRESS(copy, cuMulticastBindAddr_v2, object, device, at, ptr, object, device, at, ptr, size, flags)
}

int on_cuMulticastUnbind(struct copy *copy, cu_physical object, cu_device device, size_t at, size_t size)
{
	struct cuda_place place = place_of(object, device, at);
	int result = REAL(copy, cuMulticastUnbind)(object, device, at, size);

	if (!result)
		cuda_unbind(&place);
	return result;
}
