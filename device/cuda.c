/* SPDX-License-Identifier: MIT */
/* CUDA's devices: which region each is. */
#include "device/cuda.h"

#include "accounting/region.h"

#include <string.h>

/* Two threads may both do so, with the same outcome. */
struct cuda_devices *cuda_devices_find(struct copy *copy)
{
	static struct cuda_devices all[COPIES];
	struct cuda_devices *d = &all[copy->index];

	*(void **)&d->ctx_device = resolve_in(copy, "cuCtxGetDevice");
	*(void **)&d->ctx_current = resolve_in(copy, "cuCtxGetCurrent");
	*(void **)&d->device_count = resolve_in(copy, "cuDeviceGetCount");
	*(void **)&d->device_uuid = resolve_in(copy, "cuDeviceGetUuid_v2");
	if (!d->device_uuid)
		*(void **)&d->device_uuid = resolve_in(copy, "cuDeviceGetUuid");
	*(void **)&d->device_address = resolve_in(copy, "cuDeviceGetPCIBusId");
	*(void **)&d->device_pool = resolve_in(copy, "cuDeviceGetMemPool");
	*(void **)&d->pool_attribute = resolve_in(copy, "cuMemPoolGetAttribute");
	*(void **)&d->graph_attribute = resolve_in(copy, "cuDeviceGetGraphMemAttribute");
	*(void **)&d->pointer_attribute = resolve_in(copy, "cuPointerGetAttribute");
	*(void **)&d->array_requirements = resolve_in(copy, "cuArrayGetMemoryRequirements");
	*(void **)&d->mipmap_requirements = resolve_in(copy, "cuMipmappedArrayGetMemoryRequirements");
	*(void **)&d->address_range = resolve_in(copy, "cuMemGetAddressRange_v2");
	*(void **)&d->granularity = resolve_in(copy, "cuMemGetAllocationGranularity");
	*(void **)&d->primary_retain = resolve_in(copy, "cuDevicePrimaryCtxRetain");
	*(void **)&d->primary_state = resolve_in(copy, "cuDevicePrimaryCtxGetState");
	*(void **)&d->capture_mode = resolve_in(copy, "cuThreadExchangeStreamCaptureMode");
	device_charge_on_refusal(cuda_pools_trim);
	mc_store_release(&copy->devices, d);
	return d;
}

static unsigned count(struct cuda_devices *d)
{
	int n = 0;

	if (mc_load_relaxed(&d->count) == 0 && d->device_count && d->device_count(&n) == 0 && n > 0)
		mc_store_relaxed(&d->count, (uint32_t)n);
	return mc_load_relaxed(&d->count);
}

static int meet(struct copy *copy, cu_device ordinal)
{
	struct cuda_devices *d = cuda_devices(copy);
	char name[REGION_NAME_MAX + 1], address[REGION_ADDRESS_MAX + 1] = "";
	struct cu_uuid uuid;
	size_t capacity = 0;

	if (!d->device_uuid || d->device_uuid(&uuid, ordinal))
		return -1;
	if (d->device_address && d->device_address(address, sizeof(address), ordinal))
		address[0] = 0;
	if (REAL(copy, cuDeviceTotalMem_v2) && REAL(copy, cuDeviceTotalMem_v2)(&capacity, ordinal))
		capacity = 0;
	device_region_name_nvidia(uuid.byte, name);
	return device_region_meet(name, address, capacity);
}

static int region_slowly(struct copy *copy, cu_device ordinal, mc_word32 *known)
{
	int region;

	if (!device_member()) /* it may become one */
		return -1;
	region = meet(copy, ordinal);
	if (region < 0)
		device_member_mark_partial();
	mc_store_relaxed(known, region < 0 ? CUDA_REGION_NONE : (uint32_t)region);
	return region < 0 ? -1 : region;
}

int cuda_region(struct copy *copy, cu_device ordinal)
{
	struct cuda_devices *d = cuda_devices(copy);
	uint32_t known;

	if (ordinal < 0 || ordinal >= CUDA_DEVICES_MAX)
		return -1;
	known = mc_load_relaxed(&d->region[ordinal]);
	if (__builtin_expect(known == 0, 0))
		return region_slowly(copy, ordinal, &d->region[ordinal]);
	return known == CUDA_REGION_NONE ? -1 : (int)known;
}

int cuda_current_device(struct copy *copy, cu_device *ret)
{
	struct cuda_devices *d = cuda_devices(copy);

	*ret = 0;
	if (count(d) == 1)
		return 0;
	return d->ctx_device ? d->ctx_device(ret) : CU_NOT_FOUND;
}

int cuda_current_region(struct copy *copy)
{
	cu_device device;

	return cuda_current_device(copy, &device) ? -1 : cuda_region(copy, device);
}

cu_result cuda_refused(struct copy *copy)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_device device;
	cu_result result = d->ctx_device ? d->ctx_device(&device) : CU_SUCCESS;

	return result ? result : CU_OUT_OF_MEMORY;
}
