/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=wait: groups whose members wait for room, in host memory or in a region. */
#include "controld/standstill.h"

#include "accounting/member.h"
#include "accounting/plea.h"
#include "accounting/region.h"
#include "accounting/units.h"
#include "controld/daemon.h"
#include "controld/deadlock.h"
#include "controld/log.h"
#include "controld/oom_rules.h"
#include "controld/report.h"
#include "controld/stall.h"

#include <stdio.h>
#include <stdlib.h>

#define FORGOTTEN_NS (60 * STANDSTILL_LOOK_NS)
#define RUNS_PART 50u /* of the time between two looks: who ran longer did not stand still */

/* What was read of a member last. */
struct reading {
	uint32_t member, generation; /* of the slot */
	uint64_t stall_ns, ran_ns;
};

/* A group in which somebody wants room. */
struct watched {
	struct watched *next;
	uint64_t instance; /* the segment's */
	unsigned resource;
	uint16_t group;
	uint32_t generation;	  /* the group's */
	uint64_t at_ns;		  /* of the readings */
	struct reading *readings; /* by slot */
	uint32_t count;
	bool is_out_of_memory; /* it was said so */
	bool is_suspect;       /* at the last look they waited for each other */
};

static struct watched *all;

/* One look at a group. */
struct view {
	struct deadlock_member *members;
	uint32_t *slots; /* of each */
	struct reading *readings;
	uint32_t count, room, slot_room, reading_room;
};

static struct pool *pool_at(const struct served *s, const struct watched *w)
{
	return pool_of(&s->seg, w->resource, w->group);
}

static bool is_wanted(const struct served *s, unsigned resource, uint32_t group)
{
	return s->seg.limits->group[group].oom_policy == OOM_WAIT &&
	       group_state(&s->seg, (uint16_t)group) == GROUP_LIVE &&
	       mc_load_full(&pool_of(&s->seg, resource, (uint16_t)group)->waited);
}

/* ---- who is watched ----------------------------------------------------------------------------------------- */

static struct watched *find(const struct served *s, unsigned resource, uint16_t group)
{
	struct watched *w = all;

	while (w && (w->instance != s->seg.limits->header.instance || w->resource != resource || w->group != group ||
		     w->generation != s->seg.limits->group[group].generation))
		w = w->next;
	return w;
}

static void add(const struct served *s, unsigned resource, uint16_t group)
{
	struct watched *w = calloc(1, sizeof(*w));

	if (!w)
		return;
	w->instance = s->seg.limits->header.instance;
	w->resource = resource;
	w->group = group;
	w->generation = s->seg.limits->group[group].generation;
	w->next = all;
	all = w;
}

static void drop(struct watched *w)
{
	struct watched **at = &all;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w->readings);
	free(w);
}

/* ---- looking ------------------------------------------------------------------------------------------------ */

static const struct reading *reading_of(const struct watched *w, uint32_t member, uint32_t generation)
{
	uint32_t low = 0, high = w->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (w->readings[middle].member < member)
			low = middle + 1;
		else
			high = middle;
	}
	return low < w->count && w->readings[low].member == member && w->readings[low].generation == generation
		       ? &w->readings[low]
		       : NULL;
}

static struct reading read_now(const struct served *s, const struct watched *w, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);
	struct reading r = {
		.member = member,
		.generation = mc_load_relaxed(&m->generation),
		.stall_ns = stall_of_member(s, member, w->resource),
	};

	(void)s->daemon->world->ran_ns((pid_t)s->watch[member].pid, &r.ran_ns);
	return r;
}

/* Who was not there at the last look may do anything. */
static void judge(const struct served *s, const struct watched *w, struct deadlock_member *d, const struct reading *now,
		  uint64_t passed_ns)
{
	const struct reading *before = reading_of(w, now->member, now->generation);
	uint64_t ran_ns = before && now->ran_ns > before->ran_ns ? now->ran_ns - before->ran_ns : 0;
	uint64_t stall_ns = before && now->stall_ns > before->stall_ns ? now->stall_ns - before->stall_ns : 0;

	d->runs = !before || ran_ns > passed_ns / RUNS_PART;
	d->waits = before && stall_ns >= passed_ns / 2;
	d->has_leave = leave_is_given(&s->seg, w->resource, now->member, w->group);
}

static int view_add(const struct served *s, struct view *v, const struct watched *w, uint32_t member,
		    uint64_t passed_ns)
{
	struct deadlock_member *d;

	if (served_grow((void **)&v->members, v->count, &v->room, sizeof(*v->members)) ||
	    served_grow((void **)&v->slots, v->count, &v->slot_room, sizeof(*v->slots)) ||
	    served_grow((void **)&v->readings, v->count, &v->reading_room, sizeof(*v->readings)))
		return -1;
	v->readings[v->count] = read_now(s, w, member);
	v->slots[v->count] = member;
	d = &v->members[v->count];
	*d = (struct deadlock_member){
		.pid = s->watch[member].pid,
		.start_time = mc_load_relaxed(&member_of(&s->seg, member)->start_time),
		.held = member_held(&s->seg, member, w->resource),
	};
	judge(s, w, d, &v->readings[v->count], passed_ns);
	v->count++;
	return 0;
}

