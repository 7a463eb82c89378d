/* SPDX-License-Identifier: MIT */
/*
 * The sampled mappings that live, by address.
 *
 * contract      any thread, signal handlers. One thread works on the table; what others have to say meanwhile (or a
 *               handler that interrupted it) waits in a queue that the worker empties before it leaves, in the order
 *               it came. Nobody waits. Bounded: what finds no room is counted.
 */
#ifndef PRELOAD_RANGES_H
#define PRELOAD_RANGES_H

#include "accounting/atomic.h"

#include <stdbool.h>

#define RANGES_MAX 4096u
#define RANGES_QUEUE 256u

struct range {
	uint64_t start, end;
	uint64_t bytes, count, spread; /* what it stands for */
	uint32_t site;
};

struct range_message {
	mc_word32 state; /* sync: release; 0: free, 1: being written, 2: written */
	bool is_end;
	struct range range;
};

/* Zeroed: empty. */
struct ranges {
	mc_word32 busy;
	mc_word32 n;
	mc_word32 head, tail; /* of the queue */
	mc_word lost;
	struct range range[RANGES_MAX];
	struct range_message message[RANGES_QUEUE];
};

/* Called for what ends: bytes, and with all of it the count and the spread too. */
typedef void (*ranges_end_fn)(const struct range *ended, void *arg);

void ranges_add(struct ranges *r, const struct range *range, ranges_end_fn end, void *arg);
void ranges_remove(struct ranges *r, uint64_t start, uint64_t stop, ranges_end_fn end, void *arg);

static inline bool ranges_are_empty(const struct ranges *r)
{
	return mc_load_relaxed(&r->n) == 0 && mc_load_relaxed(&r->head) == mc_load_relaxed(&r->tail);
}

#endif
