/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=kill. */
#include "controld/killer.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/stock.h"
#include "controld/daemon.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/oom.h"
#include "controld/reap.h"
#include "controld/report.h"
#include "controld/residency.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_NS 50000000ull /* while somebody is dying, should his end not be noticed otherwise */

/* One request at work. */
struct want {
	uint16_t domain;
	uint32_t asker; /* MEMBER_NIL: nobody, a limit was lowered */
	uint64_t pages;
	struct snapshot snap;
	struct survey survey;
	struct oom_candidate *candidates;
	uint32_t *member; /* of each candidate */
	uint32_t count, room, member_room;
	uint64_t swap; /* the machine's */
};

static mc_word *request_of(const struct served *s, uint16_t group)
{
	return &pool_of(&s->seg, RESOURCE_MEMORY, group)->oom;
}

static bool is_killing(const struct served *s, uint32_t group)
{
	return s->seg.limits->group[group].oom_policy == OOM_KILL && group_state(&s->seg, (uint16_t)group) == GROUP_LIVE;
}

static void forget_request(struct served *s, const struct want *w)
{
	mc_store_full(request_of(s, w->domain), 0);
	reclaim_wake(&s->seg);
}

/* ---- who there is ------------------------------------------------------------------------------------------ */

static bool is_candidate(const struct served *s, const struct want *w, uint32_t member, uint64_t now_ns)
{
	struct member *m = member_of(&s->seg, member);
	uint64_t word = mc_load_full(&m->state);
	uint64_t killed_ns = s->watch[member].killed_ns;

	if (member_state(word) != MEMBER_LIVE && member_state(word) != MEMBER_OBSERVED)
		return false;
	if (killed_ns && now_ns - killed_ns >= KILLER_PATIENCE_NS)
		return false;
	return member_pid(word) != (uint32_t)getpid() && s->watch[member].pid == member_pid(word) &&
	       group_is_within(&s->seg, mc_load_full(&m->group), w->domain);
}

static void add_candidate(struct served *s, struct want *w, uint32_t member)
{
	const struct world *world = s->daemon->world;
	struct member *m = member_of(&s->seg, member);
	struct oom_candidate *c;
	struct world_usage usage = { 0 };
	pid_t pid = (pid_t)s->watch[member].pid;
	int adj;

	if (world->oom_adj(pid, &adj) ||
	    served_grow((void **)&w->candidates, w->count, &w->room, sizeof(*w->candidates)) ||
	    served_grow((void **)&w->member, w->count, &w->member_room, sizeof(*w->member)))
		return;
	if (w->swap)
		(void)world->usage(pid, &usage);
	w->member[w->count] = member;
	c = &w->candidates[w->count++];
	*c = (struct oom_candidate){
		.held = member_held(&s->seg, member, RESOURCE_MEMORY),
		.swap = usage.swap,
		.start_time = mc_load_relaxed(&m->start_time),
		.pid = (uint32_t)pid,
		.group = mc_load_full(&m->group),
		.adj = (int16_t)adj,
		.is_dying = s->watch[member].killed_ns != 0,
	};
}

static int look_around(struct served *s, struct want *w, uint64_t now_ns)
{
	struct world_host host = { 0 };
	int err = residency_snapshot(s, w->domain, now_ns, &w->snap);

	if (err)
		return err;
	err = survey_take(&s->seg, &w->snap, &w->survey);
	if (err)
		return err;
	(void)s->daemon->world->host(&host);
	w->swap = host.swap;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_candidate(s, w, i, now_ns))
			add_candidate(s, w, i);
	return 0;
}

static void release(struct want *w)
{
	snapshot_free(&w->snap);
	survey_free(&w->survey);
	free(w->candidates);
	free(w->member);
}

