/* SPDX-License-Identifier: MIT */
/* memory.pressure and dmem.pressure of groups. */
#include "controld/stall.h"

#include "accounting/member.h"
#include "accounting/region.h"
#include "controld/daemon.h"
#include "controld/psi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define LOOK_NS (500 * MS)
#define READ_LOOK_NS (10 * MS)
#define LATE_NS (2000 * MS)   /* so much later a stall may be told: what the longest lasts */
#define ALERT_NS (10000 * MS) /* after a stall; processor times are worth reading so long */

/* What was read of a member last. */
struct past {
	uint32_t generation; /* of the slot */
	bool has_ran;
	uint64_t stall_ns, ran_ns;
};

/* Of a region: stalls alone. */
struct past_region {
	uint32_t generation;
	uint64_t stall_ns;
};

struct group_stall {
	struct psi psi;
	uint32_t generation;	  /* the group's, + 1; 0: none yet */
	uint64_t some_ns, ran_ns; /* since the last look */
	uint64_t free_ns;	  /* time that may have been stalled, and is not told as that yet */
	uint64_t idle_ns;	  /* the same, and nobody ran in it */
};

/* Pages that no member or group uses are never touched. */
struct region_stalls {
	struct past_region past[MEMBERS_MAX];
	struct group_stall group[GROUPS_MAX + 1];
};

struct stalls {
	uint64_t looked_ns, alert_until_ns;
	struct past past[MEMBERS_MAX];
	struct group_stall group[GROUPS_MAX + 1];    /* pages that no group uses are never touched */
	struct region_stalls *region[RESOURCES_MAX]; /* NULL: not met yet */
};

int stall_open(struct served *s)
{
	s->stalls = calloc(1, sizeof(*s->stalls));
	return s->stalls ? 0 : -ENOMEM;
}

void stall_close(struct served *s)
{
	for (unsigned r = 0; s->stalls && r < RESOURCES_MAX; r++)
		free(s->stalls->region[r]);
	free(s->stalls);
	s->stalls = NULL;
}

/* Of host memory's, or of a region that was met. */
static struct group_stall *stall_of(const struct served *s, unsigned resource, uint16_t group, uint64_t now_ns)
{
	struct group_stall *g =
		resource == RESOURCE_MEMORY ? &s->stalls->group[group] : &s->stalls->region[resource]->group[group];
	uint32_t generation = s->seg.limits->group[group].generation + 1;

	if (g->generation != generation) {
		*g = (struct group_stall){ .generation = generation, .free_ns = LOOK_NS };
		psi_start(&g->psi, now_ns);
	}
	return g;
}

/* False: there is no memory for it. */
static bool meet(const struct served *s, unsigned region)
{
	struct region_stalls **at = &s->stalls->region[region];

	if (!*at)
		*at = calloc(1, sizeof(**at));
	return *at != NULL;
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

uint64_t stall_of_member(const struct served *s, uint32_t member, unsigned resource)
{
	struct member *m = member_of(&s->seg, member);
	uint64_t sum = 0;

	if (resource == RESOURCE_MEMORY)
		return mc_load_relaxed(&m->stall_ns);
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_acquire(&m->account[i]);
		const struct account *a = account && account <= ACCOUNTS_MAX ? account_of(&s->seg, account - 1) : NULL;

		if (a && account_meta_resource(mc_load_relaxed(&a->meta)) == resource)
			sum += mc_load_relaxed(&a->stall_ns);
	}
	return sum;
}

/* When an account has gone, what stood there has, too. */
static uint64_t take_region_stall(const struct served *s, uint32_t member, unsigned region)
{
	struct past_region *p = &s->stalls->region[region]->past[member];
	uint32_t generation = mc_load_relaxed(&member_of(&s->seg, member)->generation);
	uint64_t now = stall_of_member(s, member, region);
	uint64_t before = p->generation == generation ? p->stall_ns : 0;

	*p = (struct past_region){ .generation = generation, .stall_ns = now };
	return now > before ? now - before : 0;
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

/* What a member stood for want of each resource since the last look; returns all of it. */
static uint64_t take_stalls(const struct served *s, uint32_t member, uint64_t *ret)
{
	uint64_t sum = ret[RESOURCE_MEMORY] = take_stall(s, member);

	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1)) {
		ret[r] = s->stalls->region[r] ? take_region_stall(s, member, r) : 0;
		sum += ret[r];
	}
	return sum;
}

