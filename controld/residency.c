/* SPDX-License-Identifier: MIT */
/* The truth about resident memory. */
#include "controld/residency.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/family.h"
#include "controld/log.h"
#include "controld/shmem.h"

#include <string.h>

#define MS 1000000ull
#define FIRST_LOOK_NS (20 * MS) /* what only lives for a moment, or is about to exec, is not looked at */
#define PERIOD_MIN_NS (100 * MS)
#define PERIOD_NEAR_NS (50 * MS) /* an overrun shall be noticed within 100 ms, all things together */
#define PERIOD_MAX_NS (1000 * MS)
#define FRESH_NS (5 * MS)
#define LOOKS_MAX 128u /* in one turn: deaths and requests wait for its end */
#define YOUTH_NS (100 * MS)
#define DOUBTED_PAGES 256u /* to be charged at once: measured again first, 3 us */
#define LEAVING_NS (1000 * MS)

static struct look *look_of(const struct served *s, uint32_t member)
{
	return &s->watch[member].look;
}

void residency_forget(struct served *s, uint32_t member)
{
	memset(look_of(s, member), 0, sizeof(struct look));
	shmem_forget(s, member);
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

	return (state == MEMBER_LIVE || state == MEMBER_OBSERVED) && s->watch[member].pid;
}

/* Its old image may be gone already, with what it held, and the new one has not got as far as to us. */
static bool is_execing(const struct served *s, uint32_t member)
{
	return mc_load_full(&member_of(&s->seg, member)->flags) & MEMBER_EXECING;
}

static bool is_observed(const struct served *s, uint32_t member)
{
	return member_state(mc_load_full(&member_of(&s->seg, member)->state)) == MEMBER_OBSERVED;
}

/* What it held is given back, what is resident is gone in a moment: charged again, it would be in the way of whoever
 * comes next. Who lingers is looked at as before. */
static bool is_leaving(const struct served *s, uint32_t member, uint64_t now_ns)
{
	struct look *l = look_of(s, member);

	if (!(mc_load_full(&member_of(&s->seg, member)->flags) & MEMBER_LEAVES))
		return false;
	if (!l->leaving_ns)
		l->leaving_ns = now_ns;
	return now_ns - l->leaving_ns < LEAVING_NS;
}

/* ---- what a member should hold ------------------------------------------------------------------------- */

/* A relative's copies on write change no size, but they are faults. */
static bool has_faulted(struct served *s, uint32_t member)
{
	struct look *l = look_of(s, member);
	uint64_t faults = l->faults;
	bool changed;

	if (!family_has_relatives(s, member) || s->daemon->world->faults((pid_t)s->watch[member].pid, &faults))
		return false;
	changed = faults != l->faults;
	l->faults = faults;
	return changed;
}

static void see(struct served *s, uint32_t member)
{
	struct look *l = look_of(s, member);

	l->is_seen = s->daemon->world->resident((pid_t)s->watch[member].pid, &l->resident) == 0;
}

static void measure(struct served *s, uint32_t member, uint64_t now_ns)
{
	struct look *l = look_of(s, member);
	uint64_t anon = l->anon;

	if (!l->is_seen)
		see(s, member);
	if (!l->is_seen)
		return;
	l->anon = l->resident.anon;
	l->has_part |= !family_has_relatives(s, member);
	if (has_faulted(s, member) || l->anon != anon)
		family_note(s, member, now_ns);
}

static uint64_t private_part(const struct look *l)
{
	return l->anon - (l->discount < l->anon ? l->discount : l->anon);
}

static uint64_t drop(uint64_t from, uint64_t to)
{
	return from > to ? from - to : 0;
}

static uint64_t should_hold(struct served *s, uint32_t member)
{
	struct look *l = look_of(s, member);
	uint64_t paid = shmem_paid(s, member);

	l->taken_over = drop(l->discount, l->discount_held) + drop(l->paid, paid);
	l->discount_held = l->discount;
	l->paid = paid;
	l->total = (family_has_part(s, member) || !family_has_relatives(s, member) ? private_part(l) : 0) + paid;
	mc_store_relaxed(&member_of(&s->seg, member)->offset, l->total - l->anon);
	return l->total;
}

static bool is_committing(const struct served *s, uint32_t member)
{
	uint16_t group = mc_load_full(&member_of(&s->seg, member)->group);

	return s->seg.limits->group[group].charge_mode == CHARGE_COMMIT && !is_observed(s, member);
}

