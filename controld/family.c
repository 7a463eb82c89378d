/* SPDX-License-Identifier: MIT */
/* Families: members that share private pages. */
#include "controld/family.h"

#include "accounting/member.h"
#include "controld/daemon.h"

#define MS 1000000ull
#define NEWBORN_NS (20 * MS)
#define OPEN_MAX_NS (500 * MS) /* where there is always a newborn, parts that nearly add up are better than old ones */
#define ROLLUP_MIN_NS (100 * MS)
#define ROLLUP_SHARE 150u /* times what it costs pass until the next one */
#define ROLLUP_SHARE_ASKED 4u
#define TURN_NS (2 * MS)
#define TURN_ASKED_NS (20 * MS)

static struct family *family_of(const struct served *s, uint32_t member)
{
	return &s->family[mc_load_relaxed(&member_of(&s->seg, member)->family) % FAMILIES];
}

static struct look *look_of(const struct served *s, uint32_t member)
{
	return &s->watch[member].look;
}

/* ---- who there is -------------------------------------------------------------------------------------- */

/* Slot and generation of one, so mixed that sums hardly meet. */
static uint64_t trace(const struct served *s, uint32_t member)
{
	uint64_t n = (uint64_t)mc_load_relaxed(&member_of(&s->seg, member)->generation) << 32 | (member + 1);

	n *= 0x9e3779b97f4a7c15u;
	return n ^ n >> 29;
}

bool family_has_part(const struct served *s, uint32_t member)
{
	return look_of(s, member)->has_part || !(mc_load_full(&member_of(&s->seg, member)->flags) & MEMBER_FORKED);
}

static bool is_grown(const struct served *s, uint32_t member, uint64_t now_ns)
{
	const struct look *l = look_of(s, member);

	return family_has_part(s, member) || (l->born_ns && now_ns - l->born_ns >= NEWBORN_NS);
}

static void forget_counts(struct served *s)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct family *f = family_of(s, i);

		f->members = f->grown = 0;
		f->who = 0;
	}
}

static bool has_changed(const struct family *f)
{
	return f->who != f->who_rolled && (f->grown > 1 || f->grown_rolled > 1);
}

static void make_dirty(struct family *f, uint64_t now_ns)
{
	if (!f->is_dirty)
		f->dirty_since_ns = now_ns;
	f->is_dirty = true;
}

void family_count(struct served *s, uint64_t now_ns)
{
	forget_counts(s);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct family *f = family_of(s, i);

		if (s->watch[i].pid && !look_of(s, i)->born_ns)
			look_of(s, i)->born_ns = now_ns;
		f->members++;
		if (is_grown(s, i, now_ns)) {
			f->grown++;
			f->who += trace(s, i);
		}
	}
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (has_changed(family_of(s, i)))
			make_dirty(family_of(s, i), now_ns);
}

bool family_has_relatives(const struct served *s, uint32_t member)
{
	return family_of(s, member)->members > 1;
}

bool family_has_changed(const struct served *s, uint32_t member)
{
	return has_changed(family_of(s, member));
}

void family_note(struct served *s, uint32_t member, uint64_t now_ns)
{
	if (family_has_relatives(s, member))
		make_dirty(family_of(s, member), now_ns);
}

/* ---- a rollup ------------------------------------------------------------------------------------------ */

static uint64_t rest_of(const struct family *f, bool asked)
{
	bool soon = asked || has_changed(f);
	uint64_t rest = f->cost_ns * (soon ? ROLLUP_SHARE_ASKED : ROLLUP_SHARE);

	return !soon && rest < ROLLUP_MIN_NS ? ROLLUP_MIN_NS : rest;
}

static void begin(struct family *f, uint64_t now_ns)
{
	f->is_rolling = true;
	f->is_dirty = false;
	f->is_open = f->grown > 1 && f->grown != f->members;
	f->next = 0;
	f->rolled_ns = now_ns;
	f->cost_ns = 0;
	f->grown_rolled = f->grown;
	f->who_rolled = f->who;
}

/* Alone, nothing is shared: no walk. */
static void roll_up_member(struct served *s, uint32_t member, uint64_t now_ns)
{
	const struct world *world = s->daemon->world;
	pid_t pid = (pid_t)s->watch[member].pid;
	struct family *f = family_of(s, member);
	struct look *l = look_of(s, member);
	struct world_resident r;
	uint64_t part;

	l->rolled = 0;
	if (!is_grown(s, member, now_ns) || f->grown < 2)
		return;
	if (!pid || world->resident(pid, &r) || world->proportional(pid, f->members, &part)) {
		f->is_open = true;
		return;
	}
	l->anon = r.anon;
	l->rolled = r.anon > part ? r.anon - part : 0;
}

/* True when all that are rolling are through. */
static bool walk(struct served *s, bool asked, uint64_t now_ns)
{
	const struct world *world = s->daemon->world;
	uint64_t budget = asked ? TURN_ASKED_NS : TURN_NS, spent = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct family *f = family_of(s, i);
		uint64_t began_ns;

		if (f->is_dirty && !f->is_rolling && now_ns - f->rolled_ns >= rest_of(f, asked))
			begin(f, now_ns);
		if (!f->is_rolling || i < f->next)
			continue;
		if (spent >= budget)
			return false;
		began_ns = world->spent_ns();
		roll_up_member(s, i, now_ns);
		began_ns = world->spent_ns() - began_ns;
		f->cost_ns += began_ns;
		spent += began_ns;
		f->next = i + 1;
	}
	return true;
}

/* One that came or went meanwhile has its part in what the others showed, and would count twice or not at all. The
 * parts from before add up, for a fork alone changes no sum. */
static bool is_closed(const struct family *f)
{
	return (!f->is_open && f->who == f->who_rolled && f->grown == f->members) || f->grown < 2;
}

static void end(struct family *f, uint64_t now_ns)
{
	bool closed = is_closed(f), late = now_ns - f->dirty_since_ns >= OPEN_MAX_NS;

	f->is_rolling = false;
	f->is_taken = closed || late;
	f->grown_rolled = f->grown;
	f->who_rolled = f->who;
	if (!closed && late)
		f->dirty_since_ns = now_ns;
	f->is_dirty |= !closed;
}

static void take_parts(struct served *s, uint64_t now_ns)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct family *f = family_of(s, i);
		struct look *l = look_of(s, i);

		if (f->is_rolling)
			end(f, now_ns);
		if (!f->is_taken || !is_grown(s, i, now_ns))
			continue;
		l->discount = l->rolled;
		l->has_part = l->is_chosen = l->is_seen = true;
	}
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		family_of(s, i)->is_taken = false;
}

static void want_turns(struct served *s, uint64_t now_ns)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		const struct family *f = family_of(s, i);

		if (f->is_rolling)
			served_want_turn(s, now_ns);
		else if (f->is_dirty)
			served_want_turn(s, f->rolled_ns + rest_of(f, false));
	}
}

void family_roll_up(struct served *s, bool asked, uint64_t now_ns)
{
	if (walk(s, asked, now_ns)) {
		family_count(s, now_ns);
		take_parts(s, now_ns);
	}
	want_turns(s, now_ns);
}
