/* SPDX-License-Identifier: MIT */
/* The parts of glibc's malloc interface that jemalloc lacks. The others are exported as jemalloc has them:
 * a wrapper around malloc would cost 6 % of it. */
#include "preload/export.h"
#include "preload/heap.h"
#include "preload/jemalloc_joined.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

EXPORT void *pvalloc(size_t size)
{
	size_t rounded = (size + 4095) & ~(size_t)4095;

	if (rounded < size) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign(4096, rounded ? rounded : 4096);
}

EXPORT void *reallocarray(void *ptr, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(ptr, bytes);
}

/* Programs that reach into glibc by these names must end in the same heap as their free. */
EXPORT void *__libc_malloc(size_t size)
{
	return malloc(size);
}
EXPORT void *__libc_calloc(size_t count, size_t size)
{
	return calloc(count, size);
}
EXPORT void *__libc_realloc(void *ptr, size_t size)
{
	return realloc(ptr, size);
}
EXPORT void __libc_free(void *ptr)
{
	free(ptr);
}
EXPORT void cfree(void *ptr)
{
	free(ptr);
}
EXPORT void *__libc_memalign(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}
EXPORT void *__libc_valloc(size_t size)
{
	return valloc(size);
}
EXPORT void *__libc_pvalloc(size_t size)
{
	return pvalloc(size);
}

/* ---- glibc's statistics and settings ---------------------------------------------------------------- */

EXPORT struct mallinfo2 mallinfo2(void)
{
	size_t active = heap_statistic("stats.active");
	size_t used = heap_statistic("stats.allocated");

	return (struct mallinfo2){
		.arena = active,
		.uordblks = used,
		.fordblks = active - used,
		.keepcost = heap_statistic("stats.resident") - active,
	};
}

static int clamp(size_t v)
{
	return v > (size_t)INT32_MAX ? INT32_MAX : (int)v;
}

static struct mallinfo narrow_info(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = clamp(m.arena),
		.uordblks = clamp(m.uordblks),
		.fordblks = clamp(m.fordblks),
		.keepcost = clamp(m.keepcost),
	};
}

EXPORT int mallopt(int param, int value)
{
	(void)param;
	(void)value;
	return 1;
}

EXPORT struct mallinfo mallinfo(void)
{
	return narrow_info();
}
EXPORT struct mallinfo __libc_mallinfo(void)
{
	return narrow_info();
}
EXPORT int __libc_mallopt(int param, int value)
{
	return mallopt(param, value);
}

EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return heap_purge() != 0;
}

EXPORT int malloc_info(int options, FILE *stream)
{
	if (options) {
		errno = EINVAL;
		return -1;
	}
	return fprintf(stream,
		       "<malloc version=\"memctl-jemalloc-5.3.0\">\n"
		       "<system type=\"current\" size=\"%zu\"/>\n<total type=\"rest\" size=\"%zu\"/>\n"
		       "</malloc>\n",
		       heap_statistic("stats.mapped"), heap_statistic("stats.allocated")) < 0
		       ? -1
		       : 0;
}

EXPORT void malloc_stats(void)
{
	malloc_stats_print(NULL, NULL, "ma");
}
