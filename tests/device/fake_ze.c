/* SPDX-License-Identifier: MIT */
/* A driver of Level Zero without a device, for the real loader (ZE_ENABLE_ALT_DRIVERS). Drivers
 * are asked for tables of functions; what this one makes is a number that all arguments are part
 * of. It has 8 GiB for each process. */
#include "tests/device/fake.h"

#include <string.h>

enum { ZE_OK = 0, ZE_INVALID_NULL_POINTER = 0x78000007, ZE_OUT_OF_DEVICE_MEMORY = 0x70000003 };

static int driver, device, context; /* handles are addresses, never 0 */
static const size_t capacity = (size_t)8 << 30;
static size_t in_use;

static int init(unsigned flags)
{
	return flags > 3 ? ZE_INVALID_NULL_POINTER : ZE_OK;
}

/* *n: how many there is room for, 0 asks how many there are. */
static int give(unsigned *n, void **ret, void *what)
{
	if (!n)
		return ZE_INVALID_NULL_POINTER;
	if (*n && ret)
		ret[0] = what;
	*n = 1;
	return ZE_OK;
}

static int driver_get(unsigned *n, void **ret)
{
	return give(n, ret, &driver);
}

static int device_get(void *of, unsigned *n, void **ret)
{
	return of == &driver ? give(n, ret, &device) : ZE_INVALID_NULL_POINTER;
}

static int context_create(void *of, const void *how, void **ret)
{
	(void)how;
	*ret = &context;
	return of == &driver ? ZE_OK : ZE_INVALID_NULL_POINTER;
}

static int context_destroy(void *which)
{
	return which == &context ? ZE_OK : ZE_INVALID_NULL_POINTER;
}

static int make(void **ret, int right, size_t size, size_t alignment, unsigned kind)
{
	static uint64_t serial;

	if (!ret || !right)
		return ZE_INVALID_NULL_POINTER;
	if (size > capacity || in_use + size > capacity)
		return ZE_OUT_OF_DEVICE_MEMORY;
	in_use += size;
	*ret = (void *)(uintptr_t)(((uint64_t)size << 16) + (++serial << 12) + (alignment << 4) + kind);
	return ZE_OK;
}

struct memory {
	int type;
	void *next;
	unsigned flags, clock, width;
	uint64_t size;
	char name[256];
};

static int memories(void *which, unsigned *n, struct memory *ret)
{
	if (which != &device || !n)
		return ZE_INVALID_NULL_POINTER;
	if (*n && ret)
		ret[0].size = capacity;
	*n = 1;
	return ZE_OK;
}

struct pci {
	int type;
	void *next;
	unsigned place[4];
};

static int pci(void *which, struct pci *ret)
{
	if (which != &device || !ret || ret->type != 0x10008)
		return ZE_INVALID_NULL_POINTER;
	memcpy(ret->place, (const unsigned[]){ 0, 1, 0, 0 }, sizeof(ret->place));
	return ZE_OK;
}

static int alloc_shared(void *c, const int *how, const int *host, size_t size, size_t alignment, void *d, void **ret)
{
	return make(ret, c == &context && how && host && d == &device, size, alignment, 1);
}

static int alloc_device(void *c, const int *how, size_t size, size_t alignment, void *d, void **ret)
{
	return make(ret, c == &context && how && d == &device, size, alignment, 2);
}

static int alloc_host(void *c, const int *how, size_t size, size_t alignment, void **ret)
{
	return make(ret, c == &context && how, size, alignment, 3);
}

static int free_any(void *c, void *ptr)
{
	if (c != &context || !ptr)
		return ZE_INVALID_NULL_POINTER;
	in_use -= (uint64_t)(uintptr_t)ptr >> 16;
	return ZE_OK;
}

static int free_ext(void *c, const int *how, void *ptr)
{
	return how ? free_any(c, ptr) : ZE_INVALID_NULL_POINTER;
}

