/* SPDX-License-Identifier: MIT */
/* The fake driver's plain, pitched and managed memory, arrays, pinned memory and IPC. */
#include "tests/device/fake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUCKETS 65536u

static struct fake_block *bucket[BUCKETS];
static uint64_t next_address = 0x700000000000ull;
static uint64_t small[FAKE_DEVICES_MAX]; /* bytes in blocks that small allocations share */

/* ---- addresses ------------------------------------------------------------------------------------------- */

static struct {
	uint64_t ptr, size;
} freed[64];

static uint64_t span(uint64_t size)
{
	return size < FAKE_BLOCK ? (size + 511) / 512 * 512 : (size + FAKE_BLOCK - 1) / FAKE_BLOCK * FAKE_BLOCK;
}

/* What was freed last is handed out first, as by real drivers. */
uint64_t fake_new_address(uint64_t size)
{
	unsigned i = (unsigned)(span(size) >> 9) % 64;
	uint64_t ptr = next_address;

	if (freed[i].ptr && freed[i].size == span(size)) {
		ptr = freed[i].ptr;
		freed[i].ptr = 0;
		return ptr;
	}
	if (span(size) >= FAKE_BLOCK)
		ptr = (ptr + FAKE_BLOCK - 1) / FAKE_BLOCK * FAKE_BLOCK;
	next_address = ptr + span(size);
	return ptr;
}

static struct fake_block **chain(uint64_t ptr)
{
	return &bucket[(ptr >> 9) * 0x9e3779b97f4a7c15ull >> 48];
}

struct fake_block *fake_block_add(uint64_t ptr, uint64_t size, int device, enum fake_kind kind)
{
	struct fake_block *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	*b = (struct fake_block){
		.next = *chain(ptr), .ptr = ptr, .size = size, .device = device, .kind = kind, .context = fake_current()
	};
	return *chain(ptr) = b;
}

struct fake_block *fake_block_find(uint64_t ptr)
{
	struct fake_block *b = *chain(ptr);

	while (b && b->ptr != ptr)
		b = b->next;
	return b;
}

void fake_block_remove(struct fake_block *b)
{
	struct fake_block **at = chain(b->ptr);
	unsigned i = (unsigned)(span(b->size) >> 9) % 64;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	freed[i].ptr = b->ptr;
	freed[i].size = span(b->size);
	free(b);
}

uint64_t fake_block_lower(uint64_t ptr)
{
	uint64_t to = (ptr & 0x3fffffff) | 0x40000000;
	struct fake_block *b, was;

	pthread_mutex_lock(&fake_lock);
	was = *fake_block_find(ptr);
	fake_block_remove(fake_block_find(ptr));
	b = fake_block_add(to, was.size, was.device, was.kind);
	b->context = was.context;
	pthread_mutex_unlock(&fake_lock);
	return to;
}

/* ---- taking from the device ------------------------------------------------------------------------------ */

static uint64_t blocks(uint64_t bytes)
{
	return (bytes + FAKE_BLOCK - 1) / FAKE_BLOCK * FAKE_BLOCK;
}

static bool take(int device, uint64_t size)
{
	if (size >= FAKE_BLOCK / 2)
		return fake_take(fake_visible(device), blocks(size));
	if (!fake_take(fake_visible(device), blocks(small[device] + span(size)) - blocks(small[device])))
		return false;
	small[device] += span(size);
	return true;
}

static void give(int device, uint64_t size)
{
	if (size >= FAKE_BLOCK / 2) {
		fake_give(fake_visible(device), blocks(size));
		return;
	}
	fake_give(fake_visible(device), blocks(small[device]) - blocks(small[device] - span(size)));
	small[device] -= span(size);
}

static int allocate(uint64_t *ptr, uint64_t size, enum fake_kind kind)
{
	struct fake_context *c = fake_current();
	int result = OUT_OF_MEMORY;

	if (!ptr || !size)
		return INVALID_VALUE;
	if (!c)
		return INVALID_CONTEXT;
	if (size > fake_settings.memory)
		return OUT_OF_MEMORY;
	pthread_mutex_lock(&fake_lock);
	if (take(c->device, size)) {
		*ptr = fake_new_address(size);
		(void)fake_block_add(*ptr, size, c->device, kind);
		result = OK;
	}
	pthread_mutex_unlock(&fake_lock);
	return result;
}

