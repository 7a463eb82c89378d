/* SPDX-License-Identifier: MIT */
/* A Vulkan program that finds its loader as it is told (linked, dlsym, deepbind, dlmopen; instance:
 * device functions by vkGetInstanceProcAddr) and then does what its input says, a line each;
 * answers "result value value". */
#include "device/vulkan_abi.h"
#include "tests/device/shrinks.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEPT 4096

struct application {
	struct vk_chain chain;
	const char *name;
	uint32_t version;
	const char *engine;
	uint32_t engine_version, api;
};

struct create_instance {
	struct vk_chain chain;
	uint32_t flags;
	const struct application *application;
	uint32_t layers;
	const char *const *layer;
	uint32_t extensions;
	const char *const *extension;
};

struct queue {
	struct vk_chain chain;
	uint32_t flags, family, count;
	const float *priority;
};

struct create_device {
	struct vk_chain chain;
	uint32_t flags, queues;
	const struct queue *queue;
	uint32_t layers;
	const char *const *layer;
	uint32_t extensions;
	const char *const *extension;
	const void *features;
};

static vk_lookup *of_instance, *of_device;
static vk_handle instance, physical, device;
static vk_memory kept[KEPT];
static unsigned count;

static vk_result (*allocate)(vk_handle, const struct vk_allocate *, const void *, vk_memory *);
static void (*give)(vk_handle, vk_memory, const void *);
static void (*destroy_device)(vk_handle, const void *);

#ifdef LINKED
vk_function vkGetInstanceProcAddr(vk_handle, const char *);
vk_function vkGetDeviceProcAddr(vk_handle, const char *);
vk_result vkAllocateMemory(vk_handle, const struct vk_allocate *, const void *, vk_memory *);
void vkFreeMemory(vk_handle, vk_memory, const void *);
void vkDestroyDevice(vk_handle, const void *);
#endif

static void *open_loader(const char *how)
{
	if (strcmp(how, "dlmopen") == 0)
		return dlmopen(LM_ID_NEWLM, "libvulkan.so.1", RTLD_NOW);
	return dlopen("libvulkan.so.1", RTLD_NOW | (strcmp(how, "deepbind") == 0 ? RTLD_DEEPBIND : 0));
}

static void find_loader(const char *how)
{
	void *loader;

#ifdef LINKED
	of_instance = vkGetInstanceProcAddr;
	of_device = vkGetDeviceProcAddr;
	return;
#endif
	loader = open_loader(how);
	if (!loader) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	*(void **)&of_instance = dlsym(loader, "vkGetInstanceProcAddr");
	*(void **)&of_device = dlsym(loader, "vkGetDeviceProcAddr");
}

#define FIND(function, name) (*(void **)&(function) = of_instance(instance, name))

static vk_result begin(void)
{
	vk_result (*create)(const struct create_instance *, const void *, vk_handle *);
	vk_result (*enumerate)(vk_handle, uint32_t *, vk_handle *);
	const struct application a = { .api = 1u << 22 | 1u << 12 };
	const struct create_instance i = { .chain = { 1, NULL }, .application = &a };
	uint32_t n = 1;
	vk_result result;

	FIND(create, "vkCreateInstance");
	result = create(&i, NULL, &instance);
	if (result)
		return result;
	FIND(enumerate, "vkEnumeratePhysicalDevices");
	result = enumerate(instance, &n, &physical);
	return result < 0 || n != 1 ? -100 : 0;
}

static vk_result open_device(const char *how)
{
	vk_result (*create)(vk_handle, const struct create_device *, const void *, vk_handle *);
	const float priority = 1;
	const struct queue q = { .chain = { 2, NULL }, .count = 1, .priority = &priority };
	static const char *const extensions[] = { "VK_KHR_external_memory_fd" };
	const struct create_device d = {
		.chain = { 3, NULL }, .queues = 1, .queue = &q, .extensions = 1, .extension = extensions
	};
	vk_lookup *lookup = strcmp(how, "instance") == 0 ? of_instance : of_device;
	vk_result result;

	FIND(create, "vkCreateDevice");
	result = create(physical, &d, NULL, &device);
	if (result)
		return result;
#ifdef LINKED
	allocate = vkAllocateMemory;
	give = vkFreeMemory;
	destroy_device = vkDestroyDevice;
	return result;
#endif
	vk_handle of = lookup == of_instance ? instance : device;

	*(void **)&allocate = lookup(of, "vkAllocateMemory");
	*(void **)&give = lookup(of, "vkFreeMemory");
	*(void **)&destroy_device = lookup(of, "vkDestroyDevice");
	return result;
}

static vk_result make(unsigned long long size, struct vk_chain *next)
{
	const struct vk_allocate a = { .chain = { VK_MEMORY_ALLOCATE, next }, .size = size };

	return allocate(device, &a, NULL, &kept[count]);
}

static vk_result borrow(unsigned long long size)
{
	struct {
		struct vk_import head;
		void *at;
	} import = { { { VK_IMPORT_HOST_POINTER, NULL }, 0x80 }, aligned_alloc(4096, size) };

	return make(size, &import.head.chain);
}

/* For itself alone, as drivers like it best for large images. */
static vk_result dedicate(unsigned long long size)
{
	struct {
		struct vk_chain chain;
		uint64_t image, buffer;
	} dedicated = { { 1000127001, NULL }, 0, 0 };

	return make(size, &dedicated.chain);
}