static int physical_create(void *c, void *d, const int *like, void **ret)
{
	return make(ret, c == &context && d == &device && like, 5, 5, 5);
}

static int image_create(void *c, void *d, const int *like, void **ret)
{
	return make(ret, c == &context && d == &device && like, 6, 6, 6);
}

/* Functions stand at their places in the table of their kind. */
#define TABLE(name, ...) \
	SHOW int name(unsigned version, void **table); \
	int name(unsigned version, void **table) \
	{ \
		static const struct { \
			unsigned at; \
			void *function; \
		} all[] = { __VA_ARGS__ }; \
		(void)version; \
		if (!table) \
			return ZE_INVALID_NULL_POINTER; \
		for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) \
			if (all[i].function) \
				table[all[i].at] = all[i].function; \
		return ZE_OK; \
	}

TABLE(zeGetGlobalProcAddrTable, { 0, (void *)init })
TABLE(zeGetDriverProcAddrTable, { 0, (void *)driver_get })
TABLE(zeGetDeviceProcAddrTable, { 0, (void *)device_get }, { 6, (void *)memories }, { 17, (void *)pci })
TABLE(zeGetContextProcAddrTable, { 0, (void *)context_create }, { 1, (void *)context_destroy })
TABLE(zeGetMemProcAddrTable, { 0, (void *)alloc_shared }, { 1, (void *)alloc_device }, { 2, (void *)alloc_host },
      { 3, (void *)free_any }, { 9, (void *)free_ext })
TABLE(zeGetPhysicalMemProcAddrTable, { 0, (void *)physical_create })
TABLE(zeGetImageProcAddrTable, { 1, (void *)image_create })

/* The loader takes no driver that lacks one of these. */
#define NONE(name) TABLE(name, { 0, NULL })
NONE(zeGetCommandQueueProcAddrTable)
NONE(zeGetCommandListProcAddrTable)
NONE(zeGetFenceProcAddrTable)
NONE(zeGetEventPoolProcAddrTable)
NONE(zeGetEventProcAddrTable)
NONE(zeGetModuleProcAddrTable)
NONE(zeGetModuleBuildLogProcAddrTable)
NONE(zeGetKernelProcAddrTable)
NONE(zeGetSamplerProcAddrTable)
NONE(zeGetVirtualMemProcAddrTable)
NONE(zetGetCommandListProcAddrTable)
NONE(zetGetContextProcAddrTable)
NONE(zetGetDebugProcAddrTable)
NONE(zetGetDeviceProcAddrTable)
NONE(zetGetKernelProcAddrTable)
NONE(zetGetMetricGroupExpProcAddrTable)
NONE(zetGetMetricGroupProcAddrTable)
NONE(zetGetMetricProcAddrTable)
NONE(zetGetMetricQueryPoolProcAddrTable)
NONE(zetGetMetricQueryProcAddrTable)
NONE(zetGetMetricStreamerProcAddrTable)
NONE(zetGetModuleProcAddrTable)
NONE(zetGetTracerExpProcAddrTable)
NONE(zesGetDeviceProcAddrTable)
NONE(zesGetDiagnosticsProcAddrTable)
NONE(zesGetDriverProcAddrTable)
NONE(zesGetEngineProcAddrTable)
NONE(zesGetFabricPortProcAddrTable)
NONE(zesGetFanProcAddrTable)
NONE(zesGetFirmwareProcAddrTable)
NONE(zesGetFrequencyProcAddrTable)
NONE(zesGetLedProcAddrTable)
NONE(zesGetMemoryProcAddrTable)
NONE(zesGetPerformanceFactorProcAddrTable)
NONE(zesGetPowerProcAddrTable)
NONE(zesGetPsuProcAddrTable)
NONE(zesGetRasProcAddrTable)
NONE(zesGetSchedulerProcAddrTable)
NONE(zesGetStandbyProcAddrTable)
NONE(zesGetTemperatureProcAddrTable)
