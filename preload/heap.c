/* SPDX-License-Identifier: MIT */
/* What is done to the heap as a whole. */
#include "preload/heap.h"

#include "preload/jemalloc_joined.h"
#include "preload/metadata.h"

void heap_start(void)
{
	metadata_measure(true);
}

size_t heap_statistic(const char *name)
{
	uint64_t epoch = 1;
	size_t value = 0;
	size_t size = sizeof(value);

	(void)mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	(void)mallctl(name, &value, &size, NULL, 0);
	return value;
}

/* 4096 is MALLCTL_ARENAS_ALL. */
size_t heap_purge(void)
{
	size_t before = heap_statistic("stats.resident");
	size_t after;

	(void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
	(void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
	after = heap_statistic("stats.resident");
	return before > after ? before - after : 0;
}
