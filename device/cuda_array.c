/* SPDX-License-Identifier: MIT */
/* Arrays and mipmaps: guessed before they are made, charged by the size that the driver then says.
 */
#include "device/cuda_holders.h"

struct shape {
	uint64_t width, height, depth;
	int format;
	unsigned channels, flags;
};

/* Bits of an element of one channel; formats that we do not know are taken for bytes, and corrected
 * afterwards. */
static unsigned bits_of(int format)
{
	switch (format) {
	case 0x02: /* unsigned and signed 16, half */
	case 0x09:
	case 0x10:
		return 16;
	case 0x03: /* unsigned and signed 32, float */
	case 0x0a:
	case 0x20:
		return 32;
	default:
		return 8;
	}
}

static uint64_t at_least_one(uint64_t n)
{
	return n ? n : 1;
}

static uint64_t guess(const struct shape *s, unsigned levels)
{
	uint64_t elements, bytes;

	if (s->flags & (CU_ARRAY_SPARSE | CU_ARRAY_DEFERRED))
		return 0;
	if (__builtin_mul_overflow(at_least_one(s->width), at_least_one(s->height), &elements) ||
	    __builtin_mul_overflow(elements, at_least_one(s->depth), &elements) ||
	    __builtin_mul_overflow(elements, at_least_one(s->channels) * bits_of(s->format) / 8, &bytes))
		return UINT64_MAX / 2;
	return levels > 1 ? bytes + bytes / 3 : bytes;
}

typedef int ask_requirements(struct cu_array_requirements *, cu_handle, cu_device);

/* Sparse and deferred ones have nothing of their own. */
static uint64_t true_size(struct copy *copy, ask_requirements *ask, cu_handle array, const struct shape *s,
			  uint64_t guessed)
{
	struct cu_array_requirements r = { 0 };
	cu_device device;

	if (s->flags & (CU_ARRAY_SPARSE | CU_ARRAY_DEFERRED))
		return 0;
	if (!ask || cuda_current_device(copy, &device) || ask(&r, array, device))
		return guessed;
	return r.size;
}

/* One that has nothing of its own is kept for what is mapped into it. */
static bool keep(struct copy *copy, struct device_charge *charge, int resource, cu_handle array, uint64_t guessed,
		 uint64_t bytes)
{
	struct ledger_entry e = { .key = (uintptr_t)array, .kind = LEDGER_ARRAY, .resource = (int8_t)resource };

	if (bytes > guessed && !device_charge_reserve_more(charge, bytes - guessed))
		return false;
	e.handles = bytes == 0 && charge->member;
	device_charge_commit(charge, bytes, &e.paid);
	e.of = (uintptr_t)cuda_owner(copy);
	if (e.paid.units || e.handles)
		(void)ledger_put(&e);
	return true;
}

#define MAKE(copy, name, destroy, ask, array, like, levels, form, ...) \
	struct device_charge charge; \
	int resource, result; \
	uint64_t guessed; \
	if (!(array) || !(like)) \
		return REAL(copy, name)(__VA_ARGS__); \
	const struct shape s = form; \
	if (s.width == 0 || s.channels == 0 || (levels) == 0) \
		return REAL(copy, name)(__VA_ARGS__); \
	guessed = guess(&s, levels); \
	resource = cuda_current_region(copy); \
	if (!device_charge_reserve(&charge, resource, guessed)) \
		return cuda_refused(copy); \
	CUDA_CALL(result, REAL(copy, name)(__VA_ARGS__), device_full(&charge, guessed)); \
	if (result) { \
		device_charge_cancel(&charge); \
		return result; \
	} \
	if (keep(copy, &charge, resource, *(array), guessed, true_size(copy, ask, *(array), &s, guessed))) \
		return result; \
	device_charge_cancel(&charge); \
	(void)REAL(copy, destroy)(*(array)); \
	*(array) = NULL; \
	return CU_OUT_OF_MEMORY;

#define FLAT(like) \
	{ \
		(like)->width, (like)->height, 0, (like)->format, (like)->channels, 0 \
	}
#define DEEP(like) \
	{ \
		(like)->width, (like)->height, (like)->depth, (like)->format, (like)->channels, (like)->flags \
	}
#define ARRAYS cuda_devices(copy)->array_requirements
#define MIPMAPS cuda_devices(copy)->mipmap_requirements

int on_cuArrayCreate(struct copy *copy, cu_handle *array, const struct cu_array_v1 *like)
{
	MAKE(copy, cuArrayCreate, cuArrayDestroy, ARRAYS, array, like, 1, FLAT(like), array, like)
}

int on_cuArrayCreate_v2(struct copy *copy, cu_handle *array, const struct cu_array_v2 *like)
{
	MAKE(copy, cuArrayCreate_v2, cuArrayDestroy, ARRAYS, array, like, 1, FLAT(like), array, like)
}

int on_cuArray3DCreate(struct copy *copy, cu_handle *array, const struct cu_array3d_v1 *like)
{
	MAKE(copy, cuArray3DCreate, cuArrayDestroy, ARRAYS, array, like, 1, DEEP(like), array, like)
}

int on_cuArray3DCreate_v2(struct copy *copy, cu_handle *array, const struct cu_array3d_v2 *like)
{
	MAKE(copy, cuArray3DCreate_v2, cuArrayDestroy, ARRAYS, array, like, 1, DEEP(like), array, like)
}

int on_cuMipmappedArrayCreate(struct copy *copy, cu_handle *array, const struct cu_array3d_v2 *like, unsigned levels)
{
	MAKE(copy, cuMipmappedArrayCreate, cuMipmappedArrayDestroy, MIPMAPS, array, like, levels, DEEP(like), array,
	     like, levels)
}

void cuda_array_ended(const struct ledger_entry *e)
{
	if (e->kind == LEDGER_VIEW)
		heirs_leave(e->of);
	else if (e->handles)
		cuda_unbind_all(e->key);
	else
		device_charge_return(&e->paid);
}

static int destroy(int (*real)(cu_handle), cu_handle array)
{
	struct ledger_entry e;
	bool known = ledger_take(LEDGER_ARRAY, (uintptr_t)array, &e) ||
		     (ledger_count(LEDGER_VIEW) && ledger_take(LEDGER_VIEW, (uintptr_t)array, &e));
	int result = real(array);

	if (known && result)
		(void)ledger_put(&e);
	else if (known)
		cuda_array_ended(&e);
	return result;
}

int on_cuArrayDestroy(struct copy *copy, cu_handle array)
{
	return destroy(REAL(copy, cuArrayDestroy), array);
}

int on_cuMipmappedArrayDestroy(struct copy *copy, cu_handle array)
{
	return destroy(REAL(copy, cuMipmappedArrayDestroy), array);
}
