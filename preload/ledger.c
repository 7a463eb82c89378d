/* SPDX-License-Identifier: MIT */
/* One byte per page, two levels. */
#include "preload/ledger.h"

#include "accounting/sys.h"

#include <string.h>

#define LEAF_PAGES (1ull << 18) /* 1 GiB of address space */
#define TOP_SIZE (1ull << 17)	/* 47 bits */

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static uint8_t *_Atomic top[TOP_SIZE];

static uint8_t *make_leaf(uint64_t index)
{
	uint8_t *none = NULL;
	uint8_t *leaf;
	long at =
		sys_mmap(NULL, LEAF_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_error(at))
		return NULL;
	leaf = (uint8_t *)at; /* NOLINT: the kernel's answer is an address */
	if (sys_madvise(leaf, LEAF_PAGES, MADV_WIPEONFORK) || !mc_cas_full(&top[index], &none, leaf)) {
		(void)sys_munmap(leaf, LEAF_PAGES);
		return none;
	}
	return leaf;
}

static uint8_t *leaf_of(uint64_t page, bool make)
{
	uint64_t index = page / LEAF_PAGES;
	uint8_t *leaf;

	if (index >= TOP_SIZE)
		return NULL;
	leaf = mc_load_acquire(&top[index]);
	return leaf || !make ? leaf : make_leaf(index);
}

/* How many of `pages` from `page` on lie in its leaf. */
static uint64_t in_leaf(uint64_t page, uint64_t pages)
{
	uint64_t room = LEAF_PAGES - page % LEAF_PAGES;

	return pages < room ? pages : room;
}

static bool make_leaves(uint64_t page, uint64_t pages)
{
	for (uint64_t n; pages; page += n, pages -= n) {
		n = in_leaf(page, pages);
		if (!leaf_of(page, true))
			return false;
	}
	return true;
}

bool ledger_set(const void *addr, uint64_t pages, uint8_t value)
{
	uint64_t page = (uintptr_t)addr >> MC_PAGE_SHIFT;

	if (value && !make_leaves(page, pages))
		return false;
	for (uint64_t n; pages; page += n, pages -= n) {
		uint8_t *leaf = leaf_of(page, false);

		n = in_leaf(page, pages);
		if (leaf)
			memset(leaf + page % LEAF_PAGES, value, n);
	}
	return true;
}

/* Eight at a time. */
uint64_t ledger_run_length(const uint8_t *p, uint64_t n)
{
	uint64_t pattern = p[0] * 0x0101010101010101ull;
	uint64_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t eight;

		memcpy(&eight, p + i, 8);
		if (eight != pattern)
			return i + (uint64_t)(__builtin_ctzll(eight ^ pattern) >> 3);
	}
	while (i < n && p[i] == p[0])
		i++;
	return i;
}

/* False: no room for another run. */
static bool append(struct ledger_runs *runs, uint8_t value, uint64_t pages)
{
	if (runs->n && runs->run[runs->n - 1].value == value) {
		runs->run[runs->n - 1].pages += pages;
		return true;
	}
	if (runs->n == LEDGER_RUNS_MAX)
		return false;
	runs->run[runs->n++] = (struct ledger_run){ .pages = pages, .value = value };
	return true;
}

static uint64_t scan_leaf(uint8_t *p, uint64_t n, bool clear, struct ledger_runs *ret)
{
	for (uint64_t i = 0; i < n;) {
		uint64_t length = ledger_run_length(p + i, n - i);

		if (!append(ret, p[i], length))
			return i;
		if (clear && p[i])
			memset(p + i, 0, length);
		i += length;
	}
	return n;
}

static void scan(const void *addr, uint64_t pages, bool clear, struct ledger_runs *ret)
{
	uint64_t page = (uintptr_t)addr >> MC_PAGE_SHIFT;

	ret->n = 0;
	ret->lost = 0;
	while (pages) {
		uint8_t *leaf = leaf_of(page, false);
		uint64_t n = in_leaf(page, pages);
		uint64_t done = n;

		if (leaf)
			done = scan_leaf(leaf + page % LEAF_PAGES, n, clear, ret);
		else if (!append(ret, 0, n))
			done = 0;
		page += done;
		pages -= done;
		if (done < n)
			break;
	}
	ret->lost = pages;
}

void ledger_read(const void *addr, uint64_t pages, struct ledger_runs *ret)
{
	scan(addr, pages, false, ret);
}

void ledger_take(const void *addr, uint64_t pages, struct ledger_runs *ret)
{
	scan(addr, pages, true, ret);
}

void ledger_take_all(const void *addr, uint64_t pages, uint8_t *ret)
{
	uint64_t page = (uintptr_t)addr >> MC_PAGE_SHIFT;

	for (uint64_t n; pages; page += n, pages -= n, ret += n) {
		uint8_t *leaf = leaf_of(page, false);

		n = in_leaf(page, pages);
		if (!leaf) {
			memset(ret, 0, n);
			continue;
		}
		memcpy(ret, leaf + page % LEAF_PAGES, n);
		memset(leaf + page % LEAF_PAGES, 0, n);
	}
}

void ledger_put_all(const void *addr, uint64_t pages, const uint8_t *values)
{
	const char *at = addr;

	for (uint64_t n; pages; pages -= n, values += n, at += n << MC_PAGE_SHIFT) {
		n = ledger_run_length(values, pages);
		if (*values)
			(void)ledger_set(at, n, *values);
	}
}

void ledger_put(const void *addr, const struct ledger_runs *runs)
{
	const char *at = addr;

	for (unsigned i = 0; i < runs->n; i++) {
		if (runs->run[i].value)
			(void)ledger_set(at, runs->run[i].pages, runs->run[i].value);
		at += runs->run[i].pages << MC_PAGE_SHIFT;
	}
}
