/* SPDX-License-Identifier: MIT */
/* Moving a member to another group. */
#include "controld/move.h"

#include "accounting/member.h"
#include "controld/residency.h"

#include <errno.h>

static uint64_t held_by(const struct served *s, uint32_t account)
{
	return account_held(mc_load_full(&account_of(&s->seg, account)->word));
}

/* True when n units more fit into every group from `to` up to where the groups of both meet: above that nothing
 * changes. */
static bool fits(const struct served *s, uint16_t from, uint16_t to, uint64_t n)
{
	for (uint16_t g = to; g != GROUP_NIL && !group_is_within(&s->seg, from, g); g = group_parent(&s->seg, g))
		if (pool_usage(mc_load_full(&pool_of(&s->seg, RESOURCE_MEMORY, g)->word)) + n >
		    pool_max(&s->seg, RESOURCE_MEMORY, g))
			return false;
	return true;
}

static void shift(struct served *s, uint32_t account, uint64_t n, bool down)
{
	uint64_t meta, held, to;

	do {
		meta = mc_load_full(&account_of(&s->seg, account)->meta);
		held = held_by(s, account);
		to = down ? (held > n ? held - n : 0) : held + n;
	} while (charge_adjust(&s->actor, account, meta, held, to, OVER_LAZY) == -EAGAIN);
}

/* Its account of this group in slot i of its list, or MEMBER_NIL. It can have several: each move with charges
 * brings one along. */
static uint32_t account_in(const struct served *s, uint32_t member, unsigned i, uint16_t group)
{
	uint32_t account = mc_load_full(&member_of(&s->seg, member)->account[i]);
	uint64_t meta = account ? mc_load_full(&account_of(&s->seg, account - 1)->meta) : 0;

	if (!account || account_meta_resource(meta) != RESOURCE_MEMORY || account_meta_group(meta) != group)
		return MEMBER_NIL;
	return account - 1;
}

static uint64_t held_in(const struct served *s, uint32_t member, uint16_t group)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = account_in(s, member, i, group);

		sum += account != MEMBER_NIL ? held_by(s, account) : 0;
	}
	return sum;
}

static bool is_empty(const struct served *s, uint32_t account)
{
	const struct account *a = account_of(&s->seg, account);
	uint64_t word = mc_load_full(&a->word);

	for (unsigned c = 0; c < CLASSES; c++)
		if (mc_load_relaxed(&a->class[c]))
			return false;
	return account_held(word) == 0 && account_stock(word) == 0;
}

/* After its meta was read: a member that execs meanwhile gives its accounts back. A later generation is left alone. */
static bool is_own(const struct served *s, uint32_t member, uint32_t account, uint64_t meta)
{
	return meta && account != MEMBER_NIL && account_meta_resource(meta) == RESOURCE_MEMORY &&
	       mc_load_full(&account_of(&s->seg, account)->member) == member + 1;
}

/* The accounts themselves change their group, so that what the process frees later is given back there, and
 * what it charges meanwhile comes along. */
static void relabel(struct served *s, uint32_t member, uint16_t from, uint16_t to)
{
	mc_add_full(s->actor.open, 1);
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = account_in(s, member, i, from);

		uint64_t meta = account != MEMBER_NIL ? mc_load_full(&account_of(&s->seg, account)->meta) : 0;

		if (is_own(s, member, account, meta) && account_meta_group(meta) == from)
			recount_relabel(&s->seg, account, meta, to);
	}
	mc_sub_full(s->actor.open, 1);
}

/* An account of a group that nothing is held in any more serves the new one: a process that is moved about has
 * room for few. */
static int reuse(struct served *s, uint32_t member, uint16_t from, uint16_t to)
{
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_full(&member_of(&s->seg, member)->account[i]);
		uint64_t meta = account ? mc_load_full(&account_of(&s->seg, --account)->meta) : 0;

		if (!is_own(s, member, account, meta) || account_meta_group(meta) == from || !is_empty(s, account))
			continue;
		mc_add_full(s->actor.open, 1);
		recount_relabel(&s->seg, account, meta, to);
		mc_sub_full(s->actor.open, 1);
		return (int)i;
	}
	return -ENOSPC;
}

static int account_for(struct served *s, uint32_t member, uint16_t from, uint16_t to)
{
	int slot = member_account(&s->seg, member, RESOURCE_MEMORY, to);

	return slot == -ENOSPC ? reuse(s, member, from, to) : slot;
}

/* Part of what one account holds becomes another's. For a moment it counts twice, never not at all. */
static void hand_over(struct served *s, uint32_t member, int source, int target, uint64_t n)
{
	if (source < 0 || target < 0)
		return;
	shift(s, member_account_at(&s->seg, member, (unsigned)target), n, false);
	shift(s, member_account_at(&s->seg, member, (unsigned)source), n, true);
}

/* Shared memory comes along or stays, against what the rest does. */
static void move_shared(struct served *s, uint32_t member, uint16_t from, uint16_t to, uint64_t shared,
			unsigned charges)
{
	const struct segment *seg = &s->seg;

	if (!shared || charges == (MOVE_ANON | MOVE_FILE))
		return;
	if (charges & MOVE_ANON) /* it stays behind */
		hand_over(s, member, member_account(seg, member, RESOURCE_MEMORY, to),
			  member_account(seg, member, RESOURCE_MEMORY, from), shared);
	else
		hand_over(s, member, member_account(seg, member, RESOURCE_MEMORY, from),
			  member_account(seg, member, RESOURCE_MEMORY, to), shared);
}

static int complain_full(const struct served *s, uint16_t to, uint64_t n, struct complaint *why)
{
	char path[GROUP_PATH_MAX];

	(void)group_path(&s->seg, to, path);
	return complain(why, -ENOMEM,
			"the %llu bytes that are to come along do not fit into %.200s: raise its memory.max, or "
			"leave them",
			(unsigned long long)(n << MC_PAGE_SHIFT), path);
}

static uint64_t amount(uint64_t held, uint64_t shared, unsigned charges)
{
	uint64_t private = held > shared ? held - shared : 0;

	return (charges & MOVE_ANON ? private : 0) + (charges & MOVE_FILE ? held - private : 0);
}

int move_member(struct served *s, uint32_t member, uint16_t to, unsigned charges, struct complaint *why)
{
	struct member *m = member_of(&s->seg, member);
	uint16_t from = mc_load_full(&m->group);
	uint64_t n, shared = residency_shared(s, member);

	if (group_state(&s->seg, to) != GROUP_LIVE)
		return complain(why, -ENOENT, "the group was removed just now");
	if (!(charges & MOVE_ANON) && account_for(s, member, from, to) < 0)
		return complain(why, -ENOSPC,
				"the process still holds memory in %u other groups, more cannot be kept apart",
				MEMBER_ACCOUNTS_MAX);
	if (from == to)
		return 0;
	n = amount(held_in(s, member, from), shared, charges);
	if (!fits(s, from, to, n))
		return complain_full(s, to, n, why);
	if (charges & MOVE_ANON)
		relabel(s, member, from, to);
	mc_store_full(&m->group, to); /* once there is an account of it, see self.c */
	if (n)
		move_shared(s, member, from, to, shared, charges);
	return 0;
}
