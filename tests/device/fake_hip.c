/* SPDX-License-Identifier: MIT */
/* HIP's library without a device: versions of its names as the real one's, and like that it calls
 * what it exports by way of the dynamic linker, so that its own calls meet who stands in front of
 * it. What it makes is a number that all arguments are part of.
 *
 * FAKE_HIP_MEMORY=BYTES    that a process gets of plain memory (8 GiB)
 * FAKE_HIP_KEEPS=1         the first that is to be given back is not
 */
#include "tests/device/fake.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { NO_FUNCTION = 500, BROKEN = 999 };

static size_t capacity = (size_t)8 << 30;
static size_t in_use;
static bool keeps;
static struct {
	void *ptr;
	size_t size;
} blocks[1024];

struct extent {
	size_t width, height, depth;
};

/* The same for the same calls, in any process; never the same twice. */
static int make(void **ret, const uint64_t *of, size_t n)
{
	static uint64_t serial;
	uint64_t hash = 14695981039346656037u ^ ++serial;

	if (!ret)
		return INVALID_VALUE;
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ of[i]) * 1099511628211u;
	*ret = (void *)(uintptr_t)(hash >> 16 << 4);
	return OK;
}

__attribute__((constructor)) static void begin(void)
{
	const char *memory = getenv("FAKE_HIP_MEMORY");

	if (memory)
		capacity = strtoull(memory, NULL, 0);
	keeps = getenv("FAKE_HIP_KEEPS") != NULL;
}

static int take(int result, void **ret, size_t size)
{
	if (result || size == 0)
		return result ? result : INVALID_VALUE;
	if (size > capacity || in_use + size > capacity) {
		*ret = NULL;
		return OUT_OF_MEMORY;
	}
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		if (!blocks[i].ptr) {
			blocks[i].ptr = *ret;
			blocks[i].size = size;
			in_use += size;
			return OK;
		}
	return OUT_OF_MEMORY;
}

static int give(void *ptr)
{
	bool is_kept = keeps;

	keeps = false;
	if (is_kept)
		return BROKEN;
	for (size_t i = 0; ptr && i < sizeof(blocks) / sizeof(blocks[0]); i++)
		if (blocks[i].ptr == ptr) {
			in_use -= blocks[i].size;
			blocks[i].ptr = NULL;
			return OK;
		}
	return INVALID_VALUE;
}

static int reset(void)
{
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		if (blocks[i].ptr)
			(void)give(blocks[i].ptr);
	return OK;
}

#define MAKE(ret, ...) \
	make((void **)(ret), (const uint64_t[]){ __LINE__, __VA_ARGS__ }, \
	     sizeof((const uint64_t[]){ __LINE__, __VA_ARGS__ }) / sizeof(uint64_t))
#define OF(pointer) ((uint64_t)(uintptr_t)(pointer))

#define HIP(name, parameters, result) \
	SHOW int name parameters; \
	int name parameters \
	{ \
		return result; \
	}

HIP(hipMalloc, (void **ptr, size_t size), take(MAKE(ptr, size), ptr, size))
HIP(hipFree, (void *ptr), give(ptr))
HIP(hipFreeAsync, (void *ptr, void *stream), stream ? hipFree(ptr) : INVALID_VALUE)
HIP(hipExtMallocWithFlags, (void **ptr, size_t size, unsigned flags), flags == 9 ? INVALID_VALUE : hipMalloc(ptr, size))
HIP(hipMallocManaged, (void **ptr, size_t size, unsigned flags), flags == 9 ? NOT_SUPPORTED : hipMalloc(ptr, size))
HIP(hipMallocPitch, (void **ptr, size_t *pitch, size_t width, size_t height),
    pitch ? (*pitch = (width + 255) / 256 * 256, hipMalloc(ptr, *pitch *height)) : INVALID_VALUE)
