/* SPDX-License-Identifier: MIT */
/* Memory that the program could do without for now. */
#include "preload/volatile.h"

#include "accounting/atomic.h"
#include "accounting/layout.h"
#include "accounting/sys.h"
#include "preload/guard.h"
#include "preload/residency.h"
#include "preload/self.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ADDRESS_END ((uintptr_t)1 << 47)

/* [start, end): whole pages. */
struct range {
	uintptr_t start, end;
	uint32_t turn; /* when it was marked */
	bool is_lost;
};

/* Under the guard: sorted by address, disjoint. */
static struct range *range;
static uint32_t ranges;
static uint32_t turn;

static mc_word pages_left;

static uint64_t pages_of(const struct range *r)
{
	return (r->end - r->start) >> MC_PAGE_SHIFT;
}

static uint64_t countable(const struct range *r)
{
	return r->is_lost ? 0 : pages_of(r);
}

/* False: not a range of addresses. Without a whole page: empty. */
static bool whole_pages(void *addr, size_t size, struct range *ret)
{
	uintptr_t at = (uintptr_t)addr;

	if (at > ADDRESS_END || size > ADDRESS_END - at)
		return false;
	*ret = (struct range){ .start = (at + MC_PAGE_SIZE - 1) & ~(uintptr_t)(MC_PAGE_SIZE - 1),
			       .end = (at + size) & ~(uintptr_t)(MC_PAGE_SIZE - 1) };
	if (ret->end < ret->start)
		ret->end = ret->start;
	return true;
}

static bool make_table(void)
{
	long at;

	if (range)
		return true;
	at = sys_mmap(NULL, (VOLATILE_RANGES_MAX + 2) * sizeof(*range), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!sys_is_error(at))
		range = (struct range *)at; /* NOLINT: the kernel's answer is an address */
	return range != NULL;
}

/* The first range that ends behind `at`. */
static uint32_t find(uintptr_t at)
{
	uint32_t low = 0, high = ranges;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (range[middle].end > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Puts n ranges, at most 3, in the place of those from `first` to before `end`. */
static void replace(uint32_t first, uint32_t end, const struct range *with, uint32_t n)
{
	uint64_t gone = 0, come = 0;

	for (uint32_t i = first; i < end; i++)
		gone += countable(&range[i]);
	memmove(&range[first + n], &range[end], (ranges - end) * sizeof(*range));
	for (uint32_t i = 0; i < n; i++) {
		range[first + i] = with[i];
		come += countable(&with[i]);
	}
	ranges = ranges - (end - first) + n;
	mc_add_relaxed(&pages_left, come - gone);
}

/* The ranges that have pages of `r`. */
static void find_common(const struct range *r, uint32_t *ret_first, uint32_t *ret_end)
{
	*ret_first = *ret_end = find(r->start);
	while (*ret_end < ranges && range[*ret_end].start < r->end)
		++*ret_end;
}

static int mark(struct range r)
{
	uint32_t first, end;

	if (!make_table())
		return -ENOMEM;
	find_common(&r, &first, &end);
	if (first == end && ranges >= VOLATILE_RANGES_MAX)
		return -ENOSPC;
	for (uint32_t i = first; i < end; i++) {
		r.start = range[i].start < r.start ? range[i].start : r.start;
		r.end = range[i].end > r.end ? range[i].end : r.end;
		r.is_lost |= range[i].is_lost;
	}
	r.turn = ++turn;
	replace(first, end, &r, 1);
	return 0;
}

int volatile_mark(void *addr, size_t size)
{
	struct range r;
	sigset_t signals;
	int err;

	if (!whole_pages(addr, size, &r))
		return -EINVAL;
	if (r.start == r.end)
		return 0;
	guard_lock(GUARD_VOLATILE, &signals);
	err = mark(r);
	guard_unlock(GUARD_VOLATILE, &signals);
	return err;
}

/* What sticks out at both ends stays marked. */
static int unmark(const struct range *r)
{
	struct range rest[2];
	uint32_t first, end, n = 0;
	bool is_lost = false;

	find_common(r, &first, &end);
	for (uint32_t i = first; i < end; i++)
		is_lost |= range[i].is_lost;
	if (first < end && range[first].start < r->start) {
		rest[n] = range[first];
		rest[n++].end = r->start;
	}
	if (first < end && range[end - 1].end > r->end) {
		rest[n] = range[end - 1];
		rest[n++].start = r->end;
	}
	if (n > end - first && ranges >= VOLATILE_RANGES_MAX)
		return -ENOSPC;
	replace(first, end, rest, n);
	return is_lost;
}

int volatile_unmark(void *addr, size_t size)
{
	struct range r;
	sigset_t signals;
	int ret;

	if (!whole_pages(addr, size, &r))
		return -EINVAL;
	if (r.start == r.end)
		return 0;
	guard_lock(GUARD_VOLATILE, &signals);
	ret = unmark(&r);
	guard_unlock(GUARD_VOLATILE, &signals);
	return ret;
}

uint64_t volatile_pages(void)
{
	return mc_load_relaxed(&pages_left);
}

/* Of those not dropped, the one that was marked first; NULL: there is none. */
static struct range *oldest(void)
{
	struct range *found = NULL;

	for (uint32_t i = 0; i < ranges; i++)
		if (!range[i].is_lost && (!found || (int32_t)(range[i].turn - found->turn) < 0))
			found = &range[i];
	return found;
}

/* By way of the hook: what it held is uncharged. A range that cannot be dropped, since it is locked in memory or not
 * there any more, counts as dropped, too, so that nobody tries again. */
static uint64_t drop(struct range *r)
{
	uint64_t present = residency_count((void *)r->start, pages_of(r));

	mc_sub_relaxed(&pages_left, pages_of(r));
	r->is_lost = true;
	return madvise((void *)r->start, r->end - r->start, MADV_DONTNEED) == 0 ? present : 0;
}

uint64_t volatile_drop(uint64_t pages)
{
	const struct self *self = self_get();
	uint64_t given = 0;
	sigset_t signals;
	struct range *r;

	if (!volatile_pages() || !self || !self_is_resident(self) || !guard_try(GUARD_VOLATILE, &signals))
		return 0;
	while (given < pages && (r = oldest()) != NULL)
		given += drop(r);
	guard_unlock(GUARD_VOLATILE, &signals);
	return given;
}
