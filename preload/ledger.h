/* SPDX-License-Identifier: MIT */
/* Which pages of this process are charged, to which of its accounts, as what: one byte per page.
 *
 * contract      any thread, signal handlers. Two threads at the same page at once is the program's own
 *               race (it maps and unmaps one address in two threads); then a byte may be wrong, nothing
 *               else. Leaves appear by compare-and-swap and stay.
 * fork          leaves are MADV_WIPEONFORK: a child reads zeros, so it owns nothing it inherited and
 *               never uncharges what it did not pay for. vfork and CLONE_VM share the mm, and the ledger.
 * value         0: not charged by us. Low four bits: class + 1, with LEDGER_LAZY where it was granted but
 *               not charged, or LEDGER_RESERVED; high four bits: the entry of member.account.
 * price         10 ns for 16 pages; one leaf of 256 KiB for each GiB of address space in use.
 */
#ifndef PRELOAD_LEDGER_H
#define PRELOAD_LEDGER_H

#include "accounting/layout.h"

#include <stddef.h>

/* Private anonymous pages that cannot be touched yet (PROT_NONE): mprotect makes them anon. */
#define LEDGER_RESERVED 0x0fu

/* Charged by what becomes resident of it (memory.charge=resident). */
#define LEDGER_LAZY 0x08u

#define LEDGER_RUNS_MAX 16

/* Consecutive pages with one value. */
struct ledger_run {
	uint64_t pages;
	uint8_t value;
};

/* What a range held, in order of address. `lost`: pages behind the last run that fits; their values stay
 * in the ledger, and the caller goes on from there. */
struct ledger_runs {
	unsigned n;
	uint64_t lost;
	struct ledger_run run[LEDGER_RUNS_MAX];
};

static inline uint8_t ledger_value(unsigned slot, enum class class)
{
	return (uint8_t)(slot << 4 | ((unsigned)class + 1));
}

static inline bool ledger_is_reserved(uint8_t value)
{
	return (value & 0x0f) == LEDGER_RESERVED;
}

static inline bool ledger_is_lazy(uint8_t value)
{
	return value & LEDGER_LAZY && !ledger_is_reserved(value);
}

static inline bool ledger_is_charged(uint8_t value)
{
	return (value & 0x0f) != 0 && !(value & LEDGER_LAZY);
}

static inline unsigned ledger_slot(uint8_t value)
{
	return value >> 4;
}

static inline enum class ledger_class(uint8_t value) { return (enum class)((value & 0x07) - 1); }

/* Writes `value` for `pages` pages from addr. False when a leaf could not be made (out of memory, or an
 * address beyond 47 bits): then none of the pages is recorded. */
bool ledger_set(const void *addr, uint64_t pages, uint8_t value);

/* Reads what a range holds. */
void ledger_read(const void *addr, uint64_t pages, struct ledger_runs *ret);

/* Reads and clears; pages that `ret` has no room for stay as they are. */
void ledger_take(const void *addr, uint64_t pages, struct ledger_runs *ret);

/* For ranges of more runs: moves the values to `ret`, a byte for each page, and back. */
void ledger_take_all(const void *addr, uint64_t pages, uint8_t *ret);
void ledger_put_all(const void *addr, uint64_t pages, const uint8_t *values);

/* Length of the run of equal values at `values`, at most n. */
uint64_t ledger_run_length(const uint8_t *values, uint64_t n);

/* Puts runs back where they were taken. */
void ledger_put(const void *addr, const struct ledger_runs *runs);

#endif