static void end(struct fake_block *b)
{
	if (b->external)
		fake_external_let(b->external);
	else if (b->serial)
		fake_close(b->serial);
	else if (b->kind != KIND_IPC && b->kind != KIND_IMPORTED)
		give(b->device, b->size);
	fake_block_remove(b);
}

static int release(uint64_t ptr)
{
	struct fake_block *b;
	int result = OK;

	if (!ptr)
		return OK;
	pthread_mutex_lock(&fake_lock);
	b = fake_block_find(ptr);
	if (!b || (b->kind != KIND_PLAIN && b->kind != KIND_MANAGED && b->kind != KIND_POOL &&
		   b->kind != KIND_EXTERNAL && b->kind != KIND_IMPORTED)) {
		result = INVALID_VALUE;
	} else if (b->kind == KIND_POOL || b->kind == KIND_IMPORTED) {
		result = fake_pool_free(b);
	} else {
		end(b);
	}
	pthread_mutex_unlock(&fake_lock);
	return result;
}

SHOW int cuMemAlloc_v2(uint64_t *ptr, size_t size);
SHOW int cuMemAlloc_v2(uint64_t *ptr, size_t size)
{
	ENTER(cuMemAlloc_v2)
	LEAVE(cuMemAlloc_v2, allocate(ptr, size, KIND_PLAIN));
}

SHOW int cuMemAlloc(uint32_t *ptr, unsigned size);
SHOW int cuMemAlloc(uint32_t *ptr, unsigned size)
{
	uint64_t wide = 0;
	int result;

	ENTER(cuMemAlloc)
	result = ptr ? allocate(&wide, size, KIND_PLAIN) : INVALID_VALUE;
	if (!result) {
		wide = fake_block_lower(wide);
		*ptr = (uint32_t)wide;
	}
	LEAVE(cuMemAlloc, result);
}

SHOW int cuMemAllocManaged(uint64_t *ptr, size_t size, unsigned flags);
SHOW int cuMemAllocManaged(uint64_t *ptr, size_t size, unsigned flags)
{
	ENTER(cuMemAllocManaged)
	if (flags != 1 && flags != 2)
		return INVALID_VALUE;
	LEAVE(cuMemAllocManaged, allocate(ptr, size, KIND_MANAGED));
}

