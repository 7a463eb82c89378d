/* SPDX-License-Identifier: MIT */
/* What one member holds in one pool. Claiming and freeing; the words' encoding. */
#ifndef ACCOUNTING_ACCOUNT_H
#define ACCOUNTING_ACCOUNT_H

#include "accounting/pool.h"

#define ACCOUNT_STOCK_BITS 14
#define ACCOUNT_HELD_BITS 36
#define ACCOUNT_STOCK_MAX ((1u << ACCOUNT_STOCK_BITS) - 1)
#define ACCOUNT_HELD_MAX ((1ull << ACCOUNT_HELD_BITS) - 1)

static inline uint64_t account_word(uint32_t epoch, uint64_t held, uint64_t stock)
{
	return (uint64_t)epoch << (ACCOUNT_HELD_BITS + ACCOUNT_STOCK_BITS) | held << ACCOUNT_STOCK_BITS | stock;
}

static inline uint32_t account_epoch(uint64_t word)
{
	return (uint32_t)(word >> (ACCOUNT_HELD_BITS + ACCOUNT_STOCK_BITS));
}

static inline uint64_t account_held(uint64_t word)
{
	return (word >> ACCOUNT_STOCK_BITS) & ACCOUNT_HELD_MAX;
}

static inline uint64_t account_stock(uint64_t word)
{
	return word & ACCOUNT_STOCK_MAX;
}

static inline uint16_t account_meta_group(uint64_t meta)
{
	return (uint16_t)meta;
}

static inline uint32_t account_meta_generation(uint64_t meta)
{
	return (uint32_t)(meta >> 32);
}

/* The member inherited what is in it: the daemon alone charges there. */
#define ACCOUNT_INHERITED 0x80u /* of the slot */

static inline bool account_meta_is_inherited(uint64_t meta)
{
	return meta >> 16 & ACCOUNT_INHERITED;
}

/* Numbers that all can write are brought into their range where they are used: a program with a wild pointer may make
 * them wrong, and a recount puts that right, but never lead another one out of the segment. */
static inline unsigned account_meta_resource(uint64_t meta)
{
	return (unsigned)(meta >> 24) % RESOURCES_MAX;
}

/* False: the word is of another epoch. An account that holds nothing may have been claimed with an epoch that was over
 * when it was written; no recount will look at it again. */
static inline bool account_counts_in(uint64_t word, uint32_t epoch)
{
	return account_epoch(word) == epoch ||
	       (epoch_is_older(account_epoch(word), epoch) && account_held(word) == 0 && account_stock(word) == 0);
}

static inline struct account *account_of(const struct segment *seg, uint32_t account)
{
	return &seg->counters->account[account % ACCOUNTS_MAX];
}

/* One more than the highest account that was ever claimed [O7]. */
static inline uint32_t account_mark(const struct segment *seg)
{
	uint32_t mark = mc_load_full(&seg->counters->header.accounts_used);

	return mark < ACCOUNTS_MAX ? mark : ACCOUNTS_MAX;
}

/* Claims a free account for `member` in (resource, group); word and class counters are 0 and of the
 * current epoch. -ENOSPC: ACCOUNTS_MAX are in use; -ENOMEM: the file system of the segment is full.
 * Lock-free; anybody may claim for a member whose slot he owns. */
int account_claim(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group, unsigned slot,
		  uint32_t *ret_account);

/* Gives an account back; its generation is raised. Nothing should be held or in stock; what an adjuster who came too
 * late has left there is recounted away. The caller has an open counter up. */
void account_free(const struct segment *seg, uint32_t account);

/* Takes n from a counter, or what there is; returns how much. */
static inline uint64_t account_take(mc_word *counter, uint64_t n)
{
	uint64_t seen = mc_load_relaxed(counter);
	uint64_t taken;

	do {
		if (seen == 0 || n == 0)
			return 0;
		taken = seen < n ? seen : n;
	} while (!mc_cas_full(counter, &seen, seen - taken));
	return taken;
}

/* After an adjustment of what is held: what was found touched was absent before, or never charged; what was found gone
 * was never charged, or is absent now. */
static inline void account_note_adjusted(struct account *a, uint64_t from, uint64_t to)
{
	uint64_t n = to > from ? to - from : from - to;
	mc_word *first = to > from ? &a->absent : &a->surplus;
	mc_word *second = to > from ? &a->surplus : &a->absent;

	mc_add_relaxed(second, n - account_take(first, n));
}

/* Adds to (or, negative, takes from) what is held under a class; a statistic. */
static inline void account_class_add(const struct segment *seg, uint32_t account, enum class class, int64_t n)
{
	mc_add_relaxed(&account_of(seg, account)->class[class], (uint64_t)n);
}

#endif
