/* SPDX-License-Identifier: MIT */
/* What is done to the heap as a whole. */
#include "preload/heap.h"

#include "accounting/atomic.h"
#include "accounting/sys.h"
#include "preload/jemalloc_joined.h"
#include "preload/metadata.h"
#include "preload/purgeable.h"

#include <time.h>

#define ROUNDS 20	  /* of a millisecond */
#define PIECE_PAGES 2048  /* 8 MiB */
#define WORTH_WAITING 256 /* pages; fewer may be none at all: the count is a moment behind */

const bool heap_is_ours = true;
mc_word32 heap_flush_turn;
__thread uint32_t heap_flush_seen;

void heap_start(void)
{
	metadata_measure(true);
}

void heap_before_fork(void)
{
	purgeable_before_fork();
}

void heap_after_fork(void)
{
	purgeable_after_fork();
}

void heap_start_thread(void)
{
	(void)je_tsd_fetch_slow(je_tsd_tls, true);
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

/* True when it had something. In pieces: all that one purge takes it takes before it gives the first page back. */
static bool purge_piece(void *arena, uint64_t pages)
{
	uint64_t before = purgeable_given();

	purgeable_limit(pages < PIECE_PAGES ? pages : PIECE_PAGES);
	je_arena_decay(je_tsd_tls, arena, false, true);
	purgeable_limit(0);
	return purgeable_given() != before;
}

static void purge_until(uint64_t given)
{
	unsigned arenas = je_narenas_total_get();

	for (unsigned i = 0; i < arenas; i++) {
		void *arena = mc_load_acquire(&je_arenas[i]);
		int64_t left;

		while (arena && (left = (int64_t)(given - purgeable_given())) > 0)
			if (!purge_piece(arena, (uint64_t)left))
				break;
	}
}

/* An arena that another thread is purging already is left to it, and what it gives counts as ours. */
uint64_t heap_reclaim(uint64_t pages)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t before = purgeable_given();

	purge_until(before + pages);
	for (int i = 0; i < ROUNDS && purgeable_given() - before < pages && purgeable_pages() >= WORTH_WAITING; i++) {
		(void)sys_call3(SYS_nanosleep, &ms, 0, 0);
		purge_until(before + pages);
	}
	return purgeable_given() - before;
}

void heap_want_flush(void)
{
	mc_add_relaxed(&heap_flush_turn, 1);
}

void heap_flush_thread(void)
{
	heap_flush_seen = mc_load_relaxed(&heap_flush_turn);
	if (je_tsd_tls[JE_TSD_TCACHE_ENABLED_AT])
		je_tcache_flush(je_tsd_tls);
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
