/* SPDX-License-Identifier: MIT */
/*
 * jemalloc's profiler with our stacks, and without its own memory. It counts each thread's bytes and says when a sample
 * is due; we say "none" and let it allocate as it always does, so that a sampled block is where it would be without us
 * and costs nothing. Which block it was is seen when jemalloc has counted it, in the same call: a slow path gave it out
 * (jemalloc_came), or it was the one that left the thread's cache.
 *
 * free          jemalloc looks up the page of what is freed: its size class, and whether it is one of many in a slab. In a
 *               page with a sampled small block the latter is cleared. free then leaves its fast path and comes to
 *               mc_arena_dalloc_promoted with every block of that page (30 ns), with no other. A large block's record is
 *               kept in its extent, as jemalloc's profiler does.
 * races         the mark of a page is changed by who holds a living block of it, so its slab stays. Who clears the mark of
 *               the last looks again after. What jemalloc has read of a page it does not read twice, but in its realloc
 *               (jemalloc_ralloc).
 * trust         jemalloc 5.3.0's structures are read, and each answer is compared with two others (is_known); one bit of
 *               one word is written. In another layout no block is sampled.
 */
#include "preload/jemalloc_sample.h"

#include "accounting/atomic.h"
#include "preload/export.h"
#include "preload/jemalloc_joined.h"
#include "preload/pace.h"
#include "preload/sites.h"

#include <string.h>

#define SMALL_CLASSES 36u
#define IN_SLAB 1u		      /* of a leaf */
#define CLASS_SHIFT 48		      /* of a leaf */
#define EXTENT_MASK 0xffffffffff80ull /* of a leaf */
#define EXTENT_IN_SLAB (1ull << 12)   /* of an extent's first word */
#define EXTENT_CLASS(bits) ((bits) >> 20 & 0xff)

/* One class in a thread's cache: a stack that grows down; the low bits of where it is full and
 * empty. */
struct cache_bin {
	void **head;
	uint64_t requests;
	uint16_t low, full, empty;
};

__thread struct jemalloc_due jemalloc_due;

/* ---- what jemalloc knows of an address ------------------------------------------------------------------- */

/* NULL: nothing. */
static mc_word *leaf_of(const void *p)
{
	uint64_t at = (uint64_t)p;
	char *const *root = (void *)(je_arena_emap_global + JE_EMAP_ROOT_AT);
	char *leaves = at >> 48 ? NULL : __atomic_load_n(&root[at >> 30], __ATOMIC_ACQUIRE);

	return leaves ? (mc_word *)(void *)leaves + (at >> 12 & 0x3ffff) : NULL;
}

static unsigned class_of(uint64_t leaf)
{
	return (unsigned)(leaf >> CLASS_SHIFT);
}

static uint64_t *extent_of(uint64_t leaf)
{
	return (uint64_t *)(leaf & EXTENT_MASK); /* NOLINT: an address among other bits */
}

/* The page's leaf, its extent and the size that malloc_usable_size answers say the same of the
 * block. */
static bool is_known(const void *p, uint64_t leaf, uint64_t size)
{
	const uint64_t *extent = extent_of(leaf);
	unsigned class = class_of(leaf);

	return extent && EXTENT_CLASS(*extent) == class && size == malloc_usable_size((void *)p) &&
	       (class < SMALL_CLASSES) == ((*extent & EXTENT_IN_SLAB) != 0) &&
	       (class < SMALL_CLASSES) == (size <= JEMALLOC_SMALL_MAX);
}

/* ---- a sample is due ------------------------------------------------------------------------------------- */

static struct cache_bin *bins_of(void *tcache)
{
	return (void *)((char *)tcache + JE_TCACHE_BINS_AT);
}

static unsigned cached_classes(void)
{
	return je_nhbins < JEMALLOC_CACHED ? je_nhbins : JEMALLOC_CACHED;
}

void *mc_prof_tctx_create(void *tsd)
{
	const struct cache_bin *bin = bins_of((char *)tsd + JE_TSD_TCACHE_AT);
	unsigned n = cached_classes();

	for (unsigned i = 0; i < n; i++)
		jemalloc_due.head[i] = bin[i].head;
	jemalloc_due.came = NULL;
	jemalloc_due.is_due = true;
	return JE_PROF_NOT_SAMPLED;
}

void mc_prof_alloc_rollback(void *tsd, void *tctx)
{
	(void)tsd, (void)tctx;
	jemalloc_due.is_due = false;
}

/* What left the cache since then. NULL: nothing (a block grew in place, or the program has caches
 * of its own). */
static void *what_left(void *tsd)
{
	const struct cache_bin *bin = bins_of((char *)tsd + JE_TSD_TCACHE_AT);
	unsigned n = cached_classes();

	for (unsigned i = 0; i < n; i++)
		if (bin[i].head != jemalloc_due.head[i])
			return bin[i].head == jemalloc_due.head[i] + 1 ? *jemalloc_due.head[i] : NULL;
	return NULL;
}

/* Slabs with marked pages, as far as they are remembered: to look into the extent is a cache miss.
 * What is said here of an extent that has become a large block's since holds until that is sampled.
 */
