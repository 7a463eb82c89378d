/* SPDX-License-Identifier: MIT */
/* A program that uses OpenCL as it is told, line by line, by a loader that it has found in one of
 * several ways. It answers each line with "result number". */
#include "device/opencl_abi.h"
#include "tests/device/shrinks.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CREATE_BUFFER_PLACE 14

#define CALLS(X) \
	X(clGetPlatformIDs, int, (unsigned, cl_handle *, unsigned *)) \
	X(clGetDeviceIDs, int, (cl_handle, uint64_t, unsigned, cl_handle *, unsigned *)) \
	X(clGetDeviceInfo, int, (cl_handle, unsigned, size_t, void *, size_t *)) \
	X(clCreateContext, cl_handle, (const intptr_t *, unsigned, const cl_handle *, cl_notify *, void *, int *)) \
	X(clReleaseContext, int, (cl_handle)) \
	X(clCreateCommandQueue, cl_handle, (cl_handle, cl_handle, uint64_t, int *)) \
	X(clFinish, int, (cl_handle)) \
	X(clCreateBuffer, cl_handle, (cl_handle, uint64_t, size_t, void *, int *)) \
	X(clCreateSubBuffer, cl_handle, (cl_handle, uint64_t, unsigned, const void *, int *)) \
	X(clCreateImage, cl_handle, \
	  (cl_handle, uint64_t, const struct cl_format *, const struct cl_shape *, void *, int *)) \
	X(clCreateImage2D, cl_handle, \
	  (cl_handle, uint64_t, const struct cl_format *, size_t, size_t, size_t, void *, int *)) \
	X(clCreateImage3D, cl_handle, \
	  (cl_handle, uint64_t, const struct cl_format *, size_t, size_t, size_t, size_t, size_t, void *, int *)) \
	X(clGetMemObjectInfo, int, (cl_handle, unsigned, size_t, void *, size_t *)) \
	X(clRetainMemObject, int, (cl_handle)) \
	X(clReleaseMemObject, int, (cl_handle)) \
	X(clSetMemObjectDestructorCallback, int, (cl_handle, cl_gone *, void *)) \
	X(clSVMAlloc, void *, (cl_handle, uint64_t, size_t, unsigned)) \
	X(clSVMFree, void, (cl_handle, void *)) \
	X(clEnqueueSVMFree, int, \
	  (cl_handle, unsigned, void **, cl_free *, void *, unsigned, const cl_handle *, cl_handle *))

#define DECLARE(name, type, parameters) extern type name parameters;
#define POINT(name, type, parameters) static type(*p_##name) parameters;
#ifdef LINKED
CALLS(DECLARE)
#endif
CALLS(POINT)

static int find_all(const char *how)
{
#ifdef LINKED
#define TAKE(name, type, parameters) p_##name = name;
	(void)how;
	CALLS(TAKE)
	return 0;
#else
	int flags = RTLD_NOW | (strcmp(how, "deepbind") == 0 ? RTLD_DEEPBIND : 0) |
		    (strcmp(how, "global") == 0 ? RTLD_GLOBAL : 0);
	void *loader = strcmp(how, "dlmopen") == 0 ? dlmopen(LM_ID_NEWLM, "libOpenCL.so.1", flags)
						   : dlopen("libOpenCL.so.1", flags);

	if (!loader) {
		(void)fprintf(stderr, "%s\n", dlerror());
		return -1;
	}
#define TAKE(name, type, parameters) *(void **)&p_##name = dlsym(loader, #name);
	CALLS(TAKE)
	return p_clCreateBuffer ? 0 : -1;
#endif
}

#define KEPT 4096
static void *kept[KEPT];
static unsigned n_kept;
static cl_handle context, queue, device;
static int order; /* of destructor callbacks, as digits */

static void called(cl_handle mem, void *digit)
{
	(void)mem;
	order = order * 10 + (int)(intptr_t)digit;
}

static void answer(int result, uint64_t number)
{
	(void)printf("%d %" PRIu64 "\n", result, number);
	(void)fflush(stdout);
}

static uint64_t keep(void *what)
{
	kept[n_kept] = what;
	return what ? n_kept++ : 0;
}

#define DEVICES 4

