/* SPDX-License-Identifier: MIT */
/* OpenCL's layer: what its loader asks for, and the switch. The loader opens us by the path in
 * OPENCL_LAYERS, which is set before the program runs; children inherit it and add nothing. Ours is
 * the first, next to the drivers, so that what other layers allocate is seen too. */
#include "device/opencl.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define EXPORT __attribute__((visibility("default")))
#define VARIABLE "OPENCL_LAYERS"

void *const *opencl_below;

EXPORT int clGetLayerInfo(unsigned what, size_t size, void *value, size_t *ret_size);
EXPORT int clInitLayer(unsigned n, void *const *below, unsigned *ret_n, void *const **ret);

int clGetLayerInfo(unsigned what, size_t size, void *value, size_t *ret_size)
{
	static const unsigned version = 100;
	static const char name[] = "memctl";
	const void *from = what == CL_LAYER_API_VERSION ? (const void *)&version : name;
	size_t length = what == CL_LAYER_API_VERSION ? sizeof(version) : sizeof(name);

	if ((what != CL_LAYER_API_VERSION && what != CL_LAYER_NAME) || (value && size < length))
		return CL_INVALID_VALUE;
	if (value)
		memcpy(value, from, length);
	if (ret_size)
		*ret_size = length;
	return CL_DONE;
}

static const struct {
	unsigned place;
	void *own;
} replaced[] = {
#define OPENCL(name, place, type, parameters) { CL_##name, (void *)opencl_##name },
#define ASKED(name, place, type, parameters)
#include "device/opencl.def"
#undef OPENCL
#undef ASKED
};

/* We point into the loader from now on: closing it does not unload it. */
static void hold(const void *function)
{
	Dl_info info;

	if (dladdr(function, &info) && !dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE))
		(void)dlerror();
}

/* A program may have two loaders: a handle that one of them knows, the other knows too. */
int clInitLayer(unsigned n, void *const *below, unsigned *ret_n, void *const **ret)
{
	void **table;

	if (!below || !ret_n || !ret || n < CL_PLACES)
		return CL_INVALID_VALUE;
	table = malloc(n * sizeof(*table)); /* as long as the loader lives: for ever */
	if (!table)
		return CL_INVALID_VALUE;
	memcpy(table, below, n * sizeof(*table));
	for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++)
		if (below[replaced[i].place])
			table[replaced[i].place] = replaced[i].own;
	hold(below[0]);
	opencl_below = below;
	*ret_n = n;
	*ret = table;
	return CL_DONE;
}

/* ---- the switch */

/* Without those that are this library, wherever they lie: two of us would charge twice. */
static void copy_others(const char *from, const char *own, char *to)
{
	const char *file = strrchr(own, '/');
	size_t n, length = strlen(file);

	for (; from && *from; from += n + (from[n] == ':')) {
		n = strcspn(from, ":");
		if (n == 0 || (n >= length && strncmp(from + n - length, file, length) == 0))
			continue;
		*to++ = ':';
		to = mempcpy(to, from, n);
	}
	*to = 0;
}

__attribute__((constructor(103))) static void start(void)
{
	const char *old = getenv(VARIABLE);
	Dl_info info;
	size_t n;
	char *all;

	if (getauxval(AT_SECURE) || !dladdr((const void *)clInitLayer, &info) || !info.dli_fname ||
	    info.dli_fname[0] != '/' || strchr(info.dli_fname, ':'))
		return;
	n = strlen(info.dli_fname);
	all = malloc(n + (old ? strlen(old) : 0) + 2);
	if (!all)
		return;
	copy_others(old, info.dli_fname, stpcpy(all, info.dli_fname));
	if (!old || strcmp(old, all) != 0)
		(void)setenv(VARIABLE, all, 1);
	free(all);
}
