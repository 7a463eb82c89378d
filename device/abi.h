/* SPDX-License-Identifier: MIT */
/* What we must know of the CUDA driver API, of NVML, HIP and Level Zero: types and values that we
 * look at, none of the rest. Building needs no toolkit. Handles are pointers to what is not ours. */
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

enum {
	CU_LOCATION_NONE = 0,
	CU_LOCATION_DEVICE = 1,
	CU_LOCATION_HOST = 2,
	CU_LOCATION_HOST_LAST = 4, /* the host's nodes; what comes behind is a part of a device */
};

enum { CU_ALLOCATION_MANAGED = 2 };

enum { CU_MEMORY_HOST = 1 }; /* of CU_POINTER_MEMORY_TYPE */

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

struct cu_array_sparse {
	unsigned width, height, depth; /* of a tile, in elements */
	unsigned tail_level;
	unsigned long long tail_size;
	unsigned flags, reserved[4];
};

enum { CU_BIND_TO_ARRAY = 0, CU_BIND_TO_MIPMAP = 1 };
enum { CU_BIND_LEVEL = 0, CU_BIND_TAIL = 1 };
enum { CU_BIND_MAP = 1, CU_BIND_UNMAP = 2 };

/* A part of a sparse array, and what is to lie behind it. */
struct cu_array_map {
	int array_type;
	cu_handle array;
	int part;
	union {
		struct {
			unsigned level, layer, x, y, z, width, height, depth;
		} level;
		struct {
			unsigned layer;
			unsigned long long offset, size;
		} tail;
	};
	int operation, handle_type;
	cu_physical handle;
	unsigned long long offset;
	unsigned devices, flags, reserved[2];
};

_Static_assert(sizeof(struct cu_array_map) == 96, "the driver's layout");

enum { CU_EXTERNAL_DESCRIPTOR = 1 };

struct cu_external {
	int type;
	union {
		int fd;
		void *pointer[2];
	};
	unsigned long long size;
	unsigned flags;
	/* more behind it */
};

struct cu_pool_pointer {
	unsigned char byte[64];
};

enum { CU_NODE_ALLOCATES = 10 };

struct cu_uuid {
	unsigned char byte[16];
};

struct cu_ipc_handle {
	char byte[64];
};

typedef int nvml_result;
typedef void *nvml_device;

enum {
	NVML_UNINITIALIZED = 1,
	NVML_FUNCTION_NOT_FOUND = 13,
};

enum {
	ZE_OUT_OF_DEVICE_MEMORY = 0x70000003,
	ZE_UNINITIALIZED = 0x78000001,
	ZE_UNSUPPORTED_FEATURE = 0x78000003,
};

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

/* Of each process: 16 bytes in the first version of the lists, 24 in later ones; some drivers
 * have given 32 in the third. All begin like this. */
struct nvml_process {
	unsigned pid;
	unsigned long long used;
};
#define NVML_PROCESS_MOST 32u

struct nvml_details {
	unsigned version, mode, n;
	void *list;
};
#define NVML_DETAILS_V1 (24u | 1u << 24) /* of 32 bytes each */

struct hip_extent {
	size_t width, height, depth;
};

#endif
