/* SPDX-License-Identifier: MIT */
/* A program with device memory killed, and stopped, before every single instruction of the device
 * library, in front of the driver without a device (scenes.h). What the driver does itself touches
 * no segment. */
#include "tests/fault/scenes.h"
#include "tests/lib/ground.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REGION "cuda/GPU-fafbfcfd-feff-0001-0203-040506070809/vram"
#define SMALL (1u << 20)
#define LARGE (64u << 20) /* past what an account keeps in stock */
#define GRAIN (2u << 20)

typedef unsigned long long number;

struct properties {
	int type, handle_types, where, id;
	void *security;
	number more[12];
};

struct flat {
	size_t width, height;
	int format;
	unsigned channels;
};

struct deep {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

/* CUarrayMapInfo, for one level's part. */
struct tiles {
	int array_type;
	void *array;
	int part, unused; /* what follows is aligned for its other form */
	unsigned level, layer, x, y, z, width, height, depth;
	int operation, handle_type;
	number handle, offset;
	unsigned devices, flags, reserved[2];
};

struct multicast {
	unsigned devices;
	size_t size;
	number handle_types, flags;
};

/* ---- the driver, as its users find it ---- */

static int (*init)(unsigned);
static int (*context_create)(void **, unsigned, int);
static int (*context_destroy)(void *);
static int (*alloc)(number *, size_t);
static int (*alloc_pitch)(number *, size_t *, size_t, size_t, unsigned);
static int (*release)(number);
static int (*alloc_async)(number *, size_t, void *);
static int (*free_async)(number, void *);
static int (*synchronize)(void *);
static int (*create)(number *, size_t, const struct properties *, number);
static int (*reserve)(number *, size_t, size_t, number, number);
static int (*map_memory)(number, size_t, size_t, number, number);
static int (*unmap_memory)(number, size_t);
static int (*release_handle)(number);
static int (*array_create)(void **, const struct flat *);
static int (*array_destroy)(void *);
static int (*deep_create)(void **, const struct deep *);
static int (*map_tiles)(const struct tiles *, unsigned, void *);
static int (*multicast_create)(number *, const struct multicast *);
static int (*multicast_add)(number, int);
static int (*multicast_bind)(number, size_t, number, size_t, size_t, number);
static int (*multicast_unbind)(number, int, size_t, size_t);

static void find_all(void)
{
	static const struct {
		void *to;
		const char *name;
	} functions[] = {
		{ &init, "cuInit" },
		{ &context_create, "cuCtxCreate_v2" },
		{ &context_destroy, "cuCtxDestroy_v2" },
		{ &alloc, "cuMemAlloc_v2" },
		{ &alloc_pitch, "cuMemAllocPitch_v2" },
		{ &release, "cuMemFree_v2" },
		{ &alloc_async, "cuMemAllocAsync" },
		{ &free_async, "cuMemFreeAsync" },
		{ &synchronize, "cuStreamSynchronize" },
		{ &create, "cuMemCreate" },
		{ &reserve, "cuMemAddressReserve" },
		{ &map_memory, "cuMemMap" },
		{ &unmap_memory, "cuMemUnmap" },
		{ &release_handle, "cuMemRelease" },
		{ &array_create, "cuArrayCreate_v2" },
		{ &array_destroy, "cuArrayDestroy" },
		{ &deep_create, "cuArray3DCreate_v2" },
		{ &map_tiles, "cuMemMapArrayAsync" },
		{ &multicast_create, "cuMulticastCreate" },
		{ &multicast_add, "cuMulticastAddDevice" },
		{ &multicast_bind, "cuMulticastBindMem" },
		{ &multicast_unbind, "cuMulticastUnbind" },
	};
	void *driver = dlopen("libcuda.so.1", RTLD_NOW);

	for (size_t i = 0; driver && i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *found = dlsym(driver, functions[i].name);

		memcpy(functions[i].to, &found, sizeof(found));
	}
}

/* ---- scenes ---- */

static void *context, *array;
static number ptr, handle, range, object;
static const struct properties here = { .type = 1, .where = 1 };
static const struct flat shape = { 512, 512, 0x20, 4 };

static void must(int result)
{
	if (result)
		_exit(94);
}

static void initialize(void)
{
	find_all();
	if (!init)
		_exit(95);
	must(init(0));
}

static void begin_context(void)
{
	(void)context_create(&context, 0, 0);
}

static void begin(void)
{
	initialize();
	must(context_create(&context, 0, 0));
}

/* The device is known, and the tables have room where this goes: the driver uses addresses again.
 */
static void warm_up_for(size_t size)
{
	begin();
	must(alloc(&ptr, size));
	must(release(ptr));
}

/* A stock is there, too. */
static void warm_up(void)
{
	warm_up_for(SMALL);
}

static void warm_large(void)
{
	warm_up_for(LARGE);
}

static void have_small(void)
{
	warm_up();
	must(alloc(&ptr, SMALL));
}

static void have_large(void)
{
	warm_large();
	must(alloc(&ptr, LARGE));
}

static void allocate(void)
{
	(void)alloc(&ptr, SMALL);
}

static void allocate_large(void)
{
	(void)alloc(&ptr, LARGE);
}

static void allocate_rows(void)
{
	size_t pitch;

	(void)alloc_pitch(&ptr, &pitch, 100, 100, 4);
}

static void warm_rows(void)
{
	warm_up();
	allocate_rows();
	must(release(ptr));
}

static void give_back(void)
{
	(void)release(ptr);
}

static void warm_pool(void)
{
	begin();
	must(alloc_async(&ptr, LARGE, NULL));
	must(free_async(ptr, NULL));
	must(synchronize(NULL));
}

static void have_of_pool(void)
{
	warm_pool();
	must(alloc_async(&ptr, LARGE, NULL));
}

static void allocate_of_pool(void)
{
	(void)alloc_async(&ptr, LARGE, NULL);
}

static void give_to_pool(void)
{
	(void)free_async(ptr, NULL);
	(void)synchronize(NULL);
}

/* Physical memory has a new handle each time, whose part of the table may be new too: copies cannot
 * go on. */
static void create_physical(void)
{
	(void)create(&handle, GRAIN, &here, 0);
}

static void have_physical(void)
{
	begin();
	must(create(&handle, GRAIN, &here, 0));
	must(reserve(&range, GRAIN, 0, 0, 0));
	must(map_memory(range, GRAIN, 0, handle, 0));
	must(unmap_memory(range, GRAIN));
}

static void have_mapped(void)
{
	have_physical();
	must(map_memory(range, GRAIN, 0, handle, 0));
}

static void have_mapped_alone(void)
{
	have_mapped();
	must(release_handle(handle));
}

static void map_physical(void)
{
	(void)map_memory(range, GRAIN, 0, handle, 0);
}

static void unmap_physical(void)
{
	(void)unmap_memory(range, GRAIN);
}

static void release_physical(void)
{
	(void)release_handle(handle);
}

/* Of both it is tried first: the tables have room. */
static void have_multicast(void)
{
	static const struct multicast wanted = { .devices = 1, .size = GRAIN, .handle_types = 1 };

	have_physical();
	must(multicast_create(&object, &wanted));
	must(multicast_add(object, 0));
	must(multicast_bind(object, 0, handle, 0, GRAIN, 0));
	must(multicast_unbind(object, 0, 0, GRAIN));
}

static void bind_physical(void)
{
	(void)multicast_bind(object, 0, handle, 0, GRAIN, 0);
}

static void have_bound_alone(void)
{
	have_multicast();
	must(multicast_bind(object, 0, handle, 0, GRAIN, 0));
	must(release_handle(handle));
}

static void unbind_physical(void)
{
	(void)multicast_unbind(object, 0, 0, GRAIN);
}

enum { TILES_MAP = 1, TILES_UNMAP };

static int change_tiles(int operation)
{
	const struct tiles t = { .array = array,
				 .width = 128,
				 .height = 128,
				 .depth = 1,
				 .operation = operation,
				 .handle = operation == TILES_MAP ? handle : 0,
				 .devices = 1 };

	return map_tiles(&t, 1, NULL);
}

static void have_sparse(void)
{
	static const struct deep sparse = { 512, 512, 0, 0x20, 1, 0x40 };

	have_physical();
	must(deep_create(&array, &sparse));
	must(change_tiles(TILES_MAP));
	must(change_tiles(TILES_UNMAP));
}

static void map_sparse(void)
{
	(void)change_tiles(TILES_MAP);
}

static void have_sparse_alone(void)
{
	have_sparse();
	must(change_tiles(TILES_MAP));
	must(release_handle(handle));
}

static void unmap_sparse(void)
{
	(void)change_tiles(TILES_UNMAP);
}

static void make_array(void)
{
	(void)array_create(&array, &shape);
}

static void have_array(void)
{
	warm_up();
	must(array_create(&array, &shape));
}

static void end_array(void)
{
	(void)array_destroy(array);
}

static void have_all(void)
{
	have_small();
	must(array_create(&array, &shape));
	must(alloc_async(&range, LARGE, NULL));
}

static void end_context(void)
{
	(void)context_destroy(context);
}

static void do_nothing(void)
{
}

static const struct scene scenes[] = {
	{ "alloc", "cuMemAlloc out of the stock", warm_up, allocate, false, SCENE_STRAIGHT, 0, false },
	{ "alloc-large", "cuMemAlloc", warm_large, allocate_large, false, SCENE_STRAIGHT, 0, false },
	{ "refused", "cuMemAlloc that is refused", warm_large, allocate_large, true, SCENE_STRAIGHT, 0, false },
	{ "moved", "cuMemAlloc after a move to another group", warm_up, allocate, false, SCENE_MOVED, 0, false },
	{ "first", "cuCtxCreate, which meets the device", initialize, begin_context, false, SCENE_KILLS_ONLY, 0,
	  false },
	{ "rows", "cuMemAllocPitch", warm_rows, allocate_rows, false, SCENE_STRAIGHT, 0, false },
	{ "free", "cuMemFree into the stock", have_small, give_back, false, SCENE_STRAIGHT, 0, false },
	{ "free-large", "cuMemFree", have_large, give_back, false, SCENE_STRAIGHT, 0, false },
	{ "async", "cuMemAllocAsync", warm_pool, allocate_of_pool, false, SCENE_STRAIGHT, 0, false },
	{ "async-refused", "cuMemAllocAsync that is refused", warm_pool, allocate_of_pool, true, SCENE_STRAIGHT, 0,
	  false },
	{ "async-free", "cuMemFreeAsync and what the pool gives back", have_of_pool, give_to_pool, false,
	  SCENE_STRAIGHT, 0, false },
	{ "create", "cuMemCreate", have_physical, create_physical, false, SCENE_KILLS_ONLY, 0, false },
	{ "map", "cuMemMap", have_physical, map_physical, false, SCENE_STRAIGHT, 0, false },
	{ "unmap", "cuMemUnmap", have_mapped, unmap_physical, false, SCENE_STRAIGHT, 0, false },
	{ "unmap-last", "cuMemUnmap after the last handle", have_mapped_alone, unmap_physical, false, SCENE_STRAIGHT, 0,
	  false },
	{ "drop", "cuMemRelease", have_physical, release_physical, false, SCENE_STRAIGHT, 0, false },
	{ "bind", "cuMulticastBindMem", have_multicast, bind_physical, false, SCENE_STRAIGHT, 0, false },
	{ "unbind-last", "cuMulticastUnbind after the last handle", have_bound_alone, unbind_physical, false,
	  SCENE_STRAIGHT, 0, false },
	{ "tiles", "cuMemMapArrayAsync", have_sparse, map_sparse, false, SCENE_STRAIGHT, 0, false },
	{ "tiles-last", "cuMemMapArrayAsync that unmaps after the last handle", have_sparse_alone, unmap_sparse, false,
	  SCENE_STRAIGHT, 0, false },
	{ "array", "cuArrayCreate", warm_up, make_array, false, SCENE_KILLS_ONLY, 0, false },
	{ "end-array", "cuArrayDestroy", have_array, end_array, false, SCENE_STRAIGHT, 0, false },
	{ "context", "cuCtxDestroy with memory of all kinds", have_all, end_context, false, SCENE_KILLS_ONLY, 0,
	  false },
	{ "exit", "an orderly end with memory of all kinds", have_all, do_nothing, false, SCENE_KILLS_ONLY, 0, true },
};

static const struct scenery scenery = {
	.scene = scenes,
	.n = sizeof(scenes) / sizeof(scenes[0]),
	.library = "libmemctl-device",
	.also = "libmemctl-preload",
	.region = REGION,
	.trials = 80,
};

static void set(const char *name, const char *first, const char *suffix, const char *second)
{
	char value[4096];

	(void)snprintf(value, sizeof(value), "%s%s:%s", first, suffix, second ? second : "");
	(void)setenv(name, value, 1);
}

static void prepare(void)
{
	const char *preload = getenv("MEMCTL_PRELOAD"), *device = getenv("MEMCTL_PRELOAD_DEVICE");
	const char *build = getenv("MEMCTL_BUILD"), *path = getenv("LD_LIBRARY_PATH");

	if (!preload || !device || !build)
		ground_bail("MEMCTL_PRELOAD is not set: start this with tools/env");
	set("LD_PRELOAD", preload, "", device); /* of those we exec */
	set("LD_LIBRARY_PATH", build, "/tests/device/driver", path);
	(void)setenv("FAKE_CUDA_MEMORY", "0x4000000000000", 1); /* copies take of it and never give back */
}

int main(int argc, char *argv[])
{
	return scenes_main(argc, argv, &scenery, prepare);
}
