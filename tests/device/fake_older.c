/* SPDX-License-Identifier: MIT */
/* The fake driver's calls of other versions, and for other streams: they do what their newest one
 * does, and count as both. */
#include "tests/device/fake.h"

/* What they lead to; results and handles are pointers. */
SHOW int cuMemAllocPitch_v2(uint64_t *ptr, size_t *pitch, size_t width, size_t height, unsigned element);
SHOW int cuMemFree_v2(uint64_t ptr);
SHOW int cuArrayCreate_v2(void **ret, const void *like);
SHOW int cuArray3DCreate_v2(void **ret, const void *like);
SHOW int cuMemAllocHost_v2(void **ptr, size_t size);
SHOW int cuMemHostRegister_v2(void *ptr, size_t size, unsigned flags);
SHOW int cuCtxCreate_v2(void **ret, unsigned flags, int device);
SHOW int cuCtxDestroy_v2(void *context);
SHOW int cuDevicePrimaryCtxReset_v2(int device);
SHOW int cuDevicePrimaryCtxRelease_v2(int device);
SHOW int cuModuleLoadData(void **ret, const void *image);
SHOW int cuModuleUnload(void *module);
SHOW int cuGraphLaunch(void *exec, void *stream);
SHOW int cuGraphInstantiateWithParams(void **exec, void *graph, void *parameters);
SHOW int cuCtxSynchronize(void);

struct ipc {
	char byte[64];
};
SHOW int cuIpcOpenMemHandle_v2(uint64_t *ptr, struct ipc handle, unsigned flags);

/* ---- the interface of 32 bits ---------------------------------------------------------------------------- */

SHOW int cuMemAllocPitch(uint32_t *ptr, unsigned *pitch, unsigned width, unsigned height, unsigned element);
SHOW int cuMemAllocPitch(uint32_t *ptr, unsigned *pitch, unsigned width, unsigned height, unsigned element)
{
	size_t wide_pitch = 0;
	uint64_t wide = 0;
	int result;

	ENTER(cuMemAllocPitch)
	if (!ptr || !pitch)
		return INVALID_VALUE;
	result = cuMemAllocPitch_v2(&wide, &wide_pitch, width, height, element);
	if (result)
		return result;
	wide = fake_block_lower(wide);
	*ptr = (uint32_t)wide;
	*pitch = (unsigned)wide_pitch;
	LEAVE(cuMemAllocPitch, OK);
}

struct flat {
	unsigned width, height;
	int format;
	unsigned channels;
};

struct wide_flat {
	size_t width, height;
	int format;
	unsigned channels;
};

SHOW int cuArrayCreate(void **ret, const struct flat *d);
SHOW int cuArrayCreate(void **ret, const struct flat *d)
{
	ENTER(cuArrayCreate)
	if (!d)
		return INVALID_VALUE;
	const struct wide_flat wide = { d->width, d->height, d->format, d->channels };
	LEAVE(cuArrayCreate, cuArrayCreate_v2(ret, &wide));
}

struct deep {
	unsigned width, height, depth;
	int format;
	unsigned channels, flags;
};

struct wide_deep {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

SHOW int cuArray3DCreate(void **ret, const struct deep *d);
SHOW int cuArray3DCreate(void **ret, const struct deep *d)
{
	ENTER(cuArray3DCreate)
	if (!d)
		return INVALID_VALUE;
	const struct wide_deep wide = { d->width, d->height, d->depth, d->format, d->channels, d->flags };
	LEAVE(cuArray3DCreate, cuArray3DCreate_v2(ret, &wide));
}

/* ---- those that differ in name, or in what nothing is made of here --------------------------------------- */

#define SAME(name, parameters, newest) \
	SHOW int name parameters; \
	SHOW int name parameters \
	{ \
		ENTER(name) \
		LEAVE(name, newest); \
	}

SAME(cuMemAllocHost, (void **ptr, unsigned size), cuMemAllocHost_v2(ptr, size))
SAME(cuMemHostRegister, (void *ptr, size_t size, unsigned flags), cuMemHostRegister_v2(ptr, size, flags))
SAME(cuIpcOpenMemHandle, (uint64_t * ptr, struct ipc handle, unsigned flags), cuIpcOpenMemHandle_v2(ptr, handle, flags))
SAME(cuCtxCreate, (void **ret, unsigned flags, int device), cuCtxCreate_v2(ret, flags, device))
SAME(cuCtxCreate_v3, (void **ret, void *affinity, int n, unsigned flags, int device),
     ((void)affinity, (void)n, cuCtxCreate_v2(ret, flags, device)))
SAME(cuCtxDestroy, (void *context), cuCtxDestroy_v2(context))
SAME(cuDevicePrimaryCtxReset, (int device), cuDevicePrimaryCtxReset_v2(device))
SAME(cuDevicePrimaryCtxRelease, (int device), cuDevicePrimaryCtxRelease_v2(device))
SAME(cuModuleLoad, (void **ret, const char *file), cuModuleLoadData(ret, file))
SAME(cuModuleLoadDataEx, (void **ret, const void *image, unsigned n, int *options, void **values),
     ((void)n, (void)options, (void)values, cuModuleLoadData(ret, image)))
SAME(cuModuleLoadFatBinary, (void **ret, const void *binary), cuModuleLoadData(ret, binary))
SAME(cuLibraryLoadData, (void **ret, const void *code), cuModuleLoadData(ret, code))
SAME(cuLibraryLoadFromFile, (void **ret, const char *file), cuModuleLoadData(ret, file))
SAME(cuLibraryUnload, (void *library), cuModuleUnload(library))
SAME(cuGraphUpload, (void *exec, void *stream), cuGraphLaunch(exec, stream))
SAME(cuGraphUpload_ptsz, (void *exec, void *stream), cuGraphLaunch(exec, stream))
SAME(cuGraphInstantiateWithParams_ptsz, (void **exec, void *graph, void *parameters),
     cuGraphInstantiateWithParams(exec, graph, parameters))
SAME(cuCtxSynchronize_v2, (void *context), ((void)context, cuCtxSynchronize()))
SAME(cuEventSynchronize, (void *event), ((void)event, cuCtxSynchronize()))
