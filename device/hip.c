/* SPDX-License-Identifier: MIT */
/* HIP: plain, pitched and managed memory, what is told of it, and what its lookup answers.
 * Everything else is passed on. A device is known by where it is plugged in, by which other APIs
 * know it, too. */
#include "device/cuda.h"
#include "device/plain.h"
#include "device/walk.h"

#include "accounting/region.h"

#include <stdio.h>

enum { HIP_OUT_OF_MEMORY = 2 };

static int find_region(struct copy *copy, uint64_t ordinal)
{
	char name[REGION_NAME_MAX + 1], address[REGION_ADDRESS_MAX + 1];
	int (*ask)(char *, int, int), region;
	size_t capacity = 0;

	*(void **)&ask = resolve_in(copy, "hipDeviceGetPCIBusId");
	if (!device_member() || !ask || ask(address, sizeof(address), (int)ordinal))
		return -1;
	if (REAL(copy, hipDeviceTotalMem) && REAL(copy, hipDeviceTotalMem)(&capacity, (int)ordinal))
		capacity = 0;
	(void)snprintf(name, sizeof(name), "hip/%s/vram", address);
	region = device_region_meet(name, address, capacity);
	if (region < 0)
		device_member_mark(MEMBER_PARTIAL | MEMBER_PARTIAL_HIP);
	return region;
}

static int region_of(struct copy *copy, int ordinal)
{
	static struct plain_regions known[COPIES];

	return ordinal < 0 ? -1 : plain_region(&known[copy->index], copy, (uint64_t)ordinal, find_region);
}

/* -1: the thread has none, or it cannot be charged. */
static int current_region(struct copy *copy)
{
	static void *_Atomic functions[COPIES];
	int (*ask)(int *), ordinal = -1;

	*(void **)&ask = mc_load_relaxed(&functions[copy->index]);
	if (!ask) {
		*(void **)&ask = resolve_in(copy, "hipGetDevice");
		mc_store_relaxed(&functions[copy->index], (void *)ask);
	}
	return ask && ask(&ordinal) == 0 ? region_of(copy, ordinal) : -1;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

#define ALLOCATE(copy, name, ptr, size, ...) \
	if (!(ptr) || !(size)) \
		return REAL(copy, name)(__VA_ARGS__); \
	PLAIN_ALLOCATE(current_region(copy), size, HIP_OUT_OF_MEMORY, REAL(copy, name)(__VA_ARGS__), ptr)

int on_hipMalloc(struct copy *copy, void **ptr, size_t size)
{
	ALLOCATE(copy, hipMalloc, ptr, size, ptr, size)
}

int on_hipExtMallocWithFlags(struct copy *copy, void **ptr, size_t size, unsigned flags)
{
	ALLOCATE(copy, hipExtMallocWithFlags, ptr, size, ptr, size, flags)
}

int on_hipMallocManaged(struct copy *copy, void **ptr, size_t size, unsigned flags)
{
	ALLOCATE(copy, hipMallocManaged, ptr, size, ptr, size, flags)
}

static uint64_t rows(uint64_t pitch, uint64_t height)
{
	uint64_t bytes;

	return __builtin_mul_overflow(pitch, height, &bytes) ? UINT64_MAX / 2 : bytes;
}

/* Only the driver knows how long rows are. */
static int settle_rows(struct copy *copy, struct plain *p, int result, void **ptr, uint64_t bytes)
{
	if (plain_settle(p, result, result ? 0 : (uint64_t)(uintptr_t)*ptr, bytes) || result)
		return result;
	if (REAL(copy, hipFree))
		(void)REAL(copy, hipFree)(*ptr);
	*ptr = NULL;
	return HIP_OUT_OF_MEMORY;
}

#define ALLOCATE_ROWS(copy, name, ptr, pitch, width, height, ...) \
	struct plain p; \
	int result; \
	if (!(ptr) || !(pitch) || !(width) || !(height)) \
		return REAL(copy, name)(__VA_ARGS__); \
	if (!plain_reserve(&p, current_region(copy), rows(width, height))) \
		return HIP_OUT_OF_MEMORY; \
	DEVICE_CALL(result, REAL(copy, name)(__VA_ARGS__), \
		    result == HIP_OUT_OF_MEMORY && device_full(&p.charge, p.bytes)); \
	return settle_rows(copy, &p, result, ptr, result ? 0 : rows(*(pitch), height));

int on_hipMallocPitch(struct copy *copy, void **ptr, size_t *pitch, size_t width, size_t height)
{
	ALLOCATE_ROWS(copy, hipMallocPitch, ptr, pitch, width, height, ptr, pitch, width, height)
}

int on_hipMemAllocPitch(struct copy *copy, void **ptr, size_t *pitch, size_t width, size_t height, unsigned element)
{
	ALLOCATE_ROWS(copy, hipMemAllocPitch, ptr, pitch, width, height, ptr, pitch, width, height, element)
}

int on_hipFree(struct copy *copy, void *ptr)
{
	PLAIN_FREE(ptr, REAL(copy, hipFree)(ptr))
}

int on_hipFreeAsync(struct copy *copy, void *ptr, cu_handle stream)
{
	PLAIN_FREE(ptr, REAL(copy, hipFreeAsync)(ptr, stream))
}

static bool is_in(const struct ledger_entry *e, void *resource)
{
	return e->resource == *(int *)resource;
}

static void ended(const struct ledger_entry *e, void *resource)
{
	(void)resource;
	device_charge_return(&e->paid);
}

int on_hipDeviceReset(struct copy *copy)
{
	int resource = current_region(copy), result = REAL(copy, hipDeviceReset)();

	if (!result && resource >= 0)
		walk_take(LEDGER_POINTER, is_in, ended, &resource);
	return result;
}

/* ---- views, lookups -------------------------------------------------------------------------------------- */

int on_hipMemGetInfo(struct copy *copy, size_t *available, size_t *total)
{
	int result = REAL(copy, hipMemGetInfo)(available, total);
	uint64_t left, all;

	if (result || !available || !total)
		return result;
	left = *available;
	all = *total;
	plain_view(current_region(copy), &left, &all);
	*available = left;
	*total = all;
	return result;
}

int on_hipDeviceTotalMem(struct copy *copy, size_t *total, int device)
{
	int result = REAL(copy, hipDeviceTotalMem)(total, device);
	uint64_t left = 0, all;

	if (result || !total)
		return result;
	all = *total;
	plain_view(region_of(copy, device), &left, &all);
	*total = all;
	return result;
}

int on_hipGetProcAddress(struct copy *copy, const char *symbol, void **function, int version, uint64_t flags,
			 int *status)
{
	int result = REAL(copy, hipGetProcAddress)(symbol, function, version, flags, status);

	if (!result && function && *function)
		*function = resolve_stand_in_of(copy, *function);
	return result;
}