/* ---- and making it so ---------------------------------------------------------------------------------- */

/* What was charged since the last look may be about to be touched; what others pay for now cannot be that. */
static uint64_t lowered(struct look *l, uint64_t held, uint64_t target, uint64_t now_ns)
{
	uint64_t excess, taken;

	held -= l->taken_over < held - target ? l->taken_over : held - target;
	l->taken_over = 0;
	excess = held - target;

	if (l->excess_ns && now_ns - l->excess_ns < YOUTH_NS)
		return held;
	if (!l->excess_ns)
		l->excess = 0;
	taken = l->excess < excess ? l->excess : excess;
	l->excess = excess - taken;
	l->excess_ns = now_ns;
	return held - taken;
}

/* What it has given back since it was measured is not its any more: between a look at all and the swap lie a rollup, other
 * members and perhaps a time slice. What it gives back from here on changes `held`, and the swap fails. */
static uint64_t raised(const struct served *s, uint32_t member, uint64_t held, uint64_t target)
{
	struct world_resident now;
	uint64_t gone;

	if (target < held + DOUBTED_PAGES || is_committing(s, member) ||
	    s->daemon->world->resident((pid_t)s->watch[member].pid, &now))
		return target;
	gone = drop(look_of(s, member)->anon, now.anon);
	return target - (gone < target - held ? gone : target - held);
}

/* True when it was changed. */
static bool hold(struct served *s, uint32_t member, uint32_t account, uint64_t target, uint64_t now_ns)
{
	struct account *a = account_of(&s->seg, account);
	struct look *l = look_of(s, member);
	uint64_t meta = mc_load_full(&a->meta);
	uint64_t held = account_held(mc_load_full(&a->word));
	bool observed = is_observed(s, member);

	if (mc_load_full(&a->member) != member + 1 || (target > held && is_leaving(s, member, now_ns)))
		return false;
	l->untouched = 0;
	if (held > target && !observed && !is_execing(s, member)) {
		uint64_t resident = target;

		target = lowered(l, held, target, now_ns);
		l->untouched = target - resident;
	} else {
		target = raised(s, member, held, target);
		l->excess_ns = 0;
	}
	l->missing = target > held ? target - held : 0;
	if (charge_adjust(&s->actor, account, meta, held, target, observed ? OVER_OBSERVED : OVER_LAZY))
		return true;
	l->missing = 0;
	if (observed)
		mc_store_relaxed(&a->class[CLASS_OBSERVED], target);
	else if (held != target)
		account_note_adjusted(a, held, target);
	return held != target;
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
	elsewhere = member_held_elsewhere(&s->seg, member, account);
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
	l->untouched = l->excess_ns = 0;
	if (total == held || total >= PAGES_MAX)
		return false;
	if (again)
		(void)settle_to(s, member, total, now_ns);
	return true;
}

/* ---- when ---------------------------------------------------------------------------------------------- */

/* What was granted to it, and it may touch without another word. */
static uint64_t granted(const struct served *s, uint32_t member)
{
	uint64_t asked = committed(s, member);
	uint64_t held = member_held(&s->seg, member, RESOURCE_MEMORY);

	return asked < PAGES_MAX && asked > held ? asked - held : 0;
}

/* A quarter below a limit, or where what was granted would pass it, what is touched must be noticed soon. */
static bool is_limit_near(const struct served *s, uint32_t member)
{
	uint16_t g = mc_load_full(&member_of(&s->seg, member)->group);
	uint64_t may_touch = granted(s, member);

	for (; g != GROUP_NIL; g = group_parent(&s->seg, g)) {
		uint64_t max = pool_max(&s->seg, RESOURCE_MEMORY, g);
		uint64_t usage = pool_usage(mc_load_relaxed(&pool_of(&s->seg, RESOURCE_MEMORY, g)->word));

		if (max < PAGES_MAX && (usage > max - max / 4 || usage + may_touch > max))
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
	if (is_limit_near(s, member))
		l->period_ns = PERIOD_NEAR_NS;
	l->at_ns = now_ns;
	l->due_ns = now_ns + l->period_ns;
}

static void settle(struct served *s, uint32_t member, uint64_t now_ns)
{
	struct look *l = look_of(s, member);
	uint64_t total = l->total;
	bool moved = false;

	l->is_chosen = false;
	if (is_committing(s, member))
		moved = settle_committed(s, member, now_ns);
	else if (l->is_seen)
		moved = settle_to(s, member, should_hold(s, member), now_ns) || l->total != total;
	l->is_seen = false;
	schedule(s, member, moved, now_ns);
}

static void choose(struct served *s, uint32_t member)
{
	look_of(s, member)->is_chosen = true;
}

/* Who pays more or less from now on. */
static void choose_payers(struct served *s)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_looked_at(s, i) && look_of(s, i)->due_ns == 1)
			choose(s, i);
}

