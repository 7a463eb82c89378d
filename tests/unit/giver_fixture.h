/* SPDX-License-Identifier: MIT */
/* Made-up members that have pages to give, and give them when they are asked. */
#ifndef TESTS_UNIT_GIVER_FIXTURE_H
#define TESTS_UNIT_GIVER_FIXTURE_H

#include "tests/unit/controld_fixture.h"

#include "accounting/reclaim.h"

/* A member that holds so much, of which it could give so much. */
static inline uint32_t giver_join(pid_t pid, const char *group, uint64_t held, uint64_t purgeable)
{
	struct fake_process *p = fake_add(pid, 7);
	uint32_t m;

	p->usage.anon = held;
	m = fixture_join(p, group);
	fixture_charge(m, held);
	mc_store_relaxed(&member_of(&fixture.served->seg, m)->purgeable, purgeable);
	reclaim_listen(&fixture.served->seg, m, true);
	return m;
}

static inline void giver_make_group(const char *group)
{
	char more[64];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\"", group);
	fixture_drop(fixture_do("create", more));
}

static inline uint64_t giver_wanted(uint32_t member)
{
	return mc_load_full(&member_of(&fixture.served->seg, member)->wanted);
}

/* As its helper would: gives at most so much of what is wanted. */
static inline void giver_give(uint32_t member, uint64_t most)
{
	const struct segment *seg = &fixture.served->seg;
	struct member *m = member_of(seg, member);
	struct actor by = { .seg = seg, .open = &m->open, .member = member };
	uint32_t ask;
	uint64_t pages = reclaim_take(seg, member, &ask);

	pages = pages < most ? pages : most;
	charge_uncharge(&by, member_account_at(seg, member, 0), pages);
	fake_find((pid_t)member_pid(mc_load_full(&m->state)))->usage.anon -= pages;
	mc_add_relaxed(&m->purgeable, (uint64_t) - (int64_t)pages);
	mc_add_relaxed(&m->scanned, pages);
	mc_add_relaxed(&m->reclaimed, pages);
	reclaim_answer(seg, member, ask);
}

#endif
