/* SPDX-License-Identifier: MIT */
/* memory.pressure of groups. */
#include "controld/stall.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/psi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define LOOK_NS (500 * MS)
#define READ_LOOK_NS (10 * MS)
#define LATE_NS (2000 * MS) /* so much later a stall may be told: what the longest lasts */
#define ALERT_NS (10000 * MS) /* after a stall; processor times are worth reading so long */

/* What was read of a member last. */
struct past {
	uint32_t generation; /* of the slot */
	bool has_ran;
	uint64_t stall_ns, ran_ns;
};

struct group_stall {
	struct psi psi;
	uint32_t generation; /* the group's, + 1; 0: none yet */
	uint64_t some_ns, ran_ns; /* since the last look */
	uint64_t free_ns;	  /* time that may have been stalled, and is not told as that yet */
	uint64_t idle_ns;	  /* the same, and nobody ran in it */
};

struct stalls {
	uint64_t looked_ns, alert_until_ns;
	struct past past[MEMBERS_MAX];
	struct group_stall group[GROUPS_MAX + 1]; /* pages that no group uses are never touched */
};

int stall_open(struct served *s)
{
	s->stalls = calloc(1, sizeof(*s->stalls));
	return s->stalls ? 0 : -ENOMEM;
}

void stall_close(struct served *s)
{
	free(s->stalls);
	s->stalls = NULL;
}

static struct group_stall *stall_of(const struct served *s, uint16_t group, uint64_t now_ns)
{
	struct group_stall *g = &s->stalls->group[group];
	uint32_t generation = s->seg.limits->group[group].generation + 1;

	if (g->generation != generation) {
		*g = (struct group_stall){ .generation = generation, .free_ns = LOOK_NS };
		psi_start(&g->psi, now_ns);
	}
	return g;
}

/* ---- members --------------------------------------------------------------------------------------------- */

/* Since the last look. A slot that was claimed anew began with 0. */
static uint64_t take_stall(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);
	struct past *p = &s->stalls->past[member];
	uint32_t generation = mc_load_relaxed(&m->generation);
	uint64_t now = mc_load_relaxed(&m->stall_ns);
	uint64_t grown;

	if (p->generation != generation)
		*p = (struct past){ .generation = generation };
	grown = now > p->stall_ns ? now - p->stall_ns : 0;
	p->stall_ns = now;
	return grown;
}

/* When it was not known before, it may have run all the time. */
static uint64_t take_ran(const struct served *s, uint32_t member, uint64_t passed_ns)
{
	struct member *m = member_of(&s->seg, member);
	struct past *p = &s->stalls->past[member];
	uint64_t before = p->ran_ns;
	bool had = p->has_ran;

	p->has_ran = s->daemon->world->ran_ns((pid_t)member_pid(mc_load_full(&m->state)), &p->ran_ns) == 0;
	if (!p->has_ran)
		return 0;
	return !had ? passed_ns : p->ran_ns > before ? p->ran_ns - before : 0;
}

/* ---- groups ---------------------------------------------------------------------------------------------- */

static void add_member(const struct served *s, uint32_t member, uint64_t passed_ns, bool alert, uint64_t now_ns)
{
	uint64_t some_ns = take_stall(s, member);
	uint64_t ran_ns = alert || some_ns ? take_ran(s, member, passed_ns) : 0;

	if (!some_ns && !ran_ns)
		return;
	if (some_ns)
		s->stalls->alert_until_ns = now_ns + ALERT_NS;
	for (uint16_t g = mc_load_full(&member_of(&s->seg, member)->group); g != GROUP_NIL;
	     g = group_parent(&s->seg, g)) {
		stall_of(s, g, now_ns)->some_ns += some_ns;
		stall_of(s, g, now_ns)->ran_ns += ran_ns;
	}
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Stalls are told at their end: they may be longer than what has passed since the last look, but not than all time. */
static void settle(struct group_stall *g, uint64_t passed_ns, bool alert, uint64_t now_ns)
{
	uint64_t some_ns, full_ns;

	g->free_ns = least(g->free_ns + passed_ns, LATE_NS);
	if (!alert)
		g->idle_ns = 0; /* who ran until now is not known */
	g->idle_ns = least(g->idle_ns + passed_ns - least(g->ran_ns, passed_ns), LATE_NS);
	some_ns = least(g->some_ns, g->free_ns);
	full_ns = least(some_ns, g->idle_ns);
	g->free_ns -= some_ns;
	g->idle_ns -= full_ns;
	g->some_ns = g->ran_ns = 0;
	if (some_ns)
		psi_add(&g->psi, some_ns, full_ns, now_ns);
	else
		psi_update(&g->psi, now_ns);
}

static void look(const struct served *s, uint64_t now_ns)
{
	struct stalls *all = s->stalls;
	uint64_t passed_ns = now_ns - all->looked_ns;
	bool alert = now_ns < all->alert_until_ns;

	if (!all->looked_ns)
		passed_ns = 0; /* what was before us is not of now */
	all->looked_ns = now_ns;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		add_member(s, i, passed_ns, alert, now_ns);
	for (uint32_t g = 0; g < mc_load_full(&s->seg.limits->header.groups_used); g++)
		if (all->group[g].generation)
			settle(&all->group[g], passed_ns, alert, now_ns);
}

void stall(struct served *s, uint64_t now_ns)
{
	struct stalls *all = s->stalls;

	if (now_ns - all->looked_ns >= LOOK_NS)
		look(s, now_ns);
	if (now_ns < all->alert_until_ns && !served_is_empty(s))
		served_want_turn(s, all->looked_ns + LOOK_NS);
}

const struct psi *stall_psi(const struct served *s, uint16_t group, uint64_t now_ns)
{
	struct group_stall *g = stall_of(s, group, now_ns);

	if (now_ns - s->stalls->looked_ns >= READ_LOOK_NS)
		look(s, now_ns);
	psi_update(&g->psi, now_ns);
	return &g->psi;
}

void stall_format(const struct served *s, uint16_t group, char *buf, uint64_t now_ns)
{
	struct group_stall *g = stall_of(s, group, now_ns);

	look(s, now_ns);
	psi_update(&g->psi, now_ns);
	(void)psi_format(&g->psi, buf, PSI_TEXT_MAX);
}

void stall_read_all(const struct served *s, uint64_t now_ns, uint32_t groups, struct psi *ret)
{
	look(s, now_ns);
	for (uint32_t g = 0; g < groups; g++) {
		struct group_stall *stall = &s->stalls->group[g];

		if (stall->generation != s->seg.limits->group[g].generation + 1)
			continue;
		psi_update(&stall->psi, now_ns);
		ret[g] = stall->psi;
	}
}