static void add_to_groups(const struct served *s, unsigned resource, uint16_t group, uint64_t some_ns, uint64_t ran_ns,
			  uint64_t now_ns)
{
	for (uint16_t g = group; g != GROUP_NIL; g = group_parent(&s->seg, g)) {
		stall_of(s, resource, g, now_ns)->some_ns += some_ns;
		stall_of(s, resource, g, now_ns)->ran_ns += ran_ns;
	}
}

static void add_member(const struct served *s, uint32_t member, uint64_t passed_ns, bool alert, uint64_t now_ns)
{
	uint64_t stalls[RESOURCES_MAX] = { 0 };
	uint64_t all_ns = take_stalls(s, member, stalls);
	uint64_t ran_ns = alert || all_ns ? take_ran(s, member, passed_ns) : 0;
	uint16_t group = mc_load_full(&member_of(&s->seg, member)->group);

	if (!all_ns && !ran_ns)
		return;
	if (all_ns)
		s->stalls->alert_until_ns = now_ns + ALERT_NS;
	add_to_groups(s, RESOURCE_MEMORY, group, stalls[RESOURCE_MEMORY], ran_ns, now_ns);
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		if (s->stalls->region[r])
			add_to_groups(s, r, group, stalls[r], ran_ns, now_ns);
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

static void settle_all(const struct served *s, struct group_stall *group, uint64_t passed_ns, bool alert,
		       uint64_t now_ns)
{
	for (uint32_t g = 0; g < mc_load_full(&s->seg.limits->header.groups_used); g++)
		if (group[g].generation)
			settle(&group[g], passed_ns, alert, now_ns);
}

static void look(const struct served *s, uint64_t now_ns)
{
	struct stalls *all = s->stalls;
	uint64_t passed_ns = now_ns - all->looked_ns;
	bool alert = now_ns < all->alert_until_ns;

	if (!all->looked_ns)
		passed_ns = 0; /* what was before us is not of now */
	all->looked_ns = now_ns;
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		(void)meet(s, r);
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		add_member(s, i, passed_ns, alert, now_ns);
	settle_all(s, all->group, passed_ns, alert, now_ns);
	for (unsigned r = 0; r < RESOURCES_MAX; r++)
		if (all->region[r])
			settle_all(s, all->region[r]->group, passed_ns, alert, now_ns);
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
	struct group_stall *g = stall_of(s, RESOURCE_MEMORY, group, now_ns);

	if (now_ns - s->stalls->looked_ns >= READ_LOOK_NS)
		look(s, now_ns);
	psi_update(&g->psi, now_ns);
	return &g->psi;
}

static void format(struct group_stall *g, char *buf, uint64_t now_ns)
{
	psi_update(&g->psi, now_ns);
	(void)psi_format(&g->psi, buf, PSI_TEXT_MAX);
}

void stall_format(const struct served *s, uint16_t group, char *buf, uint64_t now_ns)
{
	look(s, now_ns);
	format(stall_of(s, RESOURCE_MEMORY, group, now_ns), buf, now_ns);
}

int stall_format_region(const struct served *s, unsigned region, uint16_t group, char *buf, uint64_t now_ns)
{
	look(s, now_ns);
	if (!meet(s, region))
		return -ENOMEM;
	format(stall_of(s, region, group, now_ns), buf, now_ns);
	return 0;
}

static void read_groups(const struct served *s, struct group_stall *all, uint64_t now_ns, uint32_t groups,
			struct psi *ret)
{
	for (uint32_t g = 0; g < groups; g++) {
		struct group_stall *stall = &all[g];

		if (stall->generation != s->seg.limits->group[g].generation + 1)
			continue;
		psi_update(&stall->psi, now_ns);
		ret[g] = stall->psi;
	}
}

void stall_read_all(const struct served *s, uint64_t now_ns, uint32_t groups, struct psi *ret)
{
	look(s, now_ns);
	read_groups(s, s->stalls->group, now_ns, groups, ret);
}

void stall_read_region(const struct served *s, unsigned region, uint64_t now_ns, uint32_t groups, struct psi *ret)
{
	if (s->stalls->region[region])
		read_groups(s, s->stalls->region[region]->group, now_ns, groups, ret);
}
