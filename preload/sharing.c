/* SPDX-License-Identifier: MIT */
/* How much of large shared anonymous memory is resident. */
#include "preload/sharing.h"

#include "accounting/clock.h"
#include "accounting/member.h"
#include "preload/residency.h"

#define PAGES_MIN 256u	      /* what is worth to be told */
#define TELL_MAX (1ull << 17) /* pages, at one end */

/* Not wiped in a child. A start of 0: free. */
static struct {
	mc_word start;
	mc_word pages;
} large[MEMBER_TOLD_MAX];

static mc_word32 used; /* some entry was, once */

void sharing_add(const void *addr, size_t size)
{
	uint64_t pages = size >> MC_PAGE_SHIFT;
	unsigned smallest = 0;

	if (pages < PAGES_MIN)
		return;
	for (unsigned i = 1; i < MEMBER_TOLD_MAX; i++)
		if (mc_load_relaxed(&large[i].pages) < mc_load_relaxed(&large[smallest].pages))
			smallest = i;
	if (pages <= mc_load_relaxed(&large[smallest].pages))
		return;
	mc_store_relaxed(&used, 1);
	mc_store_relaxed(&large[smallest].start, (uintptr_t)addr);
	mc_store_relaxed(&large[smallest].pages, pages);
}

static bool overlaps(uint64_t start, uint64_t pages, const void *addr, size_t size)
{
	return start < (uintptr_t)addr + size && (uintptr_t)addr < start + (pages << MC_PAGE_SHIFT);
}

void sharing_drop(const void *addr, size_t size)
{
	if (!addr || !mc_load_relaxed(&used))
		return;
	for (unsigned i = 0; i < MEMBER_TOLD_MAX; i++)
		if (overlaps(mc_load_relaxed(&large[i].start), mc_load_relaxed(&large[i].pages), addr, size)) {
			mc_store_relaxed(&large[i].pages, 0);
			mc_store_relaxed(&large[i].start, 0);
		}
}

/* Exactly, and rounded as the daemon does it: who ends in the millisecond after it began to ask is asked. */
static bool is_asked(const struct segment *seg)
{
	uint32_t at = mc_load_relaxed(&seg->limits->header.tell_at);
	uint32_t now = (uint32_t)(clock_now_ns() / 1000000) | 1;

	return at && (int32_t)(now - at) >= 0;
}

static uint64_t tell(struct told *to, uint64_t start, uint64_t pages)
{
	mc_store_relaxed(&to->pages, residency_count((const void *)start, pages)); /* NOLINT: it is an address */
	mc_store_release(&to->start, start);
	return pages;
}

void sharing_tell(const struct segment *seg, uint32_t member)
{
	uint64_t done = 0;

	if (!mc_load_relaxed(&used) || !is_asked(seg))
		return;
	for (unsigned i = 0; i < MEMBER_TOLD_MAX; i++) {
		uint64_t start = mc_load_relaxed(&large[i].start);
		uint64_t pages = mc_load_relaxed(&large[i].pages);

		if (start && done + pages <= TELL_MAX)
			done += tell(&member_of(seg, member)->told[i], start, pages);
	}
}
