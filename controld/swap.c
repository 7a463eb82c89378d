/* SPDX-License-Identifier: MIT */
/* What members have in swap. */
#include "controld/swap.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/stock.h"
#include "controld/daemon.h"
#include "controld/family.h"

#define MS 1000000ull
#define PERIOD_NS (1000 * MS)
#define FRESH_NS (5 * MS)

static struct limits *limits_of(const struct served *s, uint16_t group)
{
	return &s->seg.limits->limits[RESOURCE_MEMORY][group];
}

/* ---- what each has --------------------------------------------------------------------------------------- */

static bool is_looked_at(const struct served *s, uint32_t member)
{
	enum member_state state = member_state(mc_load_full(&member_of(&s->seg, member)->state));

	return (state == MEMBER_LIVE || state == MEMBER_OBSERVED) && s->watch[member].pid;
}

static uint64_t held_in(const struct served *s, uint32_t account)
{
	return account_held(mc_load_full(&account_of(&s->seg, account)->word));
}

static void hold(struct served *s, uint32_t account, uint64_t pages)
{
	struct account *a = account_of(&s->seg, account);
	uint64_t meta = mc_load_full(&a->meta);
	uint64_t held = account_held(mc_load_full(&a->word));

	if (held != pages) /* who pages out meanwhile is looked at again */
		(void)charge_adjust(&s->actor, account, meta, held, pages, OVER_LAZY);
}

/* It is with its member: what it had in swap in its former groups counts where it is now. */
static void leave_elsewhere(struct served *s, uint32_t member, uint32_t account)
{
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t other = mc_load_full(&member_of(&s->seg, member)->account[i]);

		if (other && other - 1 != account &&
		    account_meta_resource(mc_load_full(&account_of(&s->seg, other - 1)->meta)) == RESOURCE_SWAP)
			hold(s, other - 1, 0);
	}
}

/* What it has charged and not paged out yet shall not go to waste: another one would pass the limit
 * with it. */
static bool is_paging_out(const struct served *s, uint32_t member)
{
	const struct member *m = member_of(&s->seg, member);

	return mc_load_relaxed(&m->answers) && mc_load_full(&m->cold_ask) != mc_load_full(&m->cold_answered);
}

/* Who has never had any gets no account for it. */
static void settle(struct served *s, uint32_t member, uint64_t pages)
{
	uint16_t group = mc_load_full(&member_of(&s->seg, member)->group);
	int slot = pages ? member_account(&s->seg, member, RESOURCE_SWAP, group)
			 : member_find_account(&s->seg, member, RESOURCE_SWAP, group);
	uint32_t account = slot < 0 ? MEMBER_NIL : member_account_at(&s->seg, member, (unsigned)slot);

	if (account != MEMBER_NIL && (pages > held_in(s, account) || !is_paging_out(s, member)))
		hold(s, account, pages);
	leave_elsewhere(s, member, account);
}

void swap_look_at(struct served *s, uint32_t member)
{
	uint64_t pages;

	if (s->daemon->world->swapped((pid_t)s->watch[member].pid, family_has_relatives(s, member), &pages) == 0)
		settle(s, member, pages);
}

static void look_below(struct served *s, uint16_t group)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_looked_at(s, i) && group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, i)->group), group))
			swap_look_at(s, i);
}

uint64_t swap_used(const struct served *s, uint16_t group)
{
	uint64_t sum = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, i)->group), group))
			sum += member_held(&s->seg, i, RESOURCE_SWAP);
	return sum;
}

/* ---- memsw ----------------------------------------------------------------------------------------------- */

/* Charged, but found not to be resident: it may have gone to swap a moment ago, and shall not count
 * twice. */
static uint64_t untouched(const struct served *s, uint16_t group)
{
	uint64_t sum = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, i)->group), group))
			sum += s->watch[i].look.untouched;
	return sum;
}