/* Before anybody is measured: what one maps or touches may be another's to pay for. */
static void look_at_shared(struct served *s, uint32_t member, bool asked, uint64_t now_ns)
{
	struct look *l = look_of(s, member);

	if (is_committing(s, member)) {
		shmem_forget(s, member);
		return;
	}
	see(s, member);
	if (l->is_seen)
		shmem_look(s, member, &l->resident, asked, now_ns);
}

static uint32_t next_chosen(const struct served *s, uint32_t from)
{
	uint32_t i = served_next_member(s, from);

	while (i != MEMBER_NIL && !look_of(s, i)->is_chosen)
		i = served_next_member(s, i + 1);
	return i;
}

/* Each step over all of them: they pay for each other. */
static void look_at_chosen(struct served *s, bool asked, uint64_t now_ns)
{
	for (uint32_t i = next_chosen(s, 0); i != MEMBER_NIL; i = next_chosen(s, i + 1))
		look_at_shared(s, i, asked, now_ns);
	choose_payers(s);
	for (uint32_t i = next_chosen(s, 0); i != MEMBER_NIL; i = next_chosen(s, i + 1))
		if (!is_committing(s, i))
			measure(s, i, now_ns);
	family_roll_up(s, asked, now_ns);
	for (uint32_t i = next_chosen(s, 0); i != MEMBER_NIL; i = next_chosen(s, i + 1))
		settle(s, i, now_ns);
}

static bool is_due(const struct served *s, uint32_t member, uint64_t now_ns)
{
	struct look *l = look_of(s, member);

	if (l->due_ns == 0)
		l->due_ns = now_ns + FIRST_LOOK_NS;
	if (l->at_ns && shmem_is_new(s, member) && !is_committing(s, member))
		return true;
	return l->due_ns <= now_ns || shmem_is_stale(s, member);
}

void residency(struct served *s, uint64_t now_ns)
{
	unsigned chosen = 0;

	family_count(s, now_ns);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL && chosen < LOOKS_MAX;
	     i = served_next_member(s, i + 1))
		if (is_looked_at(s, i) && is_due(s, i, now_ns)) {
			choose(s, i);
			chosen++;
		}
	look_at_chosen(s, false, now_ns);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (look_of(s, i)->due_ns && is_looked_at(s, i))
			served_want_turn(s, look_of(s, i)->due_ns);
}

/* An observed process may still run in the memory of the one that is starting it. */
static bool is_to_be_refreshed(const struct served *s, uint32_t member, uint64_t now_ns)
{
	const struct look *l = look_of(s, member);

	return is_looked_at(s, member) && (l->at_ns || !is_observed(s, member)) &&
	       (now_ns - l->at_ns >= FRESH_NS || family_has_changed(s, member));
}

void residency_refresh(struct served *s, uint16_t group, uint64_t now_ns)
{
	family_count(s, now_ns);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_to_be_refreshed(s, i, now_ns) &&
		    group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, i)->group), group))
			choose(s, i);
	look_at_chosen(s, true, now_ns);
}

int residency_snapshot(struct served *s, uint16_t group, uint64_t now_ns, struct snapshot *ret)
{
	int err;

	residency_refresh(s, group, now_ns);
	err = snapshot_take(&s->seg, RESOURCE_MEMORY, ret);
	if (err)
		return err;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		for (uint16_t g = mc_load_full(&member_of(&s->seg, i)->group); g != GROUP_NIL && g < ret->groups;
		     g = group_parent(&s->seg, g))
			ret->pool[g].untouched += look_of(s, i)->untouched;
	return 0;
}

void residency_look_at(struct served *s, uint32_t member, uint64_t now_ns)
{
	family_count(s, now_ns);
	if (is_looked_at(s, member))
		choose(s, member);
	look_at_chosen(s, true, now_ns);
}

uint64_t residency_shared(const struct served *s, uint32_t member)
{
	const struct look *l = look_of(s, member);

	return is_committing(s, member) || l->total < private_part(l) ? 0 : l->total - private_part(l);
}
