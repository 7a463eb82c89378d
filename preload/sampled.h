/* SPDX-License-Identifier: MIT */
/*
 * The sampled small blocks that live, by address: what was said of each when it was allocated, until it is freed.
 *
 * contract      any thread, in malloc and free: no allocation, no lock, nothing waited for. A number is not 0 and below
 *               SAMPLED_NUMBERS. Bounded: who finds no room is told. Addresses below 2^47, multiples of 8.
 * memory        64 bytes for a page of heap, next to those of the pages beside it, 1 MiB in all; made as they are used.
 */
#ifndef PRELOAD_SAMPLED_H
#define PRELOAD_SAMPLED_H

#include "accounting/atomic.h"

#include <stdbool.h>

#define SAMPLED_NUMBERS (1u << 20)
#define SAMPLED_ROWS 16384u
#define SAMPLED_IN_ROW 8u /* a cache line */

/* Zeroed: empty. */
struct sampled {
	/* sync: full; address / 8 above, number below; 0: free */
	_Alignas(64) mc_word slot[SAMPLED_ROWS][SAMPLED_IN_ROW];
};

/* False: no room. ret_old: the number of a block that was here before and whose end nobody told; 0:
 * none. */
bool sampled_put(struct sampled *s, uint64_t address, uint32_t number, uint32_t *ret_old);

/* 0: not there. ret_has_others: some other block of its page is. */
uint32_t sampled_take(struct sampled *s, uint64_t address, bool *ret_has_others);

/* Asks of each block of the address's page that is in question whether it stays; `end` is told of
 * one that would but finds no room any more. What another thread frees meanwhile may be missed;
 * then it stays until its address comes again. */
typedef bool sampled_stays_fn(uint32_t number);
typedef void sampled_end_fn(uint32_t number);
void sampled_ask_page(struct sampled *s, uint64_t address, sampled_stays_fn *is_in_question, sampled_stays_fn *stays,
		      sampled_end_fn *end);

/* Some block of the address's page of 4 KiB is there. */
bool sampled_has_page(struct sampled *s, uint64_t address);

#endif
