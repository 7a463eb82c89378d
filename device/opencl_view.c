/* SPDX-License-Identifier: MIT */
/* What a program is told of an OpenCL device: the driver answers first; what it says of memory is
 * lowered to the group's share. */
#include "device/opencl.h"
#include "device/view.h"

int opencl_clGetDeviceInfo(cl_handle device, unsigned what, size_t size, void *value, size_t *ret_size)
{
	int result = BELOW(clGetDeviceInfo)(device, what, size, value, ret_size);
	struct device_share share;
	uint64_t left = 0, *bytes = value;

	if (result || !value || size < sizeof(*bytes) ||
	    (what != CL_DEVICE_GLOBAL_MEM_SIZE && what != CL_DEVICE_MAX_MEM_ALLOC_SIZE))
		return result;
	if (device_charge_share(opencl_region(device), &share))
		view_fit(&share, &left, bytes);
	return result;
}

/* ---- what is seen and not charged */

/* Unified shared memory and its kin: they are called past the loader's table. */
static void *found(const char *name, void *at)
{
	static const char *const names[] = { "clDeviceMemAllocINTEL", "clSharedMemAllocINTEL", "clHostMemAllocINTEL",
					     "clCreateBufferWithPropertiesINTEL", "clImportMemoryARM" };

	for (unsigned i = 0; at && i < sizeof(names) / sizeof(names[0]); i++)
		if (__builtin_strcmp(name, names[i]) == 0)
			device_member_mark_partial();
	return at;
}

void *opencl_clGetExtensionFunctionAddress(const char *name)
{
	return found(name, BELOW(clGetExtensionFunctionAddress)(name));
}

void *opencl_clGetExtensionFunctionAddressForPlatform(cl_handle platform, const char *name)
{
	return found(name, BELOW(clGetExtensionFunctionAddressForPlatform)(platform, name));
}

static cl_handle partial(cl_handle mem)
{
	if (mem)
		device_member_mark_partial();
	return mem;
}

cl_handle opencl_clCreateFromGLBuffer(cl_handle context, uint64_t flags, unsigned name, int *err)
{
	return partial(BELOW(clCreateFromGLBuffer)(context, flags, name, err));
}

cl_handle opencl_clCreateFromGLRenderbuffer(cl_handle context, uint64_t flags, unsigned name, int *err)
{
	return partial(BELOW(clCreateFromGLRenderbuffer)(context, flags, name, err));
}

#define OF_TEXTURE(call) \
	cl_handle opencl_##call(cl_handle context, uint64_t flags, unsigned target, int level, unsigned name, \
				int *err) \
	{ \
		return partial(BELOW(call)(context, flags, target, level, name, err)); \
	}
OF_TEXTURE(clCreateFromGLTexture2D)
OF_TEXTURE(clCreateFromGLTexture3D)
OF_TEXTURE(clCreateFromGLTexture)