static mc_word *slab_at(const void *extent)
{
	static mc_word slab[16384];

	return &slab[(uintptr_t)extent / 128 % 16384];
}

static void keep_large(struct sites_record *r, void *extent, uint64_t size)
{
	if (mc_load_relaxed(slab_at(extent)) == (uint64_t)extent)
		mc_store_relaxed(slab_at(extent), 0);
	je_large_prof_info_set(extent, r, size);
}

static void keep_small(struct sites_record *r, const void *p, mc_word *leaf)
{
	if (sites_keep(r, (uint64_t)p))
		mc_and_full(leaf, ~(uint64_t)IN_SLAB);
	else
		sites_drop(r);
}

static void take_sample(const struct unwind_registers *from, void *p)
{
	mc_word *leaf = p ? leaf_of(p) : NULL;
	uint64_t bits = leaf ? mc_load_relaxed(leaf) : 0;
	size_t size = bits ? malloc_usable_size(p) : 0;
	struct sites_record *r;

	if (!size || !is_known(p, bits, size))
		return;
	r = sites_sample(from, STACKS_HEAP, size);
	if (!r)
		return;
	if (class_of(bits) < SMALL_CLASSES)
		keep_small(r, p, leaf);
	else
		keep_large(r, extent_of(bits), size);
}

void mc_te_event_trigger(void *tsd, void *counters)
{
	struct unwind_registers here;

	if (__builtin_expect(jemalloc_due.is_due, 0) && *(const bool *)counters) {
		uint64_t since = pace_clock();

		jemalloc_due.is_due = false;
		unwind_here(&here);
		take_sample(&here, jemalloc_due.came ? jemalloc_due.came : what_left(tsd));
		pace_spend(since);
	}
	je_te_event_trigger(tsd, counters);
}

uint64_t mc_prof_sample_new_event_wait(void *tsd)
{
	(void)tsd;
	return sites_wait();
}

/* ---- freed ----------------------------------------------------------------------------------------------- */

/* Into the thread's cache, or, without one, to the slab. */
static void put_back(void *tsdn, void *tcache, void *p, unsigned class)
{
	struct cache_bin *bin = tcache ? &bins_of(tcache)[class] : NULL;
	unsigned room = bin ? (uint16_t)(bin->empty - bin->full) / (unsigned)sizeof(void *) : 0;

	if (room == 0) {
		je_arena_dalloc_small(tsdn, p);
		return;
	}
	if ((uint16_t)(uintptr_t)bin->head == bin->full)
		je_tcache_bin_flush_small(tsdn, tcache, bin, class, room / 2);
	*--bin->head = p;
}

void mc_arena_dalloc_promoted(void *tsdn, void *p, void *tcache, bool slow)
{
	mc_word *leaf = leaf_of(p);

	(void)slow;
	if (!sites_end_small((uint64_t)p)) {
		mc_or_full(leaf, IN_SLAB);
		if (sites_has_page((uint64_t)p)) /* another thread was as far meanwhile */
			mc_and_full(leaf, ~(uint64_t)IN_SLAB);
	}
	put_back(tsdn, tcache, p, class_of(mc_load_relaxed(leaf)));
}

/* A slab has no record; the page was marked. */
void mc_large_prof_info_get(void *tsd, void *extent, struct je_prof_info *info, bool reset)
{
	mc_word *known = slab_at(extent);

	if (mc_load_relaxed(known) == (uint64_t)extent) {
		info->tctx = JE_PROF_NOT_SAMPLED;
	} else if (*(const uint64_t *)extent & EXTENT_IN_SLAB) {
		mc_store_relaxed(known, (uint64_t)extent);
		info->tctx = JE_PROF_NOT_SAMPLED;
	} else {
		je_large_prof_info_get(tsd, extent, info, reset);
	}
}

void mc_prof_free_sampled_object(void *tsd, size_t usable, struct je_prof_info *info)
{
	(void)tsd, (void)usable;
	sites_drop(info->tctx);
}

/* With a size jemalloc does not look the page up. */
EXPORT void sdallocx(void *p, size_t size, int flags)
{
	if (sites_are_on())
		dallocx(p, flags);
	else
		je_sdallocx(p, size, flags);
}

/* ---- realloc --------------------------------------------------------------------------------------------- */

static void free_small(void *tsdn, void *tcache, void *p)
{
	uint64_t leaf = mc_load_relaxed(leaf_of(p));

	if (leaf & IN_SLAB)
		put_back(tsdn, tcache, p, class_of(leaf));
	else
		mc_arena_dalloc_promoted(tsdn, p, tcache, true);
}

void *jemalloc_ralloc(void *tsdn, void *arena, void *old, size_t old_size, size_t size, size_t alignment, bool zero,
		      void *tcache)
{
	size_t usable = nallocx(size, alignment ? __builtin_ctzl(alignment) : 0);
	void *p;

	if (usable == 0)
		return NULL;
	if (usable == old_size)
		return old;
	p = je_arena_palloc(tsdn, arena, usable, alignment ? alignment : 1, zero, tcache);
	if (!p)
		return NULL;
	memcpy(p, old, usable < old_size ? usable : old_size);
	free_small(tsdn, tcache, old);
	return p;
}
