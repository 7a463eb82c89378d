/* SPDX-License-Identifier: MIT */
/* What is done to the heap as a whole. */
#include "preload/heap.h"

#include "accounting/atomic.h"
#include "preload/jemalloc_joined.h"
#include "preload/metadata.h"
#include "preload/purgeable.h"

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

uint64_t heap_unused(void)
{
	return purgeable_pages();
}

uint64_t heap_reclaim(uint64_t pages)
{
	uint64_t before = purgeable_given();
	unsigned arenas = je_narenas_total_get();

	for (unsigned i = 0; i < arenas && purgeable_given() - before < pages; i++) {
		void *arena = mc_load_acquire(&je_arenas[i]);

		if (arena)
			je_arena_decay(NULL, arena, false, true);
	}
	return purgeable_given() - before;
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
