/* SPDX-License-Identifier: MIT */
/* MEMCTL_ALLOCATOR=system: the heap is the program's own affair, and its pages are found resident. */
#include "preload/heap.h"

#include <malloc.h>

void heap_start(void)
{
}

size_t heap_statistic(const char *name)
{
	(void)name;
	return 0;
}

/* Nobody knows without a walk through the heap under its locks. */
uint64_t heap_unused(void)
{
	return 0;
}

/* How much that was shows when the daemon looks. */
uint64_t heap_reclaim(uint64_t pages)
{
	(void)pages;
	(void)malloc_trim(0);
	return 0;
}

/* How much that was shows when the daemon looks. */
size_t heap_purge(void)
{
	(void)malloc_trim(0);
	return 0;
}
