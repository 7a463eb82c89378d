/* SPDX-License-Identifier: MIT */
/* The truth about resident memory. */
#include "controld/residency.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/log.h"

#include <string.h>

#define MS 1000000ull
#define FIRST_LOOK_NS (20 * MS) /* what only lives for a moment, or is about to exec, is not looked at */
#define PERIOD_MIN_NS (100 * MS)
#define PERIOD_MAX_NS (1000 * MS)
#define FRESH_NS (5 * MS)
#define YOUTH_NS (100 * MS)
#define ROLLUP_MIN_NS (200 * MS)
#define FAMILY_DUE 0x8000u /* in served.family: one of them is due, so all are */
#define ROLLUP_SHARE 100u /* of the time a rollup takes until the next one */

static struct look *look_of(const struct served *s, uint32_t member)
{
	return &s->watch[member].look;
}

void residency_forget(struct served *s, uint32_t member)
{
	memset(look_of(s, member), 0, sizeof(struct look));
}

void residency_restart(struct served *s)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		look_of(s, i)->due_ns = 1;
}

static bool is_looked_at(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);
	enum member_state state = member_state(mc_load_full(&m->state));

	return (state == MEMBER_LIVE || state == MEMBER_OBSERVED) && s->watch[member].pid &&
	       !(mc_load_full(&m->flags) & MEMBER_EXECING);
}

static bool is_observed(const struct served *s, uint32_t member)
{
	return member_state(mc_load_full(&member_of(&s->seg, member)->state)) == MEMBER_OBSERVED;
}

/* ---- families -------------------------------------------------------------------------------------- */

/* Who shares pages with whom. A family's parts only add up when measured together */

static uint16_t *family_of(const struct served *s, uint32_t member)
{
	return &s->family[mc_load_relaxed(&member_of(&s->seg, member)->family) % MEMBERS_MAX];
}

static void count_families(struct served *s)
{
	memset(s->family, 0, MEMBERS_MAX * sizeof(*s->family));
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		++*family_of(s, i);
}

static bool has_relatives(const struct served *s, uint32_t member)
{
	return (*family_of(s, member) & ~FAMILY_DUE) > 1;
}

static void roll_up(struct served *s, uint32_t member, pid_t pid)
{
	const struct world *world = s->daemon->world;
	struct look *l = look_of(s, member);
	uint64_t began_ns = world->now_ns();
	uint64_t part, cost_ns;

	if (world->proportional(pid, &part))
		return;
	l->discount = l->anon > part ? l->anon - part : 0;
	cost_ns = (world->now_ns() - began_ns) * ROLLUP_SHARE;
	l->rollup_due_ns = began_ns + (cost_ns > ROLLUP_MIN_NS ? cost_ns : ROLLUP_MIN_NS);
}

/* ---- what a member should hold ------------------------------------------------------------------------- */

static int measure(struct served *s, uint32_t member, uint64_t now_ns)
{
	pid_t pid = (pid_t)s->watch[member].pid;
	struct look *l = look_of(s, member);
	struct world_resident r;
	int err = s->daemon->world->resident(pid, &r);

	if (err)
		return err;
	l->anon = r.anon;
	l->shared = r.shared;
	if (!has_relatives(s, member))
		l->discount = 0;
	else if (now_ns >= l->rollup_due_ns)
		roll_up(s, member, pid);
	l->total = r.anon - (l->discount < r.anon ? l->discount : r.anon);
	mc_store_relaxed(&member_of(&s->seg, member)->offset, l->total - r.anon);
	return 0;
}

/* ---- and making it so ---------------------------------------------------------------------------------- */

static void shift_hints(struct account *a, uint64_t from, uint64_t to)
{
	uint64_t n = to > from ? to - from : from - to;
	mc_word *first = to > from ? &a->absent : &a->surplus;
	mc_word *second = to > from ? &a->surplus : &a->absent;

	mc_add_relaxed(second, n - account_take(first, n));
}

/* What was charged since the last look may be about to be touched. */
static uint64_t lowered(struct look *l, uint64_t held, uint64_t target, uint64_t now_ns)
{
	uint64_t excess = held - target;
	uint64_t taken;

	if (l->excess_ns && now_ns - l->excess_ns < YOUTH_NS)
		return held;
	if (!l->excess_ns)
		l->excess = 0;
	taken = l->excess < excess ? l->excess : excess;
	l->excess = excess - taken;
	l->excess_ns = now_ns;
	return held - taken;
}

/* True when it was changed. */
static bool hold(struct served *s, uint32_t member, uint32_t account, uint64_t target, uint64_t now_ns)
{
	struct account *a = account_of(&s->seg, account);
	struct look *l = look_of(s, member);
	uint64_t meta = mc_load_full(&a->meta);
	uint64_t held = account_held(mc_load_full(&a->word));
	bool observed = is_observed(s, member);

	if (mc_load_full(&a->member) != member + 1)
		return false;
	if (held > target && !observed)
		target = lowered(l, held, target, now_ns);
	else
		l->excess_ns = 0;
	if (charge_adjust(&s->actor, account, meta, held, target, observed ? OVER_OBSERVED : OVER_LAZY))
		return true;
	if (observed)
		mc_store_relaxed(&a->class[CLASS_OBSERVED], target);
	else if (held != target)
		shift_hints(a, held, target);
	return held != target;
}

/* What other accounts hold: of groups that it was in before. */
static uint64_t held_elsewhere(const struct served *s, uint32_t member, uint32_t account)
{
	return member_held(&s->seg, member, RESOURCE_MEMORY) -
	       account_held(mc_load_full(&account_of(&s->seg, account)->word));
}

