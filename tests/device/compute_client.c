/* SPDX-License-Identifier: MIT */
/* A program that uses HIP, or Level Zero: compute_client HOW NAME... calls each function, prints
 * what came of it, then those that its input names, a line each. What it frees is what it had
 * last. Nothing of ours is linked in.
 *
 *   linked    by the dynamic linker (the program compute_client_linked)
 *   dlsym     dlopen, dlsym                  dlvsym     the same with the names' versions, which HIP's have
 *   default   dlopen RTLD_GLOBAL, dlsym(RTLD_DEFAULT)   deepbind   dlopen RTLD_DEEPBIND, dlsym
 *   dlmopen   in a namespace of its own      asked      by hipGetProcAddress
 *   tables    by zeGetMemProcAddrTable and its like, found by dlsym; linked-tables: found by the dynamic linker
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct extent {
	size_t width, height, depth;
};

static void *p, *last, *driver, *device, *context;
static size_t pitch, available;
static const int like[16] = { 7 };
static const struct extent box = { 3, 5, 7 };
static unsigned one = 1;

#define ABOUT(x) ((void *)(uintptr_t)(x))
#define CALLS(X) \
	X(hipMalloc, "hip_4.2", (void **, size_t), (&p, 1 << 20)) \
	X(hipExtMallocWithFlags, "hip_4.2", (void **, size_t, unsigned), (&p, 1 << 20, 1)) \
	X(hipMallocManaged, "hip_4.2", (void **, size_t, unsigned), (&p, 1 << 20, 1)) \
	X(hipMallocPitch, "hip_4.2", (void **, size_t *, size_t, size_t), (&p, &pitch, 100, 10)) \
	X(hipMemAllocPitch, "hip_4.2", (void **, size_t *, size_t, size_t, unsigned), (&p, &pitch, 300, 10, 16)) \
	X(hipMalloc3D, "hip_4.2", (void **, struct extent), (&p, box)) \
	X(hipMallocArray, "hip_4.2", (void **, const int *, size_t, size_t, unsigned), (&p, like, 10, 20, 3)) \
	X(hipMalloc3DArray, "hip_4.2", (void **, const int *, struct extent, unsigned), (&p, like, box, 3)) \
	X(hipArrayCreate, "hip_4.2", (void **, const int *), (&p, like)) \
	X(hipArray3DCreate, "hip_4.2", (void **, const int *), (&p, like)) \
	X(hipMallocMipmappedArray, "hip_4.2", (void **, const int *, struct extent, unsigned, unsigned), \
	  (&p, like, box, 4, 1)) \
	X(hipMipmappedArrayCreate, "hip_4.2", (void **, const int *, unsigned), (&p, like, 4)) \
	X(hipMallocAsync, "hip_5.1", (void **, size_t, void *), (&p, 7, ABOUT(1))) \
	X(hipMallocFromPoolAsync, "hip_5.1", (void **, size_t, void *, void *), (&p, 7, ABOUT(2), ABOUT(3))) \
	X(hipGraphAddMemAllocNode, "hip_5.3", (void **, void *, void *, size_t, void *), \
	  (&p, ABOUT(4), NULL, 0, ABOUT(5))) \
	X(hipMemCreate, "hip_5.1", (void **, size_t, const int *, unsigned long long), (&p, 7, like, 1)) \
	X(hipMemMapArrayAsync, "hip_5.1", (void *, unsigned, void *), (ABOUT(6), 1, ABOUT(7))) \
	X(hipHostMalloc, "hip_4.2", (void **, size_t, unsigned), (&p, 4096, 1)) \
	X(hipHostAlloc, "hip_4.2", (void **, size_t, unsigned), (&p, 4096, 1)) \
	X(hipMallocHost, "hip_4.2", (void **, size_t), (&p, 4096)) \
	X(hipMemAllocHost, "hip_4.2", (void **, size_t), (&p, 4096)) \
	X(hipFree, "hip_4.2", (void *), (last)) \
	X(hipFreeAsync, "hip_5.1", (void *, void *), (last, ABOUT(1))) \
	X(hipDeviceReset, "hip_4.2", (void), ()) \
	X(hipMemGetInfo, "hip_4.2", (size_t *, size_t *), (&available, &pitch)) \
	X(hipDeviceTotalMem, "hip_4.2", (size_t *, int), (&pitch, 0)) \
	X(zeInit, "", (unsigned), (0)) \
	X(zeDriverGet, "", (unsigned *, void **), (&one, &driver)) \
	X(zeDeviceGet, "", (void *, unsigned *, void **), (driver, &one, &device)) \
	X(zeContextCreate, "", (void *, const int *, void **), (driver, like, &context)) \
	X(zeMemAllocDevice, "", (void *, const int *, size_t, size_t, void *, void **), \
	  (context, like, 1 << 20, 64, device, &p)) \
	X(zeMemAllocShared, "", (void *, const int *, const int *, size_t, size_t, void *, void **), \
	  (context, like, like, 1 << 20, 8, device, &p)) \
	X(zeMemAllocHost, "", (void *, const int *, size_t, size_t, void **), (context, like, (size_t)1 << 41, 8, &p)) \
	X(zePhysicalMemCreate, "", (void *, void *, const int *, void **), (context, device, like, &p)) \
	X(zeImageCreate, "", (void *, void *, const int *, void **), (context, device, like, &p)) \
	X(zeMemFree, "", (void *, void *), (context, last)) \
	X(zeMemFreeExt, "", (void *, const int *, void *), (context, like, last))
#define TABLES(X) X(zeGetMemProcAddrTable) X(zeGetPhysicalMemProcAddrTable) X(zeGetImageProcAddrTable)

#ifdef LINKED
#define LINK(name, version, parameters, arguments) extern int name parameters;
#define LINK_TABLE(name) extern int name(unsigned, void **);
#define LINKED_AT(name) (void *)name
#else
#define LINK(name, version, parameters, arguments)
#define LINK_TABLE(name)
#define LINKED_AT(name) NULL
#endif
CALLS(LINK)
TABLES(LINK_TABLE)

static const char *how;

static void *open_library(const char *name)
{
	const char *file = name[0] == 'h' ? "libamdhip64.so.6" : "libze_loader.so.1";
	int flags = RTLD_NOW | (strcmp(how, "deepbind") == 0 ? RTLD_DEEPBIND : 0) |
		    (strcmp(how, "default") == 0 ? RTLD_GLOBAL : 0);
	static void *libraries[2];
	void **library = &libraries[name[0] == 'h'];

	if (!*library)
		*library = strcmp(how, "dlmopen") == 0 ? dlmopen(LM_ID_NEWLM, file, flags) : dlopen(file, flags);
	if (!*library) {
		(void)fprintf(stderr, "compute_client: %s\n", dlerror());
		exit(2);
	}
	return *library;
}

static void *in_table(const char *name, const char *table_name, void *linked, unsigned at)
{
	void *table[32] = { NULL };
	int (*fill)(unsigned, void **);

	*(void **)&fill = strcmp(how, "tables") == 0 ? dlsym(open_library(name), table_name) : linked;
	return fill && fill(0x10003, table) == 0 ? table[at] : NULL;
}

static void *find_in_tables(const char *name, void *linked)
{
	static const char *const memory[] = {
		"zeMemAllocShared", "zeMemAllocDevice", "zeMemAllocHost", "zeMemFree", NULL, NULL, NULL, NULL, NULL,
		"zeMemFreeExt"
	};

	for (unsigned i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
		if (memory[i] && strcmp(memory[i], name) == 0)
			return in_table(name, "zeGetMemProcAddrTable", LINKED_AT(zeGetMemProcAddrTable), i);
	if (strcmp(name, "zePhysicalMemCreate") == 0)
		return in_table(name, "zeGetPhysicalMemProcAddrTable", LINKED_AT(zeGetPhysicalMemProcAddrTable), 0);
	if (strcmp(name, "zeImageCreate") == 0)
		return in_table(name, "zeGetImageProcAddrTable", LINKED_AT(zeGetImageProcAddrTable), 1);
	return strcmp(how, "tables") == 0 ? dlsym(open_library(name), name) : linked;
}

static void *ask(const char *name)
{
	int (*look)(const char *, void **, int, uint64_t, int *), status = -1;
	void *found = NULL;

	*(void **)&look = dlsym(open_library(name), "hipGetProcAddress");
	return look && look(name, &found, 60200, 0, &status) == 0 && status == 0 ? found : NULL;
}

static void *find(const char *name, const char *version, void *linked)
{
	if (strcmp(how, "linked") == 0)
		return linked;
	if (strcmp(how, "asked") == 0)
		return ask(name);
	if (strstr(how, "tables"))
		return find_in_tables(name, linked);
	if (strcmp(how, "dlvsym") == 0)
		return dlvsym(open_library(name), name, version);
	(void)open_library(name);
	return dlsym(strcmp(how, "default") == 0 ? RTLD_DEFAULT : open_library(name), name);
}

#define CALL(name, version, parameters, arguments) \
	if (strcmp(word, #name) == 0) { \
		int(*function) parameters; \
		*(void **)&function = find(#name, version, LINKED_AT(name)); \
		if (!function) \
			return -1; \
		return function arguments; \
	}

static int call(const char *word)
{
	CALLS(CALL)
	return -2;
}

static void obey(const char *word)
{
	int result;

	p = NULL;
	pitch = available = 0;
	result = call(word);
	last = p ? p : last;
	(void)printf("%s %d %p %zu %zu\n", word, result, p, available, pitch);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[64];

	how = argc > 1 ? argv[1] : "dlsym";
	for (int i = 2; i < argc; i++)
		obey(argv[i]);
	(void)printf("done\n");
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		obey(line);
	}
	return 0;
}
