/* SPDX-License-Identifier: MIT */
/* What a program is told of a device: the least of what the device has and what the group may have.
 * The driver answers first, into the caller's own places; without a limit its answers stay as they
 * are. */
#include "device/cuda.h"
#include "device/view.h"

static void fit(uint64_t *available, uint64_t *total, int resource)
{
	struct device_share share;

	if (!device_charge_share(resource, &share))
		return;
	view_fit(&share, available, total);
}

#define SHOW(copy, name, type, available, total) \
	int result = REAL(copy, name)(available, total); \
	uint64_t left, all; \
	if (result || (!(available) && !(total))) \
		return result; \
	left = (available) ? *(available) : 0; \
	all = (total) ? *(total) : UINT64_MAX; \
	fit(&left, &all, cuda_current_region(copy)); \
	if (available) \
		*(available) = (type)left; \
	if (total) \
		*(total) = (type)all; \
	return result;

int on_cuMemGetInfo(struct copy *copy, unsigned *available, unsigned *total)
{
	SHOW(copy, cuMemGetInfo, unsigned, available, total)
}

int on_cuMemGetInfo_v2(struct copy *copy, size_t *available, size_t *total)
{
	SHOW(copy, cuMemGetInfo_v2, size_t, available, total)
}

#define SHOW_TOTAL(copy, name, type, total, device) \
	int result = REAL(copy, name)(total, device); \
	uint64_t left = 0, all; \
	if (result || !(total)) \
		return result; \
	all = *(total); \
	fit(&left, &all, cuda_region(copy, device)); \
	*(total) = (type)all; \
	return result;

int on_cuDeviceTotalMem(struct copy *copy, unsigned *total, cu_device device)
{
	SHOW_TOTAL(copy, cuDeviceTotalMem, unsigned, total, device)
}

int on_cuDeviceTotalMem_v2(struct copy *copy, size_t *total, cu_device device)
{
	SHOW_TOTAL(copy, cuDeviceTotalMem_v2, size_t, total, device)
}
