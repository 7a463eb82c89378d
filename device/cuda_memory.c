/* SPDX-License-Identifier: MIT */
/* Plain, pitched and managed memory. */
#include "device/cuda_holders.h"

static void keep(uint64_t ptr, int resource, const struct device_paid *paid)
{
	const struct ledger_entry e = {
		.key = ptr, .kind = LEDGER_POINTER, .resource = (int8_t)resource, .paid = *paid
	};

	if (paid->units)
		(void)ledger_put(&e);
}

/* The size is what was asked for, whatever the driver rounds it up to. */
#define ALLOCATE(copy, name, ptr, bytes, ...) \
	struct device_charge charge; \
	struct device_paid paid; \
	int resource; \
	int result; \
	if (!(ptr) || !(bytes)) \
		return REAL(copy, name)(__VA_ARGS__); \
	resource = cuda_current_region(copy); \
	if (!device_charge_reserve(&charge, resource, bytes)) \
		return cuda_refused(copy); \
	CUDA_CALL(result, REAL(copy, name)(__VA_ARGS__), device_full(&charge, bytes)); \
	if (result) { \
		device_charge_cancel(&charge); \
		return result; \
	} \
	device_charge_commit(&charge, bytes, &paid); \
	keep(*(ptr), resource, &paid); \
	return result;

int on_cuMemAlloc(struct copy *copy, cu_ptr_v1 *ptr, unsigned size)
{
	ALLOCATE(copy, cuMemAlloc, ptr, size, ptr, size)
}

int on_cuMemAlloc_v2(struct copy *copy, cu_ptr *ptr, size_t size)
{
	ALLOCATE(copy, cuMemAlloc_v2, ptr, size, ptr, size)
}

int on_cuMemAllocManaged(struct copy *copy, cu_ptr *ptr, size_t size, unsigned flags)
{
	ALLOCATE(copy, cuMemAllocManaged, ptr, size, ptr, size, flags)
}

/* ---- rows: only the driver knows how long they are ------------------------------------------------------- */

#define PITCH_LEAST 512u

static uint64_t rows(uint64_t pitch, uint64_t height)
{
	uint64_t bytes;

	return __builtin_mul_overflow(pitch, height, &bytes) ? UINT64_MAX / 2 : bytes;
}

static uint64_t least_pitch(uint64_t width)
{
	return (width + PITCH_LEAST - 1) / PITCH_LEAST * PITCH_LEAST;
}

/* False: what the driver has taken beyond what was reserved is refused. */
static bool keep_rows(struct device_charge *charge, int resource, uint64_t ptr, uint64_t reserved, uint64_t bytes)
{
	struct device_paid paid;

	if (bytes > reserved && !device_charge_reserve_more(charge, bytes - reserved))
		return false;
	device_charge_commit(charge, bytes, &paid);
	keep(ptr, resource, &paid);
	return true;
}

#define ALLOCATE_ROWS(copy, name, give, ptr, pitch, width, height, element) \
	uint64_t guess = rows(least_pitch(width), height); \
	struct device_charge charge; \
	int resource, result; \
	if (!(ptr) || !(pitch) || !(width) || !(height)) \
		return REAL(copy, name)(ptr, pitch, width, height, element); \
	resource = cuda_current_region(copy); \
	if (!device_charge_reserve(&charge, resource, guess)) \
		return cuda_refused(copy); \
	CUDA_CALL(result, REAL(copy, name)(ptr, pitch, width, height, element), device_full(&charge, guess)); \
	if (result) { \
		device_charge_cancel(&charge); \
		return result; \
	} \
	if (keep_rows(&charge, resource, *(ptr), guess, rows(*(pitch), height))) \
		return result; \
	device_charge_cancel(&charge); \
	(void)REAL(copy, give)(*(ptr)); \
	*(ptr) = 0; \
	return CU_OUT_OF_MEMORY;

int on_cuMemAllocPitch(struct copy *copy, cu_ptr_v1 *ptr, unsigned *pitch, unsigned width, unsigned height,
		       unsigned element)
{
	ALLOCATE_ROWS(copy, cuMemAllocPitch, cuMemFree, ptr, pitch, width, height, element)
}

int on_cuMemAllocPitch_v2(struct copy *copy, cu_ptr *ptr, size_t *pitch, size_t width, size_t height, unsigned element)
{
	ALLOCATE_ROWS(copy, cuMemAllocPitch_v2, cuMemFree_v2, ptr, pitch, width, height, element)
}

/* ---- giving back ----------------------------------------------------------------------------------------- */

/* Taken out before: afterwards the address may be somebody else's. What is not in the ledger is of
 * a pool, or foreign: forwarded. */
#define GIVE(copy, name, ptr) \
	struct ledger_entry e; \
	int result; \
	if (__builtin_expect(!ledger_take(LEDGER_POINTER, ptr, &e), 0)) { \
		bool known = cuda_address_take(ptr, &e); \
		result = cuda_address_freed(known ? &e : NULL, REAL(copy, name)(ptr)); \
		if (!result && ledger_count(LEDGER_POOL)) { \
			cuda_pools_expect_change(); \
			cuda_pools_sample(copy); \
		} \
		return result; \
	} \
	result = REAL(copy, name)(ptr); \
	if (result) \
		(void)ledger_put(&e); \
	else \
		cuda_gave_back(&e); \
	return result;

int on_cuMemFree(struct copy *copy, cu_ptr_v1 ptr)
{
	GIVE(copy, cuMemFree, ptr)
}

int on_cuMemFree_v2(struct copy *copy, cu_ptr ptr)
{
	GIVE(copy, cuMemFree_v2, ptr)
}