#define OPAQUE 1

static vk_result make_shareable(unsigned long long size)
{
	struct vk_import shared = { { 1000072002, NULL }, OPAQUE };

	return make(size, &shared.chain);
}

/* A descriptor of the last allocation. */
static vk_result export(int *fd)
{
	vk_result (*get)(vk_handle, const struct vk_get_fd *, int *);
	const struct vk_get_fd info = { { 1000074002, NULL }, (uint64_t)kept[count - 1], OPAQUE };

	*(void **)&get = of_device(device, "vkGetMemoryFdKHR");
	return get ? get(device, &info, fd) : -102;
}

/* The same open file, out of another process. */
static vk_result take(unsigned long long size, long pid, int fd)
{
	struct vk_import_fd import = { { VK_IMPORT_FD, NULL }, OPAQUE, -1 };
	int process = (int)syscall(SYS_pidfd_open, pid, 0);

	import.fd = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	(void)close(process);
	return import.fd < 0 ? -103 : make(size, &import.chain);
}

static void answer(long long result, unsigned long long first, unsigned long long second)
{
	printf("%lld %llu %llu\n", result, first, second);
	fflush(stdout);
}

static void show(void)
{
	struct vk_budget b = { .chain = { VK_BUDGET, NULL } };
	struct vk_memories2 m = { .chain = { 1000059006, &b.chain } };
	void (*memories)(vk_handle, struct vk_memories *);
	void (*memories2)(vk_handle, struct vk_memories2 *);

	FIND(memories2, "vkGetPhysicalDeviceMemoryProperties2");
	FIND(memories, "vkGetPhysicalDeviceMemoryProperties");
	memories2(physical, &m);
	answer((long long)m.memories.heap[0].size, b.budget[0], b.usage[0]);
	memories(physical, &m.memories);
	answer((long long)m.memories.heap[0].size, 0, 0);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Pairs; how many were refused, and ns of CPU for each. */
static void churn(unsigned long long size, unsigned long pairs)
{
	double start = now();
	unsigned long refused = 0;

	for (unsigned long i = 0; i < pairs; i++)
		if (make(size, NULL))
			refused++;
		else
			give(device, kept[count], NULL);
	answer(0, refused, (unsigned long long)((now() - start) / (double)pairs));
}

static void in_child(unsigned long long size)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		vk_result result = make(size, NULL);

		if (!result)
			give(device, kept[count], NULL);
		give(device, kept[0], NULL); /* its copy of what its parent holds */
		_exit(result != 0);
	}
	waitpid(child, &status, 0);
	answer(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0, 0);
}

static void give_all(void)
{
	while (count)
		give(device, kept[--count], NULL);
	give(device, 0, NULL);
	answer(0, 0, 0);
}

/* The first ones first, while another thread allocates. */
static uint64_t shrink(void *arg, uint64_t bytes)
{
	static unsigned given;

	(void)arg;
	if (given == count)
		return 0;
	give(device, kept[given], NULL);
	kept[given++] = 0;
	return bytes;
}

static void obey(const char *how, const char *verb, unsigned long long size, unsigned long n, unsigned long pid)
{
	vk_result result = 0;

	if (strcmp(verb, "show") == 0)
		return show();
	if (strcmp(verb, "churn") == 0)
		return churn(size, n);
	if (strcmp(verb, "fork") == 0)
		return in_child(size);
	if (strcmp(verb, "give") == 0)
		return give_all();
	if (strcmp(verb, "open") == 0)
		result = open_device(how);
	else if (strcmp(verb, "devices") == 0) /* one more with each: the last is used */
		for (unsigned long i = 0; i < size && !result; i++)
			result = open_device(how);
	else if (strcmp(verb, "alloc") == 0)
		count += !(result = make(size, NULL));
	else if (strcmp(verb, "dedicated") == 0)
		count += !(result = dedicate(size));
	else if (strcmp(verb, "shareable") == 0)
		count += !(result = make_shareable(size));
	else if (strcmp(verb, "export") == 0) {
		int fd = -1;

		result = export(&fd);
		return answer(result, (unsigned long long)fd, count);
	} else if (strcmp(verb, "take") == 0) /* size, descriptor, pid */
		count += !(result = take(size, (long)pid, (int)n));
	else if (strcmp(verb, "import") == 0)
		count += !(result = borrow(size));
	else if (strcmp(verb, "shrink") == 0)
		result = shrinks_by(shrink);
	else if (strcmp(verb, "destroy") == 0)
		destroy_device(device, NULL);
	else
		result = -101;
	answer(result, (unsigned long long)getpid(), count);
}

int main(int argc, char **argv)
{
	char verb[32], line[128];
	vk_result result;

	if (argc != 2)
		return 2;
	find_loader(argv[1]);
	result = begin();
	answer(result, (unsigned long long)getpid(), 0);
	while (!result && fgets(line, sizeof(line), stdin)) {
		unsigned long long size = 0;
		unsigned long n = 0, pid = 0;

		if (sscanf(line, "%31s %llu %lu %lu", verb, &size, &n, &pid) > 0)
			obey(argv[1], verb, size, n, pid);
	}
	return 0;
}