uint64_t swap_memsw(const struct served *s, uint16_t group)
{
	uint64_t usage = pool_usage(mc_load_full(&pool_of(&s->seg, RESOURCE_MEMORY, group)->word));
	uint64_t less = untouched(s, group);

	return usage - (less < usage ? less : usage) + swap_used(s, group);
}

uint64_t swap_memsw_limit(const struct served *s, uint16_t group)
{
	uint64_t pages = mc_load_relaxed(&limits_of(s, group)->memsw);

	return pages ? pages : PAGES_MAX;
}

void swap_tighten(const struct served *s, uint16_t group)
{
	struct limits *l = limits_of(s, group);
	uint64_t memsw = mc_load_relaxed(&l->memsw), max = mc_load_relaxed(&l->told_max);
	uint64_t swap = memsw ? swap_used(s, group) : 0;
	uint64_t left = memsw > swap ? memsw - swap : 0;

	if (!memsw)
		return;
	max = left < max ? left : max;
	if (max == mc_load_relaxed(&l->max))
		return;
	mc_store_full(&l->max, max);
	reclaim_wake(&s->seg);
}

/* Refusals since the last look were memsw's where it left less than memory.max. */
static void count_refusals(const struct served *s, uint16_t group)
{
	struct pool *pool = pool_of(&s->seg, RESOURCE_MEMORY, group);
	const struct limits *l = limits_of(s, group);
	uint64_t failcnt = mc_load_relaxed(&pool->failcnt);
	uint64_t seen = mc_exchange_full(&pool->memsw_seen, failcnt);

	if (mc_load_relaxed(&l->max) < mc_load_relaxed(&l->told_max) && failcnt > seen)
		mc_add_relaxed(&pool->memsw_failcnt, failcnt - seen);
}

static void look_at_limit(const struct served *s, uint16_t group)
{
	struct pool *pool = pool_of(&s->seg, RESOURCE_MEMORY, group);
	uint64_t both;

	if (!mc_load_relaxed(&limits_of(s, group)->memsw) || group_state(&s->seg, group) != GROUP_LIVE)
		return;
	count_refusals(s, group);
	swap_tighten(s, group);
	both = swap_memsw(s, group);
	if (both > mc_load_relaxed(&pool->memsw_peak))
		mc_store_relaxed(&pool->memsw_peak, both);
}

/* ---- when ------------------------------------------------------------------------------------------------ */

bool swap_is_there(struct served *s, uint64_t now_ns)
{
	struct world_host host = { 0 };

	if (now_ns - s->swap.asked_ns < PERIOD_NS && s->swap.asked_ns)
		return s->swap.is_any;
	s->swap.asked_ns = now_ns;
	s->swap.is_any = s->daemon->world->host(&host) == 0 && host.swap != 0;
	return s->swap.is_any;
}

/* Once more after swap was switched off: nothing is there any more. */
static bool is_to_look(struct served *s, uint64_t now_ns)
{
	bool had = s->swap.had_any;

	s->swap.had_any = swap_is_there(s, now_ns);
	return had || s->swap.had_any;
}

void swap_refresh(struct served *s, uint16_t group, uint64_t now_ns)
{
	bool fresh = s->swap.looked_ns && now_ns - s->swap.looked_ns < FRESH_NS && s->swap.looked_group == group;

	if (!fresh && is_to_look(s, now_ns))
		look_below(s, group);
	if (!fresh)
		s->swap.looked_ns = now_ns;
	s->swap.looked_group = group;
	for (; group != GROUP_NIL; group = group_parent(&s->seg, group))
		look_at_limit(s, group);
}

void swap_turn(struct served *s, uint64_t now_ns)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);

	if (now_ns >= s->swap.due_ns) {
		s->swap.due_ns = now_ns + PERIOD_NS;
		if (is_to_look(s, now_ns))
			look_below(s, GROUP_ROOT);
		for (uint32_t g = 0; g < groups; g++)
			look_at_limit(s, (uint16_t)g);
	}
	if (s->swap.had_any && served_next_member(s, 0) != MEMBER_NIL)
		served_want_turn(s, s->swap.due_ns);
}