SHOW int cuMemAllocPitch_v2(uint64_t *ptr, size_t *pitch, size_t width, size_t height, unsigned element);
SHOW int cuMemAllocPitch_v2(uint64_t *ptr, size_t *pitch, size_t width, size_t height, unsigned element)
{
	ENTER(cuMemAllocPitch_v2)
	if (!ptr || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
		return INVALID_VALUE;
	*pitch = (width + 511) / 512 * 512;
	LEAVE(cuMemAllocPitch_v2, allocate(ptr, *pitch * height, KIND_PLAIN));
}

SHOW int cuMemFree_v2(uint64_t ptr);
SHOW int cuMemFree_v2(uint64_t ptr)
{
	ENTER(cuMemFree_v2)
	LEAVE(cuMemFree_v2, release(ptr));
}

SHOW int cuMemFree(uint32_t ptr);
SHOW int cuMemFree(uint32_t ptr)
{
	ENTER(cuMemFree)
	LEAVE(cuMemFree, release(ptr));
}

SHOW int cuMemGetInfo_v2(size_t *available, size_t *total);
SHOW int cuMemGetInfo_v2(size_t *available, size_t *total)
{
	ENTER(cuMemGetInfo_v2)
	if (!fake_current())
		return INVALID_CONTEXT;
	if (available)
		*available =
			fake_settings.memory - atomic_load(&fake_shared->used[fake_visible(fake_current()->device)]);
	if (total)
		*total = fake_settings.memory;
	LEAVE(cuMemGetInfo_v2, OK);
}

SHOW int cuPointerGetAttribute(void *data, int attribute, uint64_t ptr);
SHOW int cuPointerGetAttribute(void *data, int attribute, uint64_t ptr)
{
	struct fake_block *b;
	int result = OK;

	ENTER(cuPointerGetAttribute)
	if (!data)
		return INVALID_VALUE;
	pthread_mutex_lock(&fake_lock);
	b = fake_block_find(ptr);
	if (!b)
		result = INVALID_VALUE;
	else if (attribute == 1)
		*(void **)data = b->context;
	else if (attribute == 2)
		*(unsigned *)data = b->device < 0 ? 1 : 2;
	else if (attribute == 8)
		*(unsigned *)data = b->kind == KIND_MANAGED;
	else if (attribute == 9)
		*(int *)data = b->device;
	else if (attribute == 17)
		*(void **)data = b->pool;
	else
		result = NOT_SUPPORTED;
	pthread_mutex_unlock(&fake_lock);
	LEAVE(cuPointerGetAttribute, result);
}

/* ---- arrays ---------------------------------------------------------------------------------------------- */

#define TILE 65536u
static struct fake_array *arrays;

struct description2 {
	size_t width, height;
	int format;
	unsigned channels;
};

struct description3 {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

static uint64_t element(int format, unsigned channels)
{
	return channels * (format == 0x20 || format == 0x03 || format == 0x0a ? 4
			   : format == 0x01 || format == 0x08		      ? 1
									      : 2);
}

static uint64_t tiles(uint64_t bytes)
{
	return (bytes + TILE - 1) / TILE * TILE;
}

static uint64_t one(uint64_t n)
{
	return n ? n : 1;
}

static uint64_t array_size(const struct description3 *d, unsigned levels)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < levels && !(d->flags & 0xc0); i++)
		sum += tiles(one(d->width >> i) * one(d->height >> i) * one(d->depth >> i) *
			     element(d->format, d->channels));
	return sum;
}

struct fake_array *fake_array_add(struct fake_context *context)
{
	struct fake_array *a = calloc(1, sizeof(*a));

	if (!a)
		abort();
	*a = (struct fake_array){ .magic = ARRAY_MAGIC, .next = arrays, .context = context };
	return arrays = a;
}

static int make_array(struct fake_array **ret, const struct description3 *d, unsigned levels, bool is_mipmap)
{
	struct fake_context *c = fake_current();
	struct fake_array *a;

	if (!c)
		return INVALID_CONTEXT;
	if (!d->width || !levels || (d->channels != 1 && d->channels != 2 && d->channels != 4))
		return INVALID_VALUE;
	if (!fake_take(fake_visible(c->device), array_size(d, levels)))
		return OUT_OF_MEMORY;
	*ret = a = fake_array_add(c);
	a->size = array_size(d, levels);
	a->element = element(d->format, d->channels);
	a->width = one(d->width);
	a->height = one(d->height);
	a->depth = one(d->depth);
	a->levels = levels;
	a->flags = d->flags;
	a->is_mipmap = is_mipmap;
	return OK;
}

static void end_array(struct fake_array *a)
{
	struct fake_array **at = &arrays;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	fake_sparse_end(a);
	if (a->external)
		fake_external_let(a->external);
	else
		fake_give(fake_visible(a->context->device), a->size);
	a->magic = 0;
	free(a);
}

static bool is_array(const struct fake_array *of)
{
	const struct fake_array *a = arrays;

	while (a && a != of)
		a = a->next;
	return a;
}

SHOW int cuArrayCreate_v2(struct fake_array **ret, const struct description2 *d);
SHOW int cuArrayCreate_v2(struct fake_array **ret, const struct description2 *d)
{
	ENTER(cuArrayCreate_v2)
	if (!ret || !d)
		return INVALID_VALUE;
	const struct description3 deep = { d->width, d->height, 0, d->format, d->channels, 0 };
	LEAVE(cuArrayCreate_v2, make_array(ret, &deep, 1, false));
}

