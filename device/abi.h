/* SPDX-License-Identifier: MIT */
/* What we must know of the CUDA driver API and of NVML: types and values that we look at, none of
 * the rest. Building needs no toolkit. Handles are pointers to what is not ours. */
#ifndef DEVICE_ABI_H
#define DEVICE_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef int cu_result;
typedef uint64_t cu_ptr; /* CUdeviceptr since 3.2; before it was 32 bits wide */
typedef uint32_t cu_ptr_v1;
typedef void *cu_handle;		/* context, stream, event, array, pool, graph: opaque pointers */
typedef unsigned long long cu_physical; /* CUmemGenericAllocationHandle */
typedef int cu_device;

enum {
	CU_SUCCESS = 0,
	CU_INVALID_VALUE = 1,
	CU_OUT_OF_MEMORY = 2,
	CU_NOT_INITIALIZED = 3,
	CU_NOT_FOUND = 500,
};

enum {
	CU_POINTER_MEMORY_TYPE = 2,
	CU_POINTER_DEVICE_ORDINAL = 9,
	CU_POINTER_MEMPOOL = 17,
};

enum {
	CU_POOL_RELEASE_THRESHOLD = 4,
	CU_POOL_RESERVED_CURRENT = 5,
	CU_POOL_USED_CURRENT = 7,
};

enum { CU_GRAPH_RESERVED_CURRENT = 2 };

enum { CU_LOCATION_DEVICE = 1 };

struct cu_location {
	int type;
	int id;
};

struct cu_physical_properties {
	int type;
	int handle_types;
	struct cu_location location;
	void *security;
	unsigned char flags[8];
};

struct cu_pool_properties {
	int type;
	int handle_types;
	struct cu_location location;
	/* more behind it */
};

struct cu_array_v1 {
	unsigned width, height;
	int format;
	unsigned channels;
};

struct cu_array_v2 {
	size_t width, height;
	int format;
	unsigned channels;
};

struct cu_array3d_v1 {
	unsigned width, height, depth;
	int format;
	unsigned channels, flags;
};

struct cu_array3d_v2 {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

enum {
	CU_ARRAY_SPARSE = 0x40,
	CU_ARRAY_DEFERRED = 0x80,
};

struct cu_array_requirements {
	size_t size, alignment;
	unsigned reserved[4];
};

struct cu_uuid {
	unsigned char byte[16];
};

struct cu_ipc_handle {
	char byte[64];
};

typedef int nvml_result;
typedef void *nvml_device;

struct nvml_pci {
	char address[16];
	unsigned domain, bus, device, ids[2];
	char address_of_eight[32];
};

struct nvml_memory_v1 {
	unsigned long long total, free, used;
};

struct nvml_memory_v2 {
	unsigned version;
	unsigned long long total, reserved, free, used;
};

#endif