static bool is_here(const struct served *s, uint32_t member, uint16_t group)
{
	struct member *m = member_of(&s->seg, member);
	enum member_state state = member_state(mc_load_full(&m->state));

	return (state == MEMBER_LIVE || state == MEMBER_OBSERVED) && s->watch[member].pid &&
	       group_is_within(&s->seg, mc_load_full(&m->group), group);
}

struct family_of {
	struct view *view;
	uint32_t parent;
};

static void take_child(pid_t child, uint64_t start_time, void *to)
{
	const struct family_of *f = to;

	(void)start_time;
	for (uint32_t i = 0; i < f->view->count; i++)
		if (f->view->members[i].pid == (uint32_t)child)
			f->view->members[i].parent = f->parent;
}

static void find_parents(const struct served *s, struct view *v)
{
	for (uint32_t i = 0; i < v->count; i++) {
		struct family_of f = { .view = v, .parent = v->members[i].pid };

		if (!v->members[i].runs && !v->members[i].waits)
			(void)s->daemon->world->children((pid_t)v->members[i].pid, take_child, &f);
	}
}

static int look(const struct served *s, const struct watched *w, uint64_t now_ns, struct view *ret)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_here(s, i, w->group) && view_add(s, ret, w, i, now_ns - w->at_ns))
			return -1;
	find_parents(s, ret);
	return 0;
}

static void keep_readings(struct watched *w, struct view *v, uint64_t now_ns)
{
	free(w->readings);
	w->readings = v->readings;
	w->count = v->count;
	w->at_ns = now_ns;
	v->readings = NULL;
}

static void release(struct view *v)
{
	free(v->members);
	free(v->slots);
	free(v->readings);
}

/* ---- what is done -------------------------------------------------------------------------------------------- */

static bool is_anybody_waiting(const struct view *v)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (v->members[i].waits)
			return true;
	return false;
}

/* Pages that must be freed for the smallest request to fit. */
static uint64_t missing(const struct served *s, const struct watched *w)
{
	uint64_t needed = pool_usage(mc_load_full(&pool_at(s, w)->word)) + mc_load_full(&pool_at(s, w)->waited);
	uint64_t max = pool_max(&s->seg, w->resource, w->group);

	return needed > max ? needed - max : 0;
}

static void write_usage(FILE *to, const struct served *s, const struct watched *w)
{
	char usage[UNITS_BUF], max[UNITS_BUF];

	if (w->resource == RESOURCE_MEMORY)
		(void)fprintf(to, "memory.current");
	else
		(void)fprintf(to, "dmem.current of %s", region_name(&s->seg, w->resource));
	(void)fprintf(to, " %s, max %s",
		      units_format(pool_usage(mc_load_full(&pool_at(s, w)->word)) << MC_PAGE_SHIFT, usage),
		      units_format(pool_max(&s->seg, w->resource, w->group) << MC_PAGE_SHIFT, max));
}

static void write_member(FILE *to, const struct served *s, const struct deadlock_member *m)
{
	char size[UNITS_BUF], comm[16] = "";

	(void)s->daemon->world->comm((pid_t)m->pid, comm);
	(void)fprintf(to, "pid %u (%.15s) holds %s%s", m->pid, comm, units_format(m->held << MC_PAGE_SHIFT, size),
		      m->waits ? " and waits" : "");
}

static void tell(struct served *s, const struct watched *w, const struct view *v, uint32_t chosen, const char *what)
{
	char path[GROUP_PATH_MAX];
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return;
	(void)group_path(&s->seg, w->group, path);
	(void)fprintf(to, "members of %s wait for each other: ", path);
	write_usage(to, s, w);
	(void)fprintf(to, "\n%s: ", what);
	write_member(to, s, &v->members[chosen]);
	for (uint32_t i = 0; i < v->count && i < 10; i++) {
		(void)fprintf(to, "\n  ");
		write_member(to, s, &v->members[i]);
	}
	if (fclose(to) == 0 && text)
		report_keep_text(s, w->group, text);
	else
		free(text);
}

static uint64_t most_beyond(const struct served *s, const struct watched *w)
{
	return pool_max(&s->seg, w->resource, w->group) / STANDSTILL_PART;
}

