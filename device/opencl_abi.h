/* SPDX-License-Identifier: MIT */
/* What we must know of OpenCL and of its layers' interface. Building needs no headers of theirs. */
#ifndef DEVICE_OPENCL_ABI_H
#define DEVICE_OPENCL_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef void *cl_handle; /* platform, device, context, queue, memory object, event */
typedef void cl_gone(cl_handle mem, void *arg);
typedef void cl_notify(const char *, const void *, size_t, void *);
typedef void cl_free(cl_handle queue, unsigned n, void *ptrs[], void *arg);

enum {
	CL_DONE = 0,
	CL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
	CL_OUT_OF_RESOURCES = -5,
	CL_OUT_OF_HOST_MEMORY = -6,
	CL_INVALID_VALUE = -30,
	CL_INVALID_BUFFER_SIZE = -61,
};

enum {
	CL_DEVICE_TYPE = 0x1000,
	CL_DEVICE_VENDOR_ID = 0x1001,
	CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
	CL_DEVICE_GLOBAL_MEM_SIZE = 0x101f,
	CL_DEVICE_NAME = 0x102b,
	CL_DEVICE_HOST_UNIFIED_MEMORY = 0x1035,
	CL_DEVICE_UUID = 0x106a,
	CL_CONTEXT_DEVICES = 0x1081,
	CL_QUEUE_CONTEXT = 0x1090,
	CL_MEM_SIZE = 0x1102,
	CL_MEM_DEVICE_HANDLE_LIST = 0x2051,
	CL_DEVICE_PCI_BUS_NV = 0x4008,
	CL_DEVICE_PCI_SLOT_NV = 0x4009,
	CL_DEVICE_PCI_DOMAIN_NV = 0x400a,
	CL_DEVICE_PCI = 0x410f,
	CL_LAYER_API_VERSION = 0x4240,
	CL_LAYER_NAME = 0x4241,
};

enum { CL_VENDOR_NVIDIA = 0x10de, CL_TYPE_CPU = 2, CL_USE_HOST_PTR = 8 };

struct cl_format {
	unsigned order, type;
};

struct cl_shape {
	unsigned kind;
	size_t width, height, depth, layers, pitch, slice;
	unsigned levels, samples;
	cl_handle of; /* the buffer or image whose memory it is */
};

struct cl_pci {
	unsigned domain, bus, device, function;
};

#define CL_PLACES 149 /* of the loader's table that we know */

#endif