SHOW int cuArray3DCreate_v2(struct fake_array **ret, const struct description3 *d);
SHOW int cuArray3DCreate_v2(struct fake_array **ret, const struct description3 *d)
{
	ENTER(cuArray3DCreate_v2)
	LEAVE(cuArray3DCreate_v2, ret && d ? make_array(ret, d, 1, false) : INVALID_VALUE);
}

SHOW int cuMipmappedArrayCreate(struct fake_array **ret, const struct description3 *d, unsigned levels);
SHOW int cuMipmappedArrayCreate(struct fake_array **ret, const struct description3 *d, unsigned levels)
{
	ENTER(cuMipmappedArrayCreate)
	LEAVE(cuMipmappedArrayCreate, ret && d ? make_array(ret, d, levels, true) : INVALID_VALUE);
}

SHOW int cuArrayDestroy(struct fake_array *a);
SHOW int cuArrayDestroy(struct fake_array *a)
{
	ENTER(cuArrayDestroy)
	if (!is_array(a))
		return INVALID_HANDLE;
	end_array(a);
	LEAVE(cuArrayDestroy, OK);
}

SHOW int cuMipmappedArrayDestroy(struct fake_array *a);
SHOW int cuMipmappedArrayDestroy(struct fake_array *a)
{
	ENTER(cuMipmappedArrayDestroy)
	if (!is_array(a))
		return INVALID_HANDLE;
	end_array(a);
	LEAVE(cuMipmappedArrayDestroy, OK);
}

struct requirements {
	size_t size, alignment;
	unsigned reserved[4];
};

SHOW int cuArrayGetMemoryRequirements(struct requirements *r, struct fake_array *a, int device);
SHOW int cuArrayGetMemoryRequirements(struct requirements *r, struct fake_array *a, int device)
{
	ENTER(cuArrayGetMemoryRequirements)
	(void)device;
	*r = (struct requirements){ .size = a->size, .alignment = TILE };
	LEAVE(cuArrayGetMemoryRequirements, OK);
}

SHOW int cuMipmappedArrayGetMemoryRequirements(struct requirements *r, struct fake_array *a, int device);
SHOW int cuMipmappedArrayGetMemoryRequirements(struct requirements *r, struct fake_array *a, int device)
{
	ENTER(cuMipmappedArrayGetMemoryRequirements)
	(void)device;
	*r = (struct requirements){ .size = a->size, .alignment = TILE };
	LEAVE(cuMipmappedArrayGetMemoryRequirements, OK);
}

/* ---- with a context goes what was allocated in it -------------------------------------------------------- */

void fake_memory_end(struct fake_context *context)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct fake_block *b = bucket[i], *next; b; b = next) {
			next = b->next;
			if (b->context == context && (b->kind == KIND_PLAIN || b->kind == KIND_MANAGED ||
						      b->kind == KIND_IPC || b->kind == KIND_EXTERNAL))
				end(b);
		}
	for (struct fake_array *a = arrays, *next; a; a = next) {
		next = a->next;
		if (a->context == context)
			end_array(a);
	}
	fake_external_end(context);
}

/* ---- pinned host memory ---------------------------------------------------------------------------------- */

static struct {
	void *ptr;
	size_t size;
	bool is_registered;
} pinned[1024];

static int pin(void *ptr, size_t size, bool is_registered)
{
	for (unsigned i = 0; i < 1024; i++)
		if (!pinned[i].ptr) {
			pinned[i].ptr = ptr;
			pinned[i].size = size;
			pinned[i].is_registered = is_registered;
			return OK;
		}
	return OUT_OF_MEMORY;
}

static int unpin(void *ptr, bool is_registered)
{
	for (unsigned i = 0; ptr && i < 1024; i++)
		if (pinned[i].ptr == ptr && pinned[i].is_registered == is_registered) {
			if (!is_registered)
				(void)munmap(ptr, pinned[i].size);
			pinned[i].ptr = NULL;
			return OK;
		}
	return INVALID_VALUE;
}