static int begin(unsigned n)
{
	cl_handle platform, devices[DEVICES];
	int err = p_clGetPlatformIDs(1, &platform, NULL);

	n = n > DEVICES ? DEVICES : n ? n : 1;
	err = err ? err : p_clGetDeviceIDs(platform, 0xffffffff, n, devices, NULL);
	if (err)
		return err;
	device = devices[0];
	context = p_clCreateContext(NULL, n, devices, NULL, NULL, &err);
	queue = err ? NULL : p_clCreateCommandQueue(context, device, 0, &err);
	return err;
}

static size_t size_of(cl_handle mem)
{
	size_t size = 0;

	(void)p_clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof(size), &size, NULL);
	return size;
}

static int image(unsigned kind, size_t width, size_t height, size_t depth, uint64_t *ret)
{
	const struct cl_format format = { 0x10b5, 0x10da }; /* RGBA, 8 bits */
	struct cl_shape shape = { .kind = kind, .width = width, .height = height, .depth = depth, .layers = depth };
	int err = 1;
	cl_handle mem;

	if (kind == 2)
		mem = p_clCreateImage2D(context, 1, &format, width, height, 0, NULL, &err);
	else if (kind == 3)
		mem = p_clCreateImage3D(context, 1, &format, width, height, depth, 0, 0, NULL, &err);
	else
		mem = p_clCreateImage(context, 1, &format, &shape, NULL, &err);
	*ret = keep(mem);
	return err;
}

static double pairs(unsigned long n, size_t size)
{
	struct timespec from, to;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (unsigned long i = 0; i < n; i++)
		(void)p_clReleaseMemObject(p_clCreateBuffer(context, 1, size, NULL, NULL));
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)n;
}

/* How many of n there was room for. */
static void race(unsigned long n, size_t size)
{
	unsigned long made = 0;

	for (unsigned long i = 0; i < n; i++) {
		cl_handle mem = p_clCreateBuffer(context, 1, size, NULL, NULL);

		if (mem)
			(void)p_clReleaseMemObject(mem);
		made += mem != NULL;
	}
	answer(0, made);
}

static int bad(unsigned long which)
{
	static char host[64];
	int err = 0;

	switch (which) {
	case 0:
		(void)p_clCreateBuffer(NULL, 1, 4096, NULL, &err);
		return err;
	case 1:
		(void)p_clCreateBuffer(context, 1, 0, NULL, &err);
		return err;
	case 2:
		(void)p_clCreateBuffer(context, 7, 4096, NULL, &err);
		return err;
	case 3:
		(void)p_clCreateBuffer(context, 1, 4096, host, &err);
		return err;
	case 4:
		(void)p_clCreateBuffer(context, 8, 4096, NULL, &err);
		return err;
	case 5:
		(void)p_clCreateBuffer(context, 1, SIZE_MAX, NULL, &err);
		return err;
	case 6:
		return p_clReleaseMemObject(NULL);
	case 7:
		return p_clSVMAlloc(context, 1, 0, 0) != NULL;
	case 8:
		return p_clEnqueueSVMFree(queue, 0, NULL, NULL, NULL, 0, NULL, NULL);
	case 9:
		(void)p_clCreateImage(context, 1, NULL, NULL, NULL, &err);
		return err;
	case 10:
		return p_clSVMAlloc(NULL, 1, 64, 0) != NULL;
	case 11:
		p_clSVMFree(context, NULL);
		return p_clSetMemObjectDestructorCallback(NULL, called, NULL);
	default:
		return p_clCreateBuffer(context, 7, 1ul << 30, NULL, &err) ? 0 : err;
	}
}

static void on_child(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(0);
	(void)waitpid(pid, &status, 0);
	answer(status, 0);
}

static uint64_t shrink(void *arg, uint64_t bytes)
{
	static unsigned given;

	(void)arg;
	return given < n_kept && p_clReleaseMemObject(kept[given++]) == 0 ? bytes : 0;
}

/* The driver's next clCreateBuffer says so, in the table that its objects name to the loader. */
static int error_at_next;
static void *(*create)(void *, uint64_t, size_t, void *, int *);

