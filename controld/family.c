/* SPDX-License-Identifier: MIT */
/* Families: members that share private pages. */
#include "controld/family.h"

#include "accounting/member.h"
#include "controld/daemon.h"

#define MS 1000000ull
#define ROLLUP_MIN_NS (100 * MS)
#define ROLLUP_SHARE 100u /* times what it costs pass until the next one */
#define ROLLUP_SHARE_ASKED 4u
#define TRIES_MAX 10u

static struct family *family_of(const struct served *s, uint32_t member)
{
	return &s->family[mc_load_relaxed(&member_of(&s->seg, member)->family) % FAMILIES];
}

/* Slot and generation of one, so mixed that sums hardly meet. */
static uint64_t trace(const struct served *s, uint32_t member)
{
	uint64_t n = (uint64_t)mc_load_relaxed(&member_of(&s->seg, member)->generation) << 32 | (member + 1);

	n *= 0x9e3779b97f4a7c15u;
	return n ^ n >> 29;
}

void family_count(struct served *s)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		family_of(s, i)->members = 0;
		family_of(s, i)->who = 0;
		family_of(s, i)->is_due = false;
	}
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		family_of(s, i)->members++;
		family_of(s, i)->who += trace(s, i);
	}
}

bool family_has_relatives(const struct served *s, uint32_t member)
{
	return family_of(s, member)->members > 1;
}

bool family_has_changed(const struct served *s, uint32_t member)
{
	const struct family *f = family_of(s, member);

	return f->members != f->members_rolled && (f->members > 1 || f->members_rolled > 1);
}

void family_make_due(struct served *s, uint32_t member)
{
	family_of(s, member)->is_due = true;
}

bool family_is_due(const struct served *s, uint32_t member)
{
	return (family_of(s, member)->is_due && family_has_relatives(s, member)) || family_has_changed(s, member);
}

void family_note(struct served *s, uint32_t member, bool moved)
{
	if (moved || family_has_changed(s, member))
		family_of(s, member)->is_dirty = true;
}

/* Alone, nothing is shared: no walk. */
static void roll_up_member(struct served *s, uint32_t member)
{
	struct look *l = &s->watch[member].look;
	uint64_t part = l->anon;

	if (!s->watch[member].pid ||
	    (family_has_relatives(s, member) &&
	     s->daemon->world->proportional((pid_t)s->watch[member].pid, &part)))
		family_of(s, member)->is_open = true;
	l->rolled = l->anon > part ? l->anon - part : 0;
}

/* Whether it is this family's turn is decided once, at its first member. */
static bool is_rolling(struct family *f, bool asked, uint64_t now_ns)
{
	uint64_t rest = f->cost_ns * (asked || f->members != f->members_rolled ? ROLLUP_SHARE_ASKED : ROLLUP_SHARE);

	if (f->is_rolling)
		return true;
	if (!asked && rest < ROLLUP_MIN_NS && f->members == f->members_rolled)
		rest = ROLLUP_MIN_NS;
	if (!f->is_dirty || (f->rolled_ns && now_ns - f->rolled_ns < rest))
		return false;
	f->is_rolling = true;
	f->is_open = false;
	f->rolled_ns = now_ns;
	f->who_rolled = f->who;
	f->cost_ns = 0;
	return true;
}

/* One that came or went meanwhile has its part in what the others showed, and would count twice or not at all. The
 * parts from before add up, for a fork alone changes no sum. */
static bool is_closed(struct family *f)
{
	bool closed = (!f->is_open && f->who == f->who_rolled) || f->tries >= TRIES_MAX;

	f->tries = closed ? 0 : f->tries + 1;
	return closed;
}

static void take_parts(struct served *s)
{
	family_count(s);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct family *f = family_of(s, i);

		if (f->is_rolling && is_closed(f)) {
			f->is_dirty = false;
			f->members_rolled = f->members;
			f->who_rolled = f->who;
			f->is_taken = true;
		}
		f->is_rolling = false;
		if (f->is_taken)
			s->watch[i].look.discount = s->watch[i].look.rolled;
	}
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		family_of(s, i)->is_taken = false;
}

void family_roll_up(struct served *s, bool asked, uint64_t now_ns)
{
	const struct world *world = s->daemon->world;
	bool any = false;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		uint64_t began_ns;

		if (!is_rolling(family_of(s, i), asked, now_ns))
			continue;
		any = true;
		began_ns = world->spent_ns();
		roll_up_member(s, i);
		family_of(s, i)->cost_ns += world->spent_ns() - began_ns;
	}
	if (any)
		take_parts(s);
}
