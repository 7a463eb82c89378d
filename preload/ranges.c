/* SPDX-License-Identifier: MIT */
/* The sampled mappings that live: a sorted table without overlaps. */
#include "preload/ranges.h"

#include <stddef.h>
#include <string.h>

/* The first range that ends above `at`. */
static uint32_t find(const struct ranges *r, uint64_t at)
{
	uint32_t low = 0, high = mc_load_relaxed(&r->n);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (r->range[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool open_gap(struct ranges *r, uint32_t at)
{
	uint32_t n = mc_load_relaxed(&r->n);

	if (n == RANGES_MAX)
		return false;
	memmove(&r->range[at + 1], &r->range[at], (n - at) * sizeof(r->range[0]));
	mc_store_relaxed(&r->n, n + 1);
	return true;
}

static void close_gap(struct ranges *r, uint32_t at)
{
	uint32_t n = mc_load_relaxed(&r->n) - 1;

	memmove(&r->range[at], &r->range[at + 1], (n - at) * sizeof(r->range[0]));
	mc_store_relaxed(&r->n, n);
}

/* What `size` bytes of the range stand for. */
static uint64_t part_of(const struct range *range, uint64_t size)
{
	return (uint64_t)((double)range->bytes * (double)size / (double)(range->end - range->start));
}

/* Takes [start, stop) out of the range at `at`; true when the range is gone. */
static bool cut(struct ranges *r, uint32_t at, uint64_t start, uint64_t stop, ranges_end_fn end, void *arg)
{
	struct range *range = &r->range[at];
	uint64_t low = range->start > start ? range->start : start;
	uint64_t high = range->end < stop ? range->end : stop;
	uint64_t bytes = part_of(range, high - low);

	if (low == range->start && high == range->end) {
		end(range, arg);
		close_gap(r, at);
		return true;
	}
	end(&(struct range){ .site = range->site, .bytes = bytes }, arg);
	if (low > range->start && high < range->end && open_gap(r, at)) { /* two pieces: the first keeps the count */
		struct range *upper = &r->range[at + 1];

		range = &r->range[at];
		upper->bytes = part_of(upper, upper->end - high);
		upper->count = upper->spread = 0;
		range->bytes -= bytes + upper->bytes;
		upper->start = high;
		range->end = low;
		return false;
	}
	range->bytes -= bytes;
	if (low > range->start)
		range->end = low;
	else
		range->start = high;
	return false;
}

static void do_remove(struct ranges *r, uint64_t start, uint64_t stop, ranges_end_fn end, void *arg)
{
	uint32_t at = find(r, start);

	while (at < mc_load_relaxed(&r->n) && r->range[at].start < stop)
		if (!cut(r, at, start, stop, end, arg))
			at++;
}

static void do_add(struct ranges *r, const struct range *range, ranges_end_fn end, void *arg)
{
	uint32_t at;

	do_remove(r, range->start, range->end, end, arg); /* mapped over, or its end was lost */
	at = find(r, range->start);
	if (open_gap(r, at)) {
		r->range[at] = *range;
		return;
	}
	mc_add_relaxed(&r->lost, 1);
	end(range, arg);
}

/* ---- the queue ------------------------------------------------------------------------------------------ */

static void put(struct ranges *r, bool is_end, const struct range *range)
{
	uint32_t at = mc_load_relaxed(&r->tail);
	struct range_message *m;

	do {
		if (at - mc_load_relaxed(&r->head) >= RANGES_QUEUE) {
			mc_add_relaxed(&r->lost, 1);
			return;
		}
	} while (!mc_cas_full(&r->tail, &at, at + 1));
	m = &r->message[at % RANGES_QUEUE];
	m->is_end = is_end;
	m->range = *range;
	mc_store_full(&m->state, 2);
}

/* Only who is busy. */
static void empty(struct ranges *r, ranges_end_fn end, void *arg)
{
	for (;;) {
		uint32_t at = mc_load_full(&r->head);
		struct range_message *m = &r->message[at % RANGES_QUEUE];

		if (at == mc_load_full(&r->tail) || mc_load_full(&m->state) != 2)
			return;
		if (m->is_end)
			do_remove(r, m->range.start, m->range.end, end, arg);
		else
			do_add(r, &m->range, end, arg);
		mc_store_full(&m->state, 0);
		mc_store_full(&r->head, at + 1);
	}
}

static bool has_message(struct ranges *r)
{
	uint32_t at = mc_load_full(&r->head);

	return at != mc_load_full(&r->tail) && mc_load_full(&r->message[at % RANGES_QUEUE].state) == 2;
}

static void work(struct ranges *r, ranges_end_fn end, void *arg)
{
	while (has_message(r)) {
		if (mc_exchange_full(&r->busy, 1))
			return; /* who is busy looks again after */
		empty(r, end, arg);
		mc_store_full(&r->busy, 0);
	}
}

void ranges_add(struct ranges *r, const struct range *range, ranges_end_fn end, void *arg)
{
	put(r, false, range);
	work(r, end, arg);
}

void ranges_remove(struct ranges *r, uint64_t start, uint64_t stop, ranges_end_fn end, void *arg)
{
	const struct range range = { .start = start, .end = stop };

	put(r, true, &range);
	work(r, end, arg);
}