/* Who asks was refused by the counter; a lowered limit is compared with what is shown. */
static bool has_room(const struct served *s, const struct want *w)
{
	const struct survey_group *g = &w->survey.group[w->domain];
	uint64_t usage = pool_usage(mc_load_full(&pool_of(&s->seg, RESOURCE_MEMORY, w->domain)->word));

	if (!survey_is_used(&w->survey, w->domain))
		return true;
	return w->asker == MEMBER_NIL ? g->usage <= g->max : usage + w->pages <= g->max;
}

/* ---- killing ----------------------------------------------------------------------------------------------- */

/* Counted before: whoever sees it end finds it counted. */
static void kill_one(struct served *s, uint32_t member, uint16_t group, uint64_t now_ns)
{
	int fd = reap_pidfd(s, member);

	if (fd < 0)
		return;
	s->watch[member].killed_ns = now_ns;
	pool_count_event(&s->seg, RESOURCE_MEMORY, group, EVENT_OOM_KILL);
	(void)s->daemon->world->pidfd_signal(fd, SIGKILL);
	(void)close(fd);
}

static bool goes(const struct want *w, uint16_t whole, uint32_t victim, uint32_t i)
{
	return i == victim || (whole != GROUP_NIL && oom_goes_with(&w->survey, whole, &w->candidates[i]));
}

static void kill_victim(struct served *s, const struct want *w, uint32_t victim, uint64_t now_ns)
{
	uint16_t whole = oom_find_group(&w->survey, w->domain, w->candidates[victim].group);
	struct report_case c = {
		.domain = w->domain,
		.asker = w->asker,
		.pages = w->pages,
		.whole = whole,
		.candidates = w->candidates,
		.count = w->count,
		.victim = victim,
	};

	for (uint32_t i = 0; i < w->count; i++)
		c.killed += goes(w, whole, victim, i);
	report_keep(s, &c, &w->snap, &w->survey);
	if (whole != GROUP_NIL)
		pool_count_event(&s->seg, RESOURCE_MEMORY, whole, EVENT_OOM_GROUP_KILL);
	for (uint32_t i = 0; i < w->count; i++)
		if (goes(w, whole, victim, i))
			kill_one(s, w->member[i], w->candidates[i].group, now_ns);
}

static void decide(struct served *s, const struct want *w, uint64_t now_ns)
{
	uint64_t total = oom_total_pages(&w->survey, w->domain, w->swap);
	uint32_t victim;
	int err;

	if (has_room(s, w)) {
		forget_request(s, w);
		return;
	}
	err = oom_choose(&w->survey, w->domain, total, w->candidates, w->count, &victim);
	if (err == -ESRCH) {
		log_line(LOG_WARNING, "a group is out of memory and has no member that may be killed");
		forget_request(s, w);
		return;
	}
	served_want_turn(s, now_ns + LOOK_NS);
	if (err)
		return;
	kill_victim(s, w, victim, now_ns);
	if (w->asker != MEMBER_NIL)
		mc_store_full(request_of(s, w->domain), 0);
}

static void attend(struct served *s, uint16_t group, uint64_t word, uint64_t now_ns)
{
	struct want w = {
		.domain = group,
		.asker = (uint32_t)(word >> 32) - 1,
		.pages = word & UINT32_MAX,
	};

	(void)stock_drain(&s->actor, RESOURCE_MEMORY, group);
	if (look_around(s, &w, now_ns) == 0)
		decide(s, &w, now_ns);
	release(&w);
}

void killer(struct served *s, uint64_t now_ns)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);

	for (uint32_t g = 0; g < groups; g++) {
		uint64_t word = is_killing(s, g) ? mc_load_full(request_of(s, (uint16_t)g)) : 0;

		if (word)
			attend(s, (uint16_t)g, word, now_ns);
	}
}

void killer_ask(struct served *s, uint16_t group)
{
	uint64_t none = 0;

	if (!is_killing(s, group))
		return;
	(void)mc_cas_full(request_of(s, group), &none, 1);
	loop_request_turn(s->daemon);
}
