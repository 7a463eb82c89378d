/* SPDX-License-Identifier: MIT */
/* memory.soft: whom to take from first when the machine is short of memory. */
#include "controld/softlimit.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>

struct node {
	RB_ENTRY(node) entry;
	uint64_t excess; /* 0: not on the tree */
	uint64_t number; /* of the insertion: of equal keys the newest is the worst */
	uint32_t moved;	 /* pages since the last update */
	uint16_t cursor; /* where the last round over the subtree was left; group + 1, 0: at its end */
};

RB_HEAD(order, node);

struct softlimit {
	struct order order;
	struct node *worst; /* the rightmost; a search for it would grow with the tree */
	uint64_t inserted;
	struct node node[GROUPS_MAX + 1]; /* by group; pages that no group uses are never touched */
};

static int compare(const struct node *a, const struct node *b)
{
	if (a->excess != b->excess)
		return a->excess < b->excess ? -1 : 1;
	return (a->number > b->number) - (a->number < b->number);
}

/* Not RB_GENERATE_STATIC, whose __unused glibc does not know. */
RB_GENERATE_INTERNAL(order, node, entry, compare, static __attribute__((unused)))

int softlimit_make(struct softlimit **ret)
{
	struct softlimit *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*ret = t;
	return 0;
}

void softlimit_free(struct softlimit *t)
{
	free(t);
}

uint64_t softlimit_excess(const struct survey *s, uint16_t group)
{
	const struct survey_group *g = &s->group[group];

	return survey_is_used(s, group) && !g->is_elsewhere && g->usage > g->soft ? g->usage - g->soft : 0;
}

static uint16_t group_of(const struct softlimit *t, const struct node *n)
{
	return n ? (uint16_t)(n - t->node) : GROUP_NIL;
}

static void take_off(struct softlimit *t, struct node *n)
{
	if (!n->excess)
		return;
	if (t->worst == n)
		t->worst = RB_PREV(order, &t->order, n);
	RB_REMOVE(order, &t->order, n);
	n->excess = 0;
}

static void put(struct softlimit *t, struct node *n, uint64_t excess)
{
	take_off(t, n);
	if (!excess)
		return;
	n->excess = excess;
	n->number = ++t->inserted;
	RB_INSERT(order, &t->order, n);
	if (!t->worst || compare(n, t->worst) > 0)
		t->worst = n;
}

bool softlimit_note(struct softlimit *t, uint16_t group, uint64_t pages)
{
	struct node *n = &t->node[group];

	if (pages < SOFTLIMIT_UPDATE_PAGES && n->moved + pages < SOFTLIMIT_UPDATE_PAGES) {
		n->moved += (uint32_t)pages;
		return false;
	}
	n->moved = 0;
	return true;
}

void softlimit_update(struct softlimit *t, const struct survey *s, uint16_t group)
{
	for (; survey_is_used(s, group); group = s->group[group].parent)
		put(t, &t->node[group], softlimit_excess(s, group));
}

void softlimit_forget(struct softlimit *t, uint16_t group)
{
	take_off(t, &t->node[group]);
	t->node[group].moved = 0;
	t->node[group].cursor = 0;
}

uint16_t softlimit_worst(const struct softlimit *t)
{
	return group_of(t, t->worst);
}

/* Takes the worst off the tree, and with it those before it that have no excess any more. */
static uint16_t take_worst(struct softlimit *t, const struct survey *s)
{
	while (t->worst) {
		struct node *n = t->worst;

		take_off(t, n);
		if (softlimit_excess(s, group_of(t, n)))
			return group_of(t, n);
	}
	return GROUP_NIL;
}

static void put_back(struct softlimit *t, const struct survey *s, uint16_t group)
{
	if (group != GROUP_NIL)
		put(t, &t->node[group], softlimit_excess(s, group));
}

/* The next in the round over the subtree of `top`, which goes on where the last one was left: GROUP_NIL where
 * it ends. */
static uint16_t next_in_round(struct softlimit *t, const struct survey *s, uint16_t top)
{
	struct node *n = &t->node[top];
	uint16_t last = (uint16_t)(n->cursor - 1);
	uint16_t next = top;

	if (n->cursor && survey_is_within(s, last, top))
		next = survey_next(s, top, last);
	n->cursor = next == GROUP_NIL ? 0 : (uint16_t)(next + 1);
	return next;
}

void softlimit_begin(struct softlimit_run *run, struct softlimit *t)
{
	*run = (struct softlimit_run){ .tree = t, .group = GROUP_NIL, .next = GROUP_NIL };
}

void softlimit_end(struct softlimit_run *run, const struct survey *s)
{
	put_back(run->tree, s, run->group);
	put_back(run->tree, s, run->next);
	run->group = run->next = GROUP_NIL;
}

static bool begin_group(struct softlimit_run *run, const struct survey *s)
{
	run->group = run->next != GROUP_NIL ? run->next : take_worst(run->tree, s);
	run->next = GROUP_NIL;
	if (run->group == GROUP_NIL)
		return false;
	run->excess = softlimit_excess(s, run->group);
	run->got = 0;
	run->rounds = 0;
	return true;
}

/* True when the run goes on with another group. The next worst is taken before this one goes back, which
 * might be the worst again. */
static bool end_group(struct softlimit_run *run, const struct survey *s)
{
	run->total += run->got;
	if (!run->got)
		run->next = take_worst(run->tree, s);
	put_back(run->tree, s, run->group);
	run->group = GROUP_NIL;
	run->tried++;
	return !run->total && run->next != GROUP_NIL && run->tried <= SOFTLIMIT_FRUITLESS;
}

/* At the end of a round: whether another one is worth while. */
static bool is_worthwhile(const struct softlimit_run *run)
{
	if (run->rounds < 2)
		return true;
	return run->got && run->got < run->excess / SOFTLIMIT_PART && run->rounds <= SOFTLIMIT_ROUNDS;
}

/* The next of the group's subtree, GROUP_NIL when we are done with the group. */
static uint16_t step_in_group(struct softlimit_run *run, const struct survey *s)
{
	while (softlimit_excess(s, run->group)) {
		uint16_t victim = next_in_round(run->tree, s, run->group);

		if (victim != GROUP_NIL)
			return victim;
		run->rounds++;
		if (!is_worthwhile(run))
			break;
	}
	return GROUP_NIL;
}

uint16_t softlimit_step(struct softlimit_run *run, const struct survey *s, uint64_t got)
{
	bool goes_on = true;

	if (run->group != GROUP_NIL)
		run->got += got;
	while (goes_on && (run->group != GROUP_NIL || begin_group(run, s))) {
		uint16_t victim = step_in_group(run, s);

		if (victim != GROUP_NIL)
			return victim;
		goes_on = end_group(run, s);
	}
	softlimit_end(run, s);
	return GROUP_NIL;
}

bool softlimit_consistent(const struct softlimit *t)
{
	struct order *order = (struct order *)&t->order;
	const struct node *last = NULL;
	struct node *n;

	RB_FOREACH(n, order, order)
	{
		if (!n->excess || (last && compare(last, n) >= 0))
			return false;
		last = n;
	}
	return last == t->worst;
}