/* False: it has been let through as far as that goes, and it was not enough. */
static bool let_through(struct served *s, const struct watched *w, const struct view *v)
{
	uint32_t chosen = deadlock_to_pass(v->members, v->count);

	if (missing(s, w) > most_beyond(s, w) || v->members[chosen].has_leave)
		return false;
	tell(s, w, v, chosen,
	     w->resource == RESOURCE_MEMORY ? "let through beyond memory.max, for a quarter of it at most"
					    : "let through beyond dmem.max, for a quarter of it at most");
	leave_grant(&s->seg, w->resource, v->slots[chosen], w->group, most_beyond(s, w));
	return true;
}

/* It will hear of it when it looks, four times a second. */
static bool is_anybody_being_refused(const struct served *s, const struct watched *w, const struct view *v)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (v->members[i].waits && leave_is_unheard(&s->seg, w->resource, v->slots[i], w->group))
			return true;
	return false;
}

static void resolve(struct served *s, const struct watched *w, const struct view *v)
{
	struct oom_rules rules;
	uint32_t chosen;

	oom_rules_get(s, w->group, &rules);
	if (rules.deadlock == DEADLOCK_WAIT || is_anybody_being_refused(s, w, v) ||
	    (rules.deadlock == DEADLOCK_PASS && let_through(s, w, v)))
		return;
	chosen = deadlock_to_refuse(v->members, v->count);
	tell(s, w, v, chosen, "refused, for the others to go on");
	leave_refuse(&s->seg, w->resource, v->slots[chosen], w->group);
}

/* Nobody stands still any more, or there is room: the limit holds for all again. Leave that an earlier daemon gave is
 * found in the slots. */
static void withdraw_leave(const struct served *s, const struct watched *w, const struct view *v)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (v->members[i].has_leave && !v->members[i].waits)
			leave_withdraw(&s->seg, w->resource, v->slots[i]);
}

static void say(struct served *s, struct watched *w, bool is_out_of_memory)
{
	char path[GROUP_PATH_MAX];

	if (w->is_out_of_memory == is_out_of_memory)
		return;
	w->is_out_of_memory = is_out_of_memory;
	if (is_out_of_memory)
		pool_count_event(&s->seg, w->resource, w->group, EVENT_OOM);
	(void)group_path(&s->seg, w->group, path);
	log_line(LOG_INFO, "members of %s %s %s%s", path, is_out_of_memory ? "wait for" : "do not wait for",
		 region_name(&s->seg, w->resource), is_out_of_memory ? "" : " any more");
}

static void settle(struct served *s, struct watched *w, const struct view *v)
{
	bool locked = deadlock_is(v->members, v->count, missing(s, w));

	say(s, w, is_anybody_waiting(v));
	if (missing(s, w) == 0)
		withdraw_leave(s, w, v);
	if (locked && w->is_suspect)
		resolve(s, w, v);
	w->is_suspect = locked && !w->is_suspect;
}

static void attend(struct served *s, struct watched *w, uint64_t now_ns)
{
	struct view v = { 0 };
	bool first = w->at_ns == 0;

	if (now_ns - w->at_ns < STANDSTILL_LOOK_NS)
		return;
	if (look(s, w, now_ns, &v) == 0) {
		if (!first)
			settle(s, w, &v);
		keep_readings(w, &v, now_ns);
	}
	release(&v);
}

/* Somebody is still let through, or was to be refused. */
static bool is_any_leave_left(const struct served *s, const struct watched *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (leave_is_given(&s->seg, w->resource, w->readings[i].member, w->group))
			return true;
	return false;
}

static void attend_all(struct served *s, uint64_t now_ns)
{
	for (struct watched *w = all, *next; w; w = next) {
		next = w->next;
		if (w->instance != s->seg.limits->header.instance) {
			if (now_ns - w->at_ns > FORGOTTEN_NS)
				drop(w);
			continue;
		}
		if (find(s, w->resource, w->group) != w) {
			drop(w);
			continue;
		}
		attend(s, w, now_ns);
		if (is_wanted(s, w->resource, w->group) || w->is_out_of_memory || is_any_leave_left(s, w))
			served_want_turn(s, w->at_ns + STANDSTILL_LOOK_NS);
		else
			drop(w);
	}
}

static void watch_if_wanted(const struct served *s, unsigned resource, uint32_t group)
{
	if (is_wanted(s, resource, group) && !find(s, resource, (uint16_t)group))
		add(s, resource, (uint16_t)group);
}

void standstill(struct served *s, uint64_t now_ns)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);

	for (uint32_t g = 0; g < groups; g++) {
		if (s->seg.limits->group[g].oom_policy != OOM_WAIT)
			continue;
		watch_if_wanted(s, RESOURCE_MEMORY, g);
		for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
			watch_if_wanted(s, r, g);
	}
	if (all)
		attend_all(s, now_ns);
}
