/* SPDX-License-Identifier: MIT */
/* jemalloc's slow paths, as malloc and free enter them: behind them no lock is held, and what a
 * charge has left to do is done (reclaim.h). Only where jemalloc.o calls: inside jemalloc the same
 * functions run under locks. */
#include "preload/jemalloc_joined.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "preload/heap.h"
#include "preload/helper.h"
#include "preload/jemalloc_sample.h"
#include "preload/linker.h"
#include "preload/reclaim.h"
#include "preload/self.h"
#include "preload/sites.h"

/* 3 ns. */
static inline bool is_asked_in_vain(void)
{
	const struct self *self = self_page;

	return self && self->asked && reclaim_is_asked_in_vain(member_of(self->actor.seg, self->member));
}

/* Somebody wants something of this process's heap. */
static inline bool is_called_upon(void)
{
	return helper_is_wanted() || heap_is_flush_wanted() || is_asked_in_vain();
}

enum block { SMALL, LARGE };

static void answer_call(enum block block)
{
	if (helper_is_wanted())
		(block == LARGE ? helper_start : helper_start_by_and_by)();
	if (heap_is_flush_wanted())
		heap_flush_thread();
	if (is_asked_in_vain())
		helper_meet();
}

/* True: again. tsdn is NULL where jemalloc allocates for itself. */
static inline bool is_to_be_tried_again(const void *tsdn, const void *p, enum block block)
{
	if (__builtin_expect(p != NULL && !reclaim_due && !is_called_upon(), 1))
		return false;
	if (!tsdn)
		return false;
	answer_call(block);
	return reclaim_after_heap(p == NULL);
}

void *mc_large_malloc(void *tsdn, void *arena, size_t size, bool zero)
{
	void *p;

	do
		p = je_large_malloc(tsdn, arena, size, zero);
	while (is_to_be_tried_again(tsdn, p, LARGE));
	return jemalloc_came(p);
}

void *mc_arena_malloc_hard(void *tsdn, void *arena, size_t size, unsigned index, bool zero)
{
	void *p;

	do
		p = je_arena_malloc_hard(tsdn, arena, size, index, zero);
	while (is_to_be_tried_again(tsdn, p, SMALL));
	return jemalloc_came(p);
}

void *mc_tcache_alloc_small_hard(void *tsdn, void *arena, void *tcache, void *bin, unsigned index, bool *ret_success)
{
	void *p;

	do
		p = je_tcache_alloc_small_hard(tsdn, arena, tcache, bin, index, ret_success);
	while (is_to_be_tried_again(tsdn, *ret_success ? p : NULL, SMALL));
	return jemalloc_came(p);
}

void *mc_arena_palloc(void *tsdn, void *arena, size_t size, size_t alignment, bool zero, void *tcache)
{
	void *p;

	do
		p = je_arena_palloc(tsdn, arena, size, alignment, zero, tcache);
	while (is_to_be_tried_again(tsdn, p, SMALL));
	return jemalloc_came(p);
}

void *mc_arena_ralloc(void *tsdn, void *arena, void *old, size_t old_size, size_t size, size_t alignment, bool zero,
		      void *tcache, void *hook_args)
{
	void *p;

	do
		p = sites_are_on() && old_size <= JEMALLOC_SMALL_MAX
			    ? jemalloc_ralloc(tsdn, arena, old, old_size, size, alignment, zero, tcache)
			    : je_arena_ralloc(tsdn, arena, old, old_size, size, alignment, zero, tcache, hook_args);
	while (is_to_be_tried_again(tsdn, p, SMALL));
	return jemalloc_came(p);
}

/* What the dynamic linker frees it may free under a lock that making a thread takes: then the helper comes later. */
static inline void after_free(const void *tsdn, enum block block)
{
	if (__builtin_expect(is_called_upon(), 0) && tsdn && !linker_is_near())
		answer_call(block);
}

void mc_large_dalloc(void *tsdn, void *extent)
{
	je_large_dalloc(tsdn, extent);
	after_free(tsdn, LARGE);
}

void mc_tcache_bin_flush_small(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay)
{
	je_tcache_bin_flush_small(tsd, tcache, bin, index, stay);
	after_free(tsd, SMALL);
}

void mc_tcache_bin_flush_large(void *tsd, void *tcache, void *bin, unsigned index, unsigned stay)
{
	je_tcache_bin_flush_large(tsd, tcache, bin, index, stay);
	after_free(tsd, LARGE);
}
