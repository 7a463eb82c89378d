/* SPDX-License-Identifier: MIT */
/* jemalloc's slow paths, as malloc and free enter them: behind them no lock is held, and what a charge has left to do
 * is done (reclaim.h). Only where jemalloc.o calls: inside jemalloc the same functions run under locks. */
#include "preload/jemalloc_joined.h"

#include "preload/helper.h"
#include "preload/reclaim.h"

/* True: again. tsdn is NULL where jemalloc allocates for itself. */
static inline bool is_to_be_tried_again(const void *tsdn, const void *p)
{
	if (__builtin_expect(p != NULL && !reclaim_due && !helper_is_wanted(), 1))
		return false;
	return tsdn && reclaim_after_heap(p == NULL);
}

void *mc_large_malloc(void *tsdn, void *arena, size_t size, bool zero)
{
	void *p;

	do
		p = je_large_malloc(tsdn, arena, size, zero);
	while (is_to_be_tried_again(tsdn, p));
	return p;
}

void *mc_arena_malloc_hard(void *tsdn, void *arena, size_t size, unsigned index, bool zero)
{
	void *p;

	do
		p = je_arena_malloc_hard(tsdn, arena, size, index, zero);
	while (is_to_be_tried_again(tsdn, p));
	return p;
}

void *mc_tcache_alloc_small_hard(void *tsdn, void *arena, void *tcache, void *bin, unsigned index, bool *ret_success)
{
	void *p;

	do
		p = je_tcache_alloc_small_hard(tsdn, arena, tcache, bin, index, ret_success);
	while (is_to_be_tried_again(tsdn, *ret_success ? p : NULL));
	return p;
}

void *mc_arena_palloc(void *tsdn, void *arena, size_t size, size_t alignment, bool zero, void *tcache)
{
	void *p;

	do
		p = je_arena_palloc(tsdn, arena, size, alignment, zero, tcache);
	while (is_to_be_tried_again(tsdn, p));
	return p;
}

void *mc_arena_ralloc(void *tsdn, void *arena, void *old, size_t old_size, size_t size, size_t alignment, bool zero,
		      void *tcache, void *hook_args)
{
	void *p;

	do
		p = je_arena_ralloc(tsdn, arena, old, old_size, size, alignment, zero, tcache, hook_args);
	while (is_to_be_tried_again(tsdn, p));
	return p;
}

static inline void after_free(const void *tsdn)
{
	if (__builtin_expect(helper_is_wanted(), 0) && tsdn)
		helper_start();
}

void mc_large_dalloc(void *tsdn, void *extent)
{
	je_large_dalloc(tsdn, extent);
	after_free(tsdn);
}

void mc_tcache_bin_flush_small(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay)
{
	je_tcache_bin_flush_small(tsd, tcache, bin, index, stay);
	after_free(tsd);
}

void mc_tcache_bin_flush_large(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay)
{
	je_tcache_bin_flush_large(tsd, tcache, bin, index, stay);
	after_free(tsd);
}
