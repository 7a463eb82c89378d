/* SPDX-License-Identifier: MIT */
/* Paging out pages of this process. */
#include "preload/pageout.h"

#include "accounting/account.h"
#include "accounting/member.h"
#include "accounting/sys.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define ADJUST_TRIES 16

static bool read_pagemap(const void *addr, unsigned pages, uint64_t *ret)
{
	int fd = sys_openat(AT_FDCWD, "/proc/self/pagemap", O_RDONLY, 0);
	long n;

	if (fd < 0)
		return false;
	n = sys_call6(SYS_pread64, fd, (long)ret, (long)(pages * sizeof(*ret)),
		      (long)((uintptr_t)addr >> MC_PAGE_SHIFT) * (long)sizeof(*ret), 0, 0);
	sys_close(fd);
	return n == (long)(pages * sizeof(*ret));
}

bool pageout_look(const void *addr, unsigned pages, bool ret_present[PAGEOUT_PIECE], unsigned *ret_swapped)
{
	uint64_t entry[PAGEOUT_PIECE];
	unsigned swapped = 0;

	if (!read_pagemap(addr, pages, entry))
		return false;
	for (unsigned i = 0; i < pages; i++) {
		ret_present[i] = entry[i] & PAGEMAP_PRESENT;
		swapped += (entry[i] & PAGEMAP_SWAPPED) != 0;
	}
	if (ret_swapped)
		*ret_swapped = swapped;
	return true;
}

static unsigned count(const bool *present, unsigned pages)
{
	unsigned n = 0;

	for (unsigned i = 0; i < pages; i++)
		n += present[i];
	return n;
}

/* How many pages it takes for `n` that are present. */
static unsigned reach(const bool *present, unsigned pages, unsigned n)
{
	unsigned i = 0;

	for (; i < pages && n; i++)
		n -= present[i];
	return i;
}

static uint32_t swap_account(const struct self *self)
{
	int slot =
		member_account(self->actor.seg, self->member, RESOURCE_SWAP, (uint16_t)mc_load_relaxed(&self->group));

	return slot < 0 ? MEMBER_NIL : member_account_at(self->actor.seg, self->member, (unsigned)slot);
}

/* Charges what fits under memory.swap.max, at most n. */
static unsigned reserve(const struct self *self, uint32_t account, unsigned n)
{
	while (n && charge_try(&self->actor, account, n, NULL))
		n /= 2;
	return n;
}

/* Other threads of this process charge at the same time. */
static void lower(const struct self *self, uint64_t n)
{
	uint32_t account = self_target(self).account;
	struct account *a = account_of(self->actor.seg, account);

	for (int i = 0; n && i < ADJUST_TRIES; i++) {
		uint64_t meta = mc_load_full(&a->meta);
		uint64_t held = account_held(mc_load_full(&a->word));
		uint64_t to = held > n ? held - n : 0;

		if (charge_adjust(&self->actor, account, meta, held, to, OVER_LAZY))
			continue;
		account_note_adjusted(a, held, to);
		return;
	}
}

/* What is neither present nor swapped afterwards was given up by the program (MADV_FREE). */
static void page_out(const struct self *self, uint32_t account, void *addr, unsigned pages, unsigned reserved,
		     struct pageout *ret)
{
	bool present[PAGEOUT_PIECE];
	unsigned before = 0, after = 0, swapped;

	if (!pageout_look(addr, pages, present, &before)) {
		charge_uncharge(&self->actor, account, reserved);
		return;
	}
	ret->gone = count(present, pages);
	(void)sys_madvise(addr, (size_t)pages << MC_PAGE_SHIFT, MADV_PAGEOUT);
	if (!pageout_look(addr, pages, present, &after))
		after = before;
	ret->gone = ret->gone > count(present, pages) ? ret->gone - count(present, pages) : 0;
	swapped = after > before ? after - before : 0;
	if (swapped < reserved)
		charge_uncharge(&self->actor, account, reserved - swapped);
	lower(self, ret->gone);
}

bool pageout_piece(const struct self *self, void *addr, unsigned pages, struct pageout *ret)
{
	uint32_t account = swap_account(self);
	bool present[PAGEOUT_PIECE];
	unsigned n, reserved;

	*ret = (struct pageout){ 0 };
	if (account == MEMBER_NIL || !pageout_look(addr, pages, present, NULL))
		return false;
	n = count(present, pages);
	ret->present = n;
	reserved = reserve(self, account, n);
	ret->is_full = n && !reserved;
	if (reserved)
		page_out(self, account, addr, reach(present, pages, reserved), reserved, ret);
	return true;
}