HIP(hipMemAllocPitch, (void **ptr, size_t *pitch, size_t width, size_t height, unsigned element),
    element ? hipMallocPitch(ptr, pitch, width, height) : INVALID_VALUE)
HIP(hipMalloc3D, (void **pitched, struct extent e), MAKE(pitched, e.width, e.height, e.depth))
HIP(hipMallocArray, (void **array, const int *format, size_t width, size_t height, unsigned flags),
    MAKE(array, (uint64_t)format[0], width, height, flags))
HIP(hipMalloc3DArray, (void **array, const int *format, struct extent e, unsigned flags),
    MAKE(array, (uint64_t)format[0], e.width, e.height, e.depth, flags))
HIP(hipArrayCreate, (void **array, const int *like), MAKE(array, (uint64_t)like[0]))
HIP(hipArray3DCreate, (void **array, const int *like), MAKE(array, (uint64_t)like[0]))
HIP(hipMallocMipmappedArray, (void **array, const int *format, struct extent e, unsigned levels, unsigned flags),
    MAKE(array, (uint64_t)format[0], e.width, e.height, e.depth, levels, flags))
HIP(hipMipmappedArrayCreate, (void **array, const int *like, unsigned levels), MAKE(array, (uint64_t)like[0], levels))
HIP(hipMallocAsync, (void **ptr, size_t size, void *stream), stream ? hipMalloc(ptr, size) : INVALID_VALUE)
HIP(hipMallocFromPoolAsync, (void **ptr, size_t size, void *pool, void *stream), MAKE(ptr, size, OF(pool), OF(stream)))
HIP(hipGraphAddMemAllocNode, (void **node, void *graph, void *const *after, size_t n, void *parameters),
    MAKE(node, OF(graph), OF(after), n, OF(parameters)))
HIP(hipMemCreate, (void **handle, size_t size, const int *properties, unsigned long long flags),
    MAKE(handle, size, (uint64_t)properties[0], flags))
HIP(hipMemMapArrayAsync, (void *list, unsigned n, void *stream), list &&n &&stream ? OK : INVALID_VALUE)
HIP(hipHostMalloc, (void **ptr, size_t size, unsigned flags), MAKE(ptr, size, flags))
HIP(hipHostAlloc, (void **ptr, size_t size, unsigned flags), hipHostMalloc(ptr, size, flags))
HIP(hipMallocHost, (void **ptr, size_t size), hipHostMalloc(ptr, size, 0))
HIP(hipMemAllocHost, (void **ptr, size_t size), hipHostMalloc(ptr, size, 0))

HIP(hipGetDevice, (int *ordinal), ordinal ? (*ordinal = 0, OK) : INVALID_VALUE)
HIP(hipDeviceGetPCIBusId, (char *text, int size, int ordinal),
    text &&ordinal == 0 ? (snprintf(text, (size_t)size, "0000:01:00.0"), OK) : INVALID_DEVICE)
HIP(hipDeviceTotalMem, (size_t * total, int ordinal),
    !total	   ? INVALID_VALUE
    : ordinal == 0 ? (*total = capacity, OK)
		   : INVALID_DEVICE)
HIP(hipMemGetInfo, (size_t * available, size_t *total),
    available &&total ? (*total = capacity, *available = capacity - in_use, OK) : INVALID_VALUE)
HIP(hipDeviceReset, (void), reset())

/* It asks the dynamic linker for itself, as the real one does. */
SHOW int hipGetProcAddress(const char *symbol, void **function, int version, uint64_t flags, int *status);
int hipGetProcAddress(const char *symbol, void **function, int version, uint64_t flags, int *status)
{
	Dl_info info;
	void *self;

	(void)version, (void)flags;
	if (!symbol || !function)
		return INVALID_VALUE;
	self = dladdr((void *)make, &info) ? dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
	*function = self ? dlsym(self, symbol) : NULL;
	if (status)
		*status = *function ? 0 : 1;
	return *function ? OK : NO_FUNCTION;
}
