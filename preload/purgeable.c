/* SPDX-License-Identifier: MIT */
/* How much of the heap is charged and free. */
#include "preload/purgeable.h"

#include "accounting/member.h"
#include "preload/helper.h"
#include "preload/jemalloc_joined.h"
#include "preload/self.h"

#include <stddef.h>

/* Before the process is a member. */
static mc_word early;

static mc_word at_fork;

/* Where in an arena the cache of dirty extents lies: what is freed goes there. The caches that stay empty are asked
 * by the same calls. 0: nothing was freed yet. */
static mc_word dirty_at;

static mc_word given;

/* Of this thread's purge. */
static __thread bool is_limited;
static __thread uint64_t left;

static mc_word *counter(void)
{
	const struct self *self = self_get();

	return self ? &member_of(self->actor.seg, self->member)->purgeable : &early;
}

static uint64_t size_of(const void *extent)
{
	size_t size;

	__builtin_memcpy(&size, (const char *)extent + JE_EXTENT_SIZE_AT, sizeof(size));
	return size >> MC_PAGE_SHIFT;
}

static bool is_dirty(const void *pac, const void *ecache)
{
	return (uint64_t)((const char *)ecache - (const char *)pac) == mc_load_relaxed(&dirty_at);
}

uint64_t purgeable_pages(void)
{
	int64_t pages = (int64_t)mc_load_relaxed(counter());

	return pages > 0 ? (uint64_t)pages : 0;
}

void purgeable_before_fork(void)
{
	mc_store_relaxed(&at_fork, purgeable_pages());
}

void purgeable_after_fork(void)
{
	if (self_get())
		mc_add_relaxed(counter(), mc_load_relaxed(&at_fork));
}

void purgeable_gone(uint64_t pages)
{
	mc_sub_relaxed(counter(), pages);
	mc_add_relaxed(&given, pages);
}

uint64_t purgeable_given(void)
{
	return mc_load_relaxed(&given);
}

static bool is_another_mib(uint64_t before, uint64_t more)
{
	return before >> (20 - MC_PAGE_SHIFT) != (before + more) >> (20 - MC_PAGE_SHIFT);
}

void mc_ecache_dalloc(void *tsdn, void *pac, void *ehooks, void *ecache, void *extent)
{
	uint64_t size = size_of(extent);
	int64_t before = (int64_t)mc_add_relaxed(counter(), size);

	mc_store_relaxed(&dirty_at, (uint64_t)((char *)ecache - (char *)pac));
	if (before >= 0 && is_another_mib((uint64_t)before, size) && helper_is_worth((uint64_t)before + size))
		helper_want();
	je_ecache_dalloc(tsdn, pac, ehooks, ecache, extent);
}

void *mc_ecache_alloc(void *tsdn, void *pac, void *ehooks, void *ecache, void *expand, size_t size, size_t alignment,
		      bool zero, bool guarded)
{
	void *extent = je_ecache_alloc(tsdn, pac, ehooks, ecache, expand, size, alignment, zero, guarded);

	if (extent && is_dirty(pac, ecache))
		mc_sub_relaxed(counter(), size_of(extent));
	return extent;
}

void purgeable_limit(uint64_t pages)
{
	is_limited = pages != 0;
	left = pages;
}

void *mc_ecache_evict(void *tsdn, void *pac, void *ehooks, void *ecache, size_t keep)
{
	void *extent;

	if (is_limited && left == 0)
		return NULL;
	extent = je_ecache_evict(tsdn, pac, ehooks, ecache, keep);
	if (extent && is_limited)
		left -= size_of(extent) < left ? size_of(extent) : left;
	return extent;
}
