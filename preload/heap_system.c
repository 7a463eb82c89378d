/* SPDX-License-Identifier: MIT */
/* MEMCTL_ALLOCATOR=system: the heap is the program's own affair, and its pages are found resident. */
#include "preload/heap.h"

#include "accounting/member.h"
#include "preload/residency.h"
#include "preload/self.h"

#include <malloc.h>

const bool heap_is_ours = false;
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

/* What malloc_trim gave shows in what is resident. It was charged as it became resident, without having been asked for. */
uint64_t heap_reclaim(uint64_t pages)
{
	const struct self *self = self_get();
	uint64_t before = 0, after = 0, given;

	(void)pages;
	if (!self || !residency_private(&before))
		return 0;
	(void)malloc_trim(0);
	if (!residency_private(&after) || after >= before)
		return 0;
	given = before - after;
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
