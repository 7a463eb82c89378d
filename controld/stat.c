/* SPDX-License-Identifier: MIT */
/* memory.stat. */
#include "controld/stat.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/residency.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Moves up to `most` pages of what is left into a row. */
static void take(uint64_t *left, uint64_t most, uint64_t *row)
{
	uint64_t n = least(*left, most);

	*left -= n;
	*row += n;
}

/* Class counters are statistics: between two of its steps a member's can be below 0. */
static uint64_t class_of(const struct account *a, enum class class)
{
	uint64_t pages = mc_load_relaxed(&((struct account *)(uintptr_t)a)->class[class]);

	return pages < PAGES_MAX ? pages : 0;
}

static uint64_t committed(const struct account *a)
{
	uint64_t sum = 0;

	for (unsigned c = 0; c < CLASSES; c++)
		sum += class_of(a, (enum class)c);
	return sum;
}

/* What one account holds, less what is untouched, by what it is. `usage` is its process's, where it is the account
 * that the process charges now; memory of former groups is told apart by class alone. */
static void split(const struct account *a, uint64_t held, uint64_t shared, const struct world_usage *usage,
		  uint64_t *ret)
{
	take(&held, shared, &ret[STAT_SHMEM]);
	take(&held, class_of(a, CLASS_OBSERVED), &ret[STAT_OBSERVED]);
	take(&held, usage->locked > class_of(a, CLASS_PINNED) ? usage->locked : class_of(a, CLASS_PINNED),
	     &ret[STAT_PINNED]);
	take(&held, class_of(a, CLASS_HEAP), &ret[STAT_HEAP]);
	take(&held, class_of(a, CLASS_STACK) + usage->stack, &ret[STAT_STACK]);
	take(&held, held, &ret[STAT_ANON]);
}

static bool is_committing(const struct served *s, uint16_t group)
{
	return s->seg.limits->group[group].charge_mode == CHARGE_COMMIT;
}

static void add_account(const struct served *s, uint32_t member, uint32_t account, const struct world_usage *usage,
			uint64_t *ret)
{
	struct world_usage locked = { .locked = usage->locked };
	static const struct world_usage none;
	const struct look *l = &s->watch[member].look;
	struct account *a = account_of(&s->seg, account);
	uint16_t group = account_meta_group(mc_load_full(&a->meta));
	uint64_t held = account_held(mc_load_full(&a->word));
	bool is_current = group == mc_load_full(&member_of(&s->seg, member)->group);
	uint64_t charged = held;

	if (is_committing(s, group)) {
		split(a, held, class_of(a, CLASS_SHMEM), is_current ? &locked : &none, ret);
	} else if (is_current) {
		held -= least(held, l->untouched);
		split(a, held, residency_shared(s, member), usage, ret);
	} else {
		split(a, held, class_of(a, CLASS_SHMEM), &none, ret);
	}
	ret[STAT_COMMITTED] += committed(a);
	ret[STAT_GRANTED] += committed(a) - least(committed(a), charged);
}

static void add_member(const struct served *s, uint32_t member, uint16_t group, uint64_t *ret)
{
	struct member *m = member_of(&s->seg, member);
	int64_t purgeable = (int64_t)mc_load_relaxed(&m->purgeable);
	struct world_usage usage = { 0 };
	bool is_here = group_is_within(&s->seg, mc_load_full(&m->group), group);

	if (is_here && s->daemon->world->usage((pid_t)member_pid(mc_load_full(&m->state)), &usage) == 0) {
		ret[STAT_FILE] += usage.file;
		ret[STAT_SWAP] += usage.swap;
		ret[STAT_PURGEABLE] += purgeable > 0 ? (uint64_t)purgeable : 0;
	}
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_full(&m->account[i]);
		uint64_t meta = account ? mc_load_full(&account_of(&s->seg, account - 1)->meta) : 0;

		if (account && account_meta_resource(meta) == RESOURCE_MEMORY &&
		    group_is_within(&s->seg, account_meta_group(meta), group))
			add_account(s, member, account - 1, &usage, ret);
	}
	if (is_here && !is_committing(s, mc_load_full(&m->group)))
		ret[STAT_UNACCOUNTED] += s->watch[member].look.missing;
}

void stat_take(const struct served *s, uint16_t group, const struct snapshot *snap, uint64_t *ret)
{
	const struct snapshot_pool *p = &snap->pool[group];

	for (unsigned i = 0; i < STATS; i++)
		ret[i] = 0;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		add_member(s, i, group, ret);
	ret[STAT_UNTOUCHED] = p->untouched;
	ret[STAT_STOCK] = p->usage > p->current ? p->usage - p->current : 0;
}

/* ---- all groups at once ---------------------------------------------------------------------- */

static void add_to_groups(const struct served *s, uint32_t member, bool thorough, uint32_t groups,
			  uint64_t (*ret)[STATS])
{
	struct member *m = member_of(&s->seg, member);
	int64_t purgeable = (int64_t)mc_load_relaxed(&m->purgeable);
	uint16_t here = mc_load_full(&m->group);
	struct world_usage usage = { 0 };

	if (here >= groups)
		return;
	if (thorough)
		(void)s->daemon->world->usage((pid_t)member_pid(mc_load_full(&m->state)), &usage);
	ret[here][STAT_FILE] += usage.file;
	ret[here][STAT_SWAP] += usage.swap;
	ret[here][STAT_PURGEABLE] += purgeable > 0 ? (uint64_t)purgeable : 0;
	if (!is_committing(s, here))
		ret[here][STAT_UNACCOUNTED] += s->watch[member].look.missing;
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_full(&m->account[i]);
		uint64_t meta = account ? mc_load_full(&account_of(&s->seg, account - 1)->meta) : 0;

		if (account && account_meta_resource(meta) == RESOURCE_MEMORY && account_meta_group(meta) < groups)
			add_account(s, member, account - 1, &usage, ret[account_meta_group(meta)]);
	}
}

void stat_take_all(const struct served *s, const struct snapshot *snap, bool thorough, uint64_t (*ret)[STATS])
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		add_to_groups(s, i, thorough, snap->groups, ret);
	for (int depth = GROUP_DEPTH_MAX; depth > 0; depth--)
		for (uint32_t g = 1; g < snap->groups; g++) {
			uint16_t parent = group_parent(&s->seg, (uint16_t)g);

			for (unsigned i = 0;
			     s->seg.limits->group[g].depth == depth && parent < snap->groups && i < STATS; i++)
				ret[parent][i] += ret[g][i];
		}
	for (uint32_t g = 0; g < snap->groups; g++) {
		const struct snapshot_pool *p = &snap->pool[g];

		ret[g][STAT_UNTOUCHED] = p->untouched;
		ret[g][STAT_STOCK] = p->usage > p->current ? p->usage - p->current : 0;
	}
}
