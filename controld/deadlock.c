/* SPDX-License-Identifier: MIT */
/* Members of a group that wait for room which only they could make. */
#include "controld/deadlock.h"

#define DEPTH_MAX 64

static uint32_t find(const struct deadlock_member *m, uint32_t count, uint32_t pid)
{
	uint32_t i = 0;

	while (i < count && m[i].pid != pid)
		i++;
	return i;
}

static bool is_waiting(const struct deadlock_member *m)
{
	return m->waits && !m->runs;
}

/* True when `of` is an ancestor of i, through members that stand still. */
static bool descends(const struct deadlock_member *m, uint32_t count, uint32_t i, uint32_t of)
{
	for (int depth = 0; depth < DEPTH_MAX && i < count && !m[i].runs; depth++) {
		if (i == of)
			return true;
		i = m[i].parent ? find(m, count, m[i].parent) : count;
	}
	return false;
}

static bool is_stuck(const struct deadlock_member *m, uint32_t count, uint32_t i)
{
	if (m[i].runs || is_waiting(&m[i]))
		return !m[i].runs;
	for (uint32_t k = 0; k < count; k++)
		if (is_waiting(&m[k]) && descends(m, count, k, i))
			return true;
	return false;
}

bool deadlock_is(const struct deadlock_member *m, uint32_t count, uint64_t missing)
{
	uint64_t others = 0;
	uint32_t waiting = 0;

	for (uint32_t i = 0; i < count; i++) {
		waiting += is_waiting(&m[i]);
		others += is_stuck(m, count, i) ? 0 : m[i].held;
	}
	return waiting >= 2 && others < missing;
}

static bool has_more(const struct deadlock_member *a, const struct deadlock_member *b)
{
	return a->held != b->held ? a->held > b->held : a->start_time < b->start_time;
}

uint32_t deadlock_to_pass(const struct deadlock_member *m, uint32_t count)
{
	uint32_t best = count;

	for (uint32_t i = 0; i < count; i++)
		if (is_waiting(&m[i]) && (best == count || has_more(&m[i], &m[best])))
			best = i;
	return best;
}

uint32_t deadlock_to_refuse(const struct deadlock_member *m, uint32_t count)
{
	uint32_t best = count;

	for (uint32_t i = 0; i < count; i++)
		if (is_waiting(&m[i]) && (best == count || (m[best].has_leave && !m[i].has_leave) ||
					  (m[best].has_leave == m[i].has_leave && has_more(&m[best], &m[i]))))
			best = i;
	return best;
}
