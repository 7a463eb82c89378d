/* SPDX-License-Identifier: MIT */
/* Marks. */
#include "accounting/mark.h"

#include "accounting/group.h"
#include "accounting/sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#define WORDS ((GROUPS_MAX + 1) / 64)

static bool is_set(mc_word *word, unsigned bit)
{
	return mc_load_full(word) >> bit & 1;
}

void mark_ring(const struct segment *seg)
{
	struct counters_header *h = &seg->counters->header;

	mc_add_full(&h->marked, 1); /* [O11] */
	if (mc_load_full(&h->marked_waiting))
		(void)sys_call6(SYS_futex, (long)&h->marked, FUTEX_WAKE, 1, 0, 0, 0);
}

/* A mark that is left standing on purpose, for a while, need not be told again; a crossing is. */
void mark_group(const struct segment *seg, enum mark_reason why, uint16_t group)
{
	struct marks *m = &seg->counters->marks[why];
	unsigned word = group / 64u;
	bool was = is_set(&m->group[word], group % 64u);

	if (was && why != MARK_CROSSED)
		return;
	if (!was)
		(void)mc_or_full(&m->group[word], 1ull << group % 64u);
	if (!is_set(&m->some[word / 64], word % 64))
		(void)mc_or_full(&m->some[word / 64], 1ull << word % 64);
	mark_ring(seg);
}

void mark_path(const struct segment *seg, enum mark_reason why, uint16_t group)
{
	for (; group != GROUP_NIL; group = group_parent(seg, group))
		mark_group(seg, why, group);
}

/* A marker that finds its bit set relies on ours not to be cleared without a look: bits are cleared by the looker. */
static void take_word(struct marks *m, unsigned word, mark_taken *each, void *arg)
{
	uint64_t bits = mc_load_full(&m->group[word]);

	for (; bits; bits &= bits - 1)
		each(arg, (uint16_t)(word * 64 + (unsigned)__builtin_ctzll(bits)));
}

void mark_take(const struct segment *seg, enum mark_reason why, mark_taken *each, void *arg)
{
	struct marks *m = &seg->counters->marks[why];

	for (unsigned i = 0; i < WORDS / 64; i++) {
		uint64_t some = mc_load_relaxed(&m->some[i]) ? mc_exchange_full(&m->some[i], 0) : 0;

		for (; some; some &= some - 1)
			take_word(m, i * 64 + (unsigned)__builtin_ctzll(some), each, arg);
	}
}

void mark_clear(const struct segment *seg, enum mark_reason why, uint16_t group)
{
	(void)mc_and_full(&seg->counters->marks[why].group[group / 64u], ~(1ull << group % 64u));
}

void mark_some_again(const struct segment *seg)
{
	bool found = false;

	for (unsigned why = 0; why < MARKS; why++) {
		struct marks *m = &seg->counters->marks[why];

		for (unsigned i = 0; i < WORDS; i++)
			if (mc_load_relaxed(&m->group[i]) && !is_set(&m->some[i / 64], i % 64)) {
				(void)mc_or_full(&m->some[i / 64], 1ull << i % 64);
				found = true;
			}
	}
	if (found)
		mark_ring(seg);
}

void mark_wait(const struct segment *seg, uint32_t seen, uint64_t timeout_ns)
{
	struct counters_header *h = &seg->counters->header;
	struct timespec t = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	mc_store_full(&h->marked_waiting, 1); /* [O11] */
	if (mc_load_full(&h->marked) == seen)
		(void)sys_call6(SYS_futex, (long)&h->marked, FUTEX_WAIT, (long)seen, timeout_ns ? (long)&t : 0, 0, 0);
	mc_store_full(&h->marked_waiting, 0);
}