/* Memory of former groups that has gone without a word. */
static bool shrink_elsewhere(struct served *s, uint32_t member, uint32_t account, uint64_t n, uint64_t now_ns)
{
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t other = mc_load_full(&member_of(&s->seg, member)->account[i]);
		uint64_t held;

		if (!other || other - 1 == account ||
		    account_meta_resource(mc_load_full(&account_of(&s->seg, other - 1)->meta)) != RESOURCE_MEMORY)
			continue;
		held = account_held(mc_load_full(&account_of(&s->seg, other - 1)->word));
		if (held)
			return hold(s, member, other - 1, held > n ? held - n : 0, now_ns);
	}
	return false;
}

static bool settle_to(struct served *s, uint32_t member, uint64_t total, uint64_t now_ns)
{
	uint16_t group = mc_load_full(&member_of(&s->seg, member)->group);
	int slot = member_account(&s->seg, member, RESOURCE_MEMORY, group);
	uint32_t account;
	uint64_t elsewhere;

	if (slot < 0)
		return false;
	account = member_account_at(&s->seg, member, (unsigned)slot);
	elsewhere = held_elsewhere(s, member, account);
	if (total < elsewhere && account_held(mc_load_full(&account_of(&s->seg, account)->word)) == 0)
		return shrink_elsewhere(s, member, account, elsewhere - total, now_ns);
	return hold(s, member, account, total > elsewhere ? total - elsewhere : 0, now_ns);
}

/* ---- memory.charge=commit ------------------------------------------------------------------------------ */

static uint64_t committed(const struct served *s, uint32_t member)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_full(&member_of(&s->seg, member)->account[i]);
		struct account *a = account ? account_of(&s->seg, account - 1) : NULL;

		for (unsigned c = 0; a && c < CLASSES; c++)
			if (account_meta_resource(mc_load_full(&a->meta)) == RESOURCE_MEMORY)
				sum += mc_load_relaxed(&a->class[c]);
	}
	return sum;
}

static bool is_committing(const struct served *s, uint32_t member)
{
	uint16_t group = mc_load_full(&member_of(&s->seg, member)->group);

	return s->seg.limits->group[group].charge_mode == CHARGE_COMMIT && !is_observed(s, member);
}

/* Only after the key was changed is there anything to do: what was granted or found absent is charged. Two
 * equal readings, for a charge just being made shows in one of the numbers first. */
static bool settle_committed(struct served *s, uint32_t member, uint64_t now_ns)
{
	uint64_t total = committed(s, member);
	uint64_t held = member_held(&s->seg, member, RESOURCE_MEMORY);
	struct look *l = look_of(s, member);
	bool again = l->total == total && l->anon == held;

	l->total = total;
	l->anon = held;
	if (total == held || total >= PAGES_MAX)
		return false;
	if (again)
		(void)settle_to(s, member, total, now_ns);
	return true;
}

/* ---- when ---------------------------------------------------------------------------------------------- */

/* A quarter below a limit what is touched must be noticed soon. */
static bool is_limit_near(const struct served *s, uint32_t member)
{
	uint16_t g = mc_load_full(&member_of(&s->seg, member)->group);

	for (; g != GROUP_NIL; g = group_parent(&s->seg, g)) {
		uint64_t max = pool_max(&s->seg, RESOURCE_MEMORY, g);
		uint64_t usage = pool_usage(mc_load_relaxed(&pool_of(&s->seg, RESOURCE_MEMORY, g)->word));

		if (max < PAGES_MAX && usage > max - max / 4)
			return true;
	}
	return false;
}

static void schedule(struct served *s, uint32_t member, bool moved, uint64_t now_ns)
{
	struct look *l = look_of(s, member);

	if (moved || l->period_ns == 0 || l->excess_ns)
		l->period_ns = PERIOD_MIN_NS;
	else if (l->period_ns < PERIOD_MAX_NS)
		l->period_ns *= 2;
	if (l->period_ns > PERIOD_MAX_NS)
		l->period_ns = PERIOD_MAX_NS;
	if (l->period_ns > PERIOD_MIN_NS && is_limit_near(s, member))
		l->period_ns = PERIOD_MIN_NS;
	l->at_ns = now_ns;
	l->due_ns = now_ns + l->period_ns;
}

static void look(struct served *s, uint32_t member, uint64_t now_ns)
{
	struct look *l = look_of(s, member);
	uint64_t total = l->total;
	bool moved = false;

	if (is_committing(s, member))
		moved = settle_committed(s, member, now_ns);
	else if (measure(s, member, now_ns) == 0)
		moved = settle_to(s, member, l->total, now_ns) || l->total != total;
	schedule(s, member, moved, now_ns);
}

static bool is_due(const struct served *s, uint32_t member, uint64_t now_ns)
{
	struct look *l = look_of(s, member);

	if (l->due_ns == 0)
		l->due_ns = now_ns + FIRST_LOOK_NS;
	return l->due_ns <= now_ns;
}

void residency(struct served *s, uint64_t now_ns)
{
	count_families(s);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_looked_at(s, i) && is_due(s, i, now_ns))
			*family_of(s, i) |= FAMILY_DUE;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		if (!is_looked_at(s, i))
			continue;
		if (is_due(s, i, now_ns) || (*family_of(s, i) & FAMILY_DUE && has_relatives(s, i)))
			look(s, i, now_ns);
		served_want_turn(s, look_of(s, i)->due_ns);
	}
}

void residency_refresh(struct served *s, uint16_t group, uint64_t now_ns)
{
	count_families(s);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		const struct look *l = look_of(s, i);

		if (is_looked_at(s, i) && now_ns - l->at_ns >= FRESH_NS && (l->at_ns || !is_observed(s, i)) &&
		    group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, i)->group), group))
			look(s, i, now_ns);
	}
}
