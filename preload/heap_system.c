/* SPDX-License-Identifier: MIT */
/* MEMCTL_ALLOCATOR=system: the heap is the program's own affair, and its pages are found resident. */
#include "preload/heap.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "preload/residency.h"
#include "preload/self.h"

#include <malloc.h>

#define AGAIN_MS 250u
#define WORTH_PAGES 16u

const bool heap_is_ours = false;
static mc_word32 vain_at;
mc_word32 heap_flush_turn;
__thread uint32_t heap_flush_seen;

void heap_start(void)
{
}

void heap_before_fork(void)
{
}

void heap_after_fork(void)
{
}

void heap_start_thread(void)
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

/* When it gave next to nothing: a walk through all of the heap under its locks, for each who asks. */
static bool was_vain_lately(uint32_t now)
{
	uint32_t at = mc_load_relaxed(&vain_at);

	return at && now - at < AGAIN_MS;
}

/* What malloc_trim gave shows in what is resident. It was charged as it became resident, without having been asked for. */
uint64_t heap_reclaim(uint64_t pages)
{
	uint32_t now = reclaim_now();
	const struct self *self = self_get();
	uint64_t before = 0, after = 0, given;

	(void)pages;
	if (!self || was_vain_lately(now) || !residency_private(&before))
		return 0;
	(void)malloc_trim(0);
	given = residency_private(&after) && after < before ? before - after : 0;
	if (given < WORTH_PAGES)
		mc_store_relaxed(&vain_at, now ? now : 1);
	if (self_is_resident(self)) {
		uint32_t account = self_target(self).account;

		charge_uncharge(&self->actor, account,
				account_take(&account_of(self->actor.seg, account)->surplus, given));
	}
	return given;
}

/* glibc's malloc has nothing to say. */
size_t heap_purge(void)
{
	(void)malloc_trim(0);
	return 0;
}

void heap_want_flush(void)
{
}

void heap_flush_thread(void)
{
	heap_flush_seen = mc_load_relaxed(&heap_flush_turn);
}