static int pin_new(void **ptr, size_t size)
{
	void *at;

	if (!ptr || !size)
		return INVALID_VALUE;
	if (!fake_current())
		return INVALID_CONTEXT;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return OUT_OF_MEMORY;
	memset(at, 1, size);
	*ptr = at;
	return pin(at, size, false);
}

SHOW int cuMemHostAlloc(void **ptr, size_t size, unsigned flags);
SHOW int cuMemHostAlloc(void **ptr, size_t size, unsigned flags)
{
	ENTER(cuMemHostAlloc)
	(void)flags;
	LEAVE(cuMemHostAlloc, pin_new(ptr, size));
}

SHOW int cuMemAllocHost_v2(void **ptr, size_t size);
SHOW int cuMemAllocHost_v2(void **ptr, size_t size)
{
	ENTER(cuMemAllocHost_v2)
	LEAVE(cuMemAllocHost_v2, pin_new(ptr, size));
}

SHOW int cuMemFreeHost(void *ptr);
SHOW int cuMemFreeHost(void *ptr)
{
	ENTER(cuMemFreeHost)
	LEAVE(cuMemFreeHost, unpin(ptr, false));
}

SHOW int cuMemHostRegister_v2(void *ptr, size_t size, unsigned flags);
SHOW int cuMemHostRegister_v2(void *ptr, size_t size, unsigned flags)
{
	ENTER(cuMemHostRegister_v2)
	(void)flags;
	LEAVE(cuMemHostRegister_v2, ptr && size ? pin(ptr, size, true) : INVALID_VALUE);
}

SHOW int cuMemHostUnregister(void *ptr);
SHOW int cuMemHostUnregister(void *ptr)
{
	ENTER(cuMemHostUnregister)
	LEAVE(cuMemHostUnregister, unpin(ptr, true));
}

/* ---- IPC ------------------------------------------------------------------------------------------------- */

struct ipc {
	int32_t pid, device;
	uint64_t ptr, size, serial;
	char rest[32];
};

_Static_assert(sizeof(struct ipc) == 64, "the driver's size");

SHOW int cuIpcGetMemHandle(struct ipc *handle, uint64_t ptr);
SHOW int cuIpcGetMemHandle(struct ipc *handle, uint64_t ptr)
{
	struct fake_block *b;

	ENTER(cuIpcGetMemHandle)
	b = fake_block_find(ptr);
	if (!handle || !b || b->kind != KIND_PLAIN)
		return INVALID_VALUE;
	if (!b->serial && b->size >= FAKE_BLOCK / 2)
		b->serial = fake_lend(fake_visible(b->device), blocks(b->size));
	*handle =
		(struct ipc){ .pid = getpid(), .device = b->device, .ptr = ptr, .size = b->size, .serial = b->serial };
	LEAVE(cuIpcGetMemHandle, OK);
}

SHOW int cuIpcOpenMemHandle_v2(uint64_t *ptr, struct ipc handle, unsigned flags);
SHOW int cuIpcOpenMemHandle_v2(uint64_t *ptr, struct ipc handle, unsigned flags)
{
	ENTER(cuIpcOpenMemHandle_v2)
	(void)flags;
	if (!ptr)
		return INVALID_VALUE;
	if (handle.pid == getpid())
		return INVALID_CONTEXT;
	pthread_mutex_lock(&fake_lock);
	*ptr = fake_new_address(handle.size);
	fake_block_add(*ptr, handle.size, handle.device, KIND_IPC)->serial = handle.serial;
	if (handle.serial)
		fake_open(handle.serial, fake_visible(handle.device), blocks(handle.size));
	pthread_mutex_unlock(&fake_lock);
	LEAVE(cuIpcOpenMemHandle_v2, OK);
}

SHOW int cuIpcCloseMemHandle(uint64_t ptr);
SHOW int cuIpcCloseMemHandle(uint64_t ptr)
{
	struct fake_block *b;

	ENTER(cuIpcCloseMemHandle)
	b = fake_block_find(ptr);
	if (!b || b->kind != KIND_IPC)
		return INVALID_VALUE;
	end(b);
	LEAVE(cuIpcCloseMemHandle, OK);
}