static void *fail_once(void *of, uint64_t flags, size_t size, void *host, int *err)
{
	int error = error_at_next;

	error_at_next = 0;
	if (!error)
		return create(of, flags, size, host, err);
	if (err)
		*err = error;
	return NULL;
}

static void fail_next(int error)
{
	void **at = *(void ***)context + CREATE_BUFFER_PLACE;
	uintptr_t page = (uintptr_t)at & ~4095ul;

	error_at_next = error;
	if (create)
		return;
	if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE)) /* NOLINT: an address */
		abort();
	*(void **)&create = *at;
	*(void **)at = (void *)fail_once;
}

static void obey(const char *word, const uint64_t *n)
{
	struct {
		size_t at, size;
	} part = { n[1], n[2] };
	uint64_t number = 0;
	int err = 0;
	void *at;

	if (strcmp(word, "begin") == 0) {
		err = begin((unsigned)n[0]);
	} else if (strcmp(word, "buffer") == 0) {
		at = p_clCreateBuffer(context, n[1] ? n[1] : 1, n[0], (n[1] & 8) ? malloc(n[0]) : NULL, &err);
		number = keep(at);
	} else if (strcmp(word, "part") == 0) {
		number = keep(p_clCreateSubBuffer(kept[n[0]], 1, 0x1220, &part, &err));
	} else if (strcmp(word, "image") == 0) {
		err = image((unsigned)n[0], n[1], n[2], n[3], &number);
	} else if (strcmp(word, "size") == 0) {
		number = size_of(kept[n[0]]);
	} else if (strcmp(word, "retain") == 0) {
		err = p_clRetainMemObject(kept[n[0]]);
	} else if (strcmp(word, "release") == 0) {
		err = p_clReleaseMemObject(kept[n[0]]);
	} else if (strcmp(word, "call") == 0) {
		err = p_clSetMemObjectDestructorCallback(kept[n[0]], called, (void *)(intptr_t)n[1]);
	} else if (strcmp(word, "order") == 0) {
		number = (uint64_t)order;
	} else if (strcmp(word, "svm") == 0) {
		at = p_clSVMAlloc(context, 1, n[0], 0);
		err = at ? 0 : -1;
		number = keep(at);
	} else if (strcmp(word, "svmfree") == 0) {
		p_clSVMFree(context, kept[n[0]]);
	} else if (strcmp(word, "svmlater") == 0) {
		err = p_clEnqueueSVMFree(queue, 1, &kept[n[0]], NULL, NULL, 0, NULL, NULL);
	} else if (strcmp(word, "finish") == 0) {
		err = p_clFinish(queue);
	} else if (strcmp(word, "total") == 0 || strcmp(word, "most") == 0) {
		err = p_clGetDeviceInfo(device, *word == 't' ? CL_DEVICE_GLOBAL_MEM_SIZE : CL_DEVICE_MAX_MEM_ALLOC_SIZE,
					sizeof(number), &number, NULL);
	} else if (strcmp(word, "bad") == 0) {
		err = bad(n[0]);
	} else if (strcmp(word, "pairs") == 0) {
		number = (uint64_t)pairs(n[0], n[1]);
	} else if (strcmp(word, "fail") == 0) { /* with the error, less its sign */
		fail_next(-(int)n[0]);
	} else if (strcmp(word, "shrink") == 0) { /* the first ones first */
		err = shrinks_by(shrink);
	} else if (strcmp(word, "noerr") == 0) { /* who wants to know no more than whether there is one */
		at = p_clCreateBuffer(context, 1, n[0], NULL, NULL);
		err = at ? 0 : -1;
		number = keep(at);
	} else if (strcmp(word, "pid") == 0) {
		number = (uint64_t)getpid();
	} else if (strcmp(word, "race") == 0) {
		race(n[0], n[1]);
		return;
	} else if (strcmp(word, "fork") == 0) {
		on_child();
		return;
	} else {
		err = 1;
	}
	answer(err, number);
}

int main(int argc, char **argv)
{
	char line[256], word[32];

	if (find_all(argc > 1 ? argv[1] : "dlsym"))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t n[4] = { 0 };

		if (sscanf(line, "%31s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, word, &n[0], &n[1], &n[2],
			   &n[3]) >= 1)
			obey(word, n);
	}
	return 0;
}
