/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=kill, for host memory and for each region of a device. */
#include "controld/killer.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/region.h"
#include "accounting/stock.h"
#include "controld/daemon.h"
#include "controld/hook.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/notify.h"
#include "controld/oom.h"
#include "controld/oom_rules.h"
#include "controld/reap.h"
#include "controld/report.h"
#include "controld/residency.h"
#include "controld/standstill.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS 1000000ull
#define LOOK_NS (50 * MS)    /* while somebody is dying, should his end not be noticed otherwise */
#define ANSWER_NS (300 * MS) /* how long "nobody may be killed" stands; askers look four times a second */
#define FORGOTTEN_NS (60000 * MS)

/* What a group without room in a resource has come to. From the request on until there is room, or somebody was killed and the
 * request was met. */
enum stage { STAGE_BEGUN, STAGE_HOOK, STAGE_VICTIM, STAGE_TERM, STAGE_NOBODY };

struct victim {
	uint32_t member, generation; /* of the slot */
};

struct episode {
	struct episode *next;
	uint64_t instance; /* the segment's; one that is not served any more is never attended to again */
	unsigned resource;
	uint16_t group;
	uint32_t generation; /* the group's */
	enum stage stage;
	uint64_t until_ns; /* TERM, NOBODY: the end of it */
	uint64_t attended_ns;
	struct hook *hook;
	struct victim *victims; /* TERM: who was told to end */
	uint32_t victim_count, victim_room;
};

static struct episode *episodes;

/* One request at work. */
struct want {
	struct episode *episode;
	unsigned resource;
	uint16_t domain;
	uint32_t asker; /* MEMBER_NIL: nobody, a limit was lowered */
	uint64_t pages; /* a region's units are pages, too */
	struct snapshot snap;
	struct survey survey;
	struct oom_candidate *candidates;
	uint32_t *member; /* of each candidate */
	uint32_t count, room, member_room;
	uint64_t swap; /* the machine's; 0 for a region */
};

static mc_word *request_of(const struct served *s, unsigned resource, uint16_t group)
{
	return &pool_of(&s->seg, resource, group)->oom;
}

static bool is_killing(const struct served *s, uint32_t group)
{
	return s->seg.limits->group[group].oom_policy == OOM_KILL &&
	       group_state(&s->seg, (uint16_t)group) == GROUP_LIVE;
}

/* ---- episodes ---------------------------------------------------------------------------------------------- */

void oom_episode(struct served *s, uint16_t group, bool has_begun)
{
	char path[GROUP_PATH_MAX];

	(void)group_path(&s->seg, group, path);
	log_line(LOG_INFO, "%s %s", path, has_begun ? "is out of memory" : "is not out of memory any more");
	notify_oom(s, group, has_begun);
}

/* The event "oom" that programs subscribe to is host memory's, as the kernel's is. */
static void tell_episode(struct served *s, unsigned resource, uint16_t group, bool has_begun)
{
	char path[GROUP_PATH_MAX];

	if (resource == RESOURCE_MEMORY) {
		oom_episode(s, group, has_begun);
		return;
	}
	(void)group_path(&s->seg, group, path);
	log_line(LOG_INFO, "%s %s %s%s", path, has_begun ? "is out of" : "is not out of",
		 region_name(&s->seg, resource), has_begun ? "" : " any more");
}

static struct episode *episode_find(const struct served *s, unsigned resource, uint16_t group)
{
	struct episode *e = episodes;

	while (e && (e->instance != s->seg.limits->header.instance || e->resource != resource || e->group != group ||
		     e->generation != s->seg.limits->group[group].generation))
		e = e->next;
	return e;
}

static struct episode *episode_begin(struct served *s, unsigned resource, uint16_t group)
{
	struct episode *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->instance = s->seg.limits->header.instance;
	e->resource = resource;
	e->group = group;
	e->generation = s->seg.limits->group[group].generation;
	e->next = episodes;
	episodes = e;
	tell_episode(s, resource, group, true);
	return e;
}

static void episode_free(struct episode *e)
{
	struct episode **at = &episodes;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	hook_free(e->hook);
	free(e->victims);
	free(e);
}

static void episode_end(struct served *s, struct episode *e)
{
	tell_episode(s, e->resource, e->group, false);
	episode_free(e);
}

static void forget_request(struct served *s, const struct want *w)
{
	mc_store_full(request_of(s, w->resource, w->domain), 0);
	episode_end(s, w->episode);
	reclaim_wake(&s->seg);
}

static bool is_request(uint64_t word)
{
	return word & UINT32_MAX;
}

/* Answered at once: there is nothing to wait for. A later request may replace the answer. */
static void answer_nobody(struct served *s, const struct want *w, uint64_t now_ns)
{
	log_line(LOG_WARNING, "a group is out of memory and has no member that may be killed");
	if (w->asker == MEMBER_NIL) /* others count it when they fail */
		pool_count_event(&s->seg, w->resource, w->domain, EVENT_OOM);
	mc_store_full(request_of(s, w->resource, w->domain), (uint64_t)(w->asker + 1) << 32);
	w->episode->stage = STAGE_NOBODY;
	w->episode->until_ns = now_ns + ANSWER_NS;
	served_want_turn(s, w->episode->until_ns);
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
		.held = member_held(&s->seg, member, w->resource),
		.swap = usage.swap,
		.start_time = mc_load_relaxed(&m->start_time),
		.pid = (uint32_t)pid,
		.group = mc_load_full(&m->group),
		.adj = (int16_t)adj,
		.is_dying = s->watch[member].killed_ns != 0,
	};
}

static int take_snapshot(struct served *s, struct want *w, uint64_t now_ns)
{
	struct world_host host = { 0 };

	if (w->resource != RESOURCE_MEMORY)
		return snapshot_take(&s->seg, w->resource, &w->snap);
	(void)s->daemon->world->host(&host);
	w->swap = host.swap;
	return residency_snapshot(s, w->domain, now_ns, &w->snap);
}

/* Who holds nothing of a region is not killed for it. */
static bool is_concerned(const struct served *s, const struct want *w, uint32_t member)
{
	return w->resource == RESOURCE_MEMORY || member_held(&s->seg, member, w->resource);
}

static int look_around(struct served *s, struct want *w, uint64_t now_ns)
{
	int err = take_snapshot(s, w, now_ns);

	if (err)
		return err;
	err = survey_take(&s->seg, &w->snap, &w->survey);
	if (err)
		return err;
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_candidate(s, w, i, now_ns) && is_concerned(s, w, i))
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
	uint64_t usage = pool_usage(mc_load_full(&pool_of(&s->seg, w->resource, w->domain)->word));

	if (!survey_is_used(&w->survey, w->domain))
		return true;
	return w->asker == MEMBER_NIL ? g->usage <= g->max : usage + w->pages <= g->max;
}

/* ---- killing ----------------------------------------------------------------------------------------------- */

static void signal_one(struct served *s, uint32_t member, int signal, uint64_t now_ns)
{
	int fd = reap_pidfd(s, member);

	if (fd < 0)
		return;
	if (signal == SIGKILL)
		s->watch[member].killed_ns = now_ns;
	(void)s->daemon->world->pidfd_signal(fd, signal);
	(void)close(fd);
}

static bool goes(const struct want *w, uint16_t whole, uint32_t victim, uint32_t i)
{
	return i == victim || (whole != GROUP_NIL && oom_goes_with(&w->survey, whole, &w->candidates[i]));
}

static void keep_victim(const struct served *s, struct episode *e, uint32_t member)
{
	if (served_grow((void **)&e->victims, e->victim_count, &e->victim_room, sizeof(*e->victims)))
		return;
	e->victims[e->victim_count++] = (struct victim){
		.member = member,
		.generation = mc_load_relaxed(&member_of(&s->seg, member)->generation),
	};
}

/* With a grace: all are told to end first, and killed when it is over. Counted before: whoever sees one end finds it
 * counted. */
static void end_victim(struct served *s, const struct want *w, uint32_t victim, uint32_t term_ms, uint64_t now_ns)
{
	uint16_t whole = oom_find_group(&w->survey, w->domain, w->candidates[victim].group);
	struct report_case c = {
		.resource = w->resource,
		.domain = w->domain,
		.asker = w->asker,
		.pages = w->pages,
		.whole = whole,
		.candidates = w->candidates,
		.count = w->count,
		.victim = victim,
		.term_ms = term_ms,
	};

	for (uint32_t i = 0; i < w->count; i++)
		c.killed += goes(w, whole, victim, i);
	report_keep(s, &c, &w->snap, &w->survey);
	pool_count_event(&s->seg, w->resource, w->domain, EVENT_OOM);
	if (whole != GROUP_NIL)
		pool_count_event(&s->seg, w->resource, whole, EVENT_OOM_GROUP_KILL);
	w->episode->victim_count = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		if (!goes(w, whole, victim, i))
			continue;
		keep_victim(s, w->episode, w->member[i]);
		pool_count_event(&s->seg, w->resource, w->candidates[i].group, EVENT_OOM_KILL);
		signal_one(s, w->member[i], term_ms ? SIGTERM : SIGKILL, now_ns);
	}
}

static bool is_victim_alive(const struct served *s, const struct victim *v)
{
	struct member *m = member_of(&s->seg, v->member);
	enum member_state state = member_state(mc_load_full(&m->state));

	return (state == MEMBER_LIVE || state == MEMBER_OBSERVED) && mc_load_relaxed(&m->generation) == v->generation &&
	       !s->watch[v->member].killed_ns;
}

static bool is_any_victim_alive(const struct served *s, const struct episode *e)
{
	for (uint32_t i = 0; i < e->victim_count; i++)
		if (is_victim_alive(s, &e->victims[i]))
			return true;
	return false;
}

static void kill_victims(struct served *s, struct episode *e, uint64_t now_ns)
{
	for (uint32_t i = 0; i < e->victim_count; i++)
		if (is_victim_alive(s, &e->victims[i]))
			signal_one(s, e->victims[i].member, SIGKILL, now_ns);
}

/* ---- what is tried before --------------------------------------------------------------------------------- */

/* For the hook; more than these a shell script can ask memctl for. */
static int start_hook(struct served *s, const struct want *w, const char *command, uint64_t now_ns)
{
	const struct survey_group *g = &w->survey.group[w->domain];
	uint32_t pid = w->asker < MEMBERS_MAX ? member_pid(mc_load_full(&member_of(&s->seg, w->asker)->state)) : 0;
	char text[7][GROUP_PATH_MAX + 32];
	const char *const facts[] = { text[0], text[1], text[2], text[3], text[4], text[5], text[6], NULL };

	(void)snprintf(text[0], sizeof(text[0]), "MEMCTL_DIR=%s", s->seg.dir);
	(void)strcpy(text[1], "MEMCTL_OOM_GROUP=");
	(void)group_path(&s->seg, w->domain, text[1] + strlen(text[1]));
	(void)snprintf(text[2], sizeof(text[2]), "MEMCTL_OOM_LIMIT=%" PRIu64, g->max << MC_PAGE_SHIFT);
	(void)snprintf(text[3], sizeof(text[3]), "MEMCTL_OOM_USAGE=%" PRIu64, g->usage << MC_PAGE_SHIFT);
	(void)snprintf(text[4], sizeof(text[4]), "MEMCTL_OOM_ASKED=%" PRIu64,
		       w->asker == MEMBER_NIL ? 0 : w->pages << MC_PAGE_SHIFT);
	(void)snprintf(text[5], sizeof(text[5]), "MEMCTL_OOM_PID=%" PRIu32, pid);
	(void)snprintf(text[6], sizeof(text[6]), "MEMCTL_OOM_RESOURCE=%s", region_name(&s->seg, w->resource));
	return hook_start(command, facts, now_ns, &w->episode->hook);
}

static void end_hook(struct episode *e)
{
	if (hook_status(e->hook))
		log_line(LOG_WARNING, "memory.oom.hook %s",
			 hook_status(e->hook) == -1 ? "took too long and was killed" : "failed");
	hook_free(e->hook);
	e->hook = NULL;
}

/* True while it is under way. A hook runs once an episode. */
static bool is_hook_running(struct served *s, const struct want *w, const struct oom_rules *rules, uint64_t now_ns)
{
	struct episode *e = w->episode;

	if (e->stage == STAGE_BEGUN) {
		e->stage = STAGE_VICTIM;
		if (!rules->hook[0])
			return false;
		if (start_hook(s, w, rules->hook, now_ns) == 0)
			e->stage = STAGE_HOOK;
		else
			log_line(LOG_WARNING, "memory.oom.hook cannot be run");
	}
	if (e->stage != STAGE_HOOK)
		return false;
	if (!hook_is_over(e->hook, now_ns))
		return true;
	end_hook(e);
	e->stage = STAGE_VICTIM;
	return false;
}

/* True while those who were told to end may still do so; the others are killed when their time is over. */
static bool is_grace_running(struct served *s, const struct want *w, uint64_t now_ns)
{
	struct episode *e = w->episode;

	if (e->stage != STAGE_TERM)
		return false;
	if (!is_any_victim_alive(s, e)) {
		e->stage = STAGE_VICTIM;
		return false;
	}
	if (now_ns >= e->until_ns) {
		kill_victims(s, e, now_ns);
		e->stage = STAGE_VICTIM; /* from the next look on, which finds them dying */
	}
	return true;
}

/* What oom_score_adj is a share of: of a device all it has, where that is known. */
static uint64_t total_of(const struct served *s, const struct want *w)
{
	uint64_t capacity = w->resource == RESOURCE_MEMORY ? 0 : region_capacity(&s->seg, w->resource) / REGION_UNIT;

	return capacity ? capacity : oom_total_pages(&w->survey, w->domain, w->swap);
}

static void find_victim(struct served *s, const struct want *w, const struct oom_rules *rules, uint64_t now_ns)
{
	uint64_t total = total_of(s, w);
	uint32_t victim;
	int err = oom_choose(&w->survey, w->domain, total, w->candidates, w->count, &victim);

	if (err == -ESRCH) {
		answer_nobody(s, w, now_ns);
		return;
	}
	served_want_turn(s, now_ns + LOOK_NS);
	if (err)
		return;
	end_victim(s, w, victim, rules->term_ms, now_ns);
	if (rules->term_ms) {
		w->episode->stage = STAGE_TERM;
		w->episode->until_ns = now_ns + rules->term_ms * MS;
	} else if (w->asker != MEMBER_NIL) {
		mc_store_full(request_of(s, w->resource, w->domain), 0);
	}
}

static void decide(struct served *s, const struct want *w, uint64_t now_ns)
{
	struct oom_rules rules;

	oom_rules_get(s, w->domain, &rules);
	if (has_room(s, w))
		forget_request(s, w);
	else if (is_hook_running(s, w, &rules, now_ns) || is_grace_running(s, w, now_ns))
		served_want_turn(s, now_ns + LOOK_NS);
	else
		find_victim(s, w, &rules, now_ns);
}

static void attend(struct served *s, struct episode *e, uint64_t word, uint64_t now_ns)
{
	struct want w = {
		.episode = e,
		.resource = e->resource,
		.domain = e->group,
		.asker = (uint32_t)(word >> 32) - 1,
		.pages = word & UINT32_MAX,
	};

	e->attended_ns = now_ns;
	(void)stock_drain(&s->actor, e->resource, e->group);
	if (look_around(s, &w, now_ns) == 0)
		decide(s, &w, now_ns);
	release(&w);
}

static void attend_if_asked(struct served *s, unsigned resource, uint16_t group, uint64_t now_ns)
{
	uint64_t word = mc_load_full(request_of(s, resource, group));
	struct episode *e;

	if (!is_request(word))
		return;
	e = episode_find(s, resource, group);
	if (!e)
		e = episode_begin(s, resource, group);
	if (e)
		attend(s, e, word, now_ns);
}

static void attend_all_asked(struct served *s, uint16_t group, uint64_t now_ns)
{
	attend_if_asked(s, RESOURCE_MEMORY, group, now_ns);
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		attend_if_asked(s, r, group, now_ns);
}

static bool is_dying_in(const struct served *s, const struct episode *e)
{
	for (uint32_t i = 0; i < e->victim_count; i++)
		if (mc_load_relaxed(&member_of(&s->seg, e->victims[i].member)->generation) ==
			    e->victims[i].generation &&
		    s->watch[e->victims[i].member].killed_ns)
			return true;
	return false;
}

/* Nobody asks any more: with the death of the last victim it is over. An answer is taken back: who asks from now on
 * gets one of his own. */
static void close_episodes(struct served *s, uint64_t now_ns)
{
	for (struct episode *e = episodes, *next; e; e = next) {
		uint64_t word;

		next = e->next;
		if (e->instance != s->seg.limits->header.instance) {
			if (now_ns - e->attended_ns > FORGOTTEN_NS)
				episode_free(e);
			continue;
		}
		word = mc_load_full(request_of(s, e->resource, e->group));
		if (is_request(word) && is_killing(s, e->group) && episode_find(s, e->resource, e->group) == e)
			continue;
		if (word && !is_request(word) && now_ns < e->until_ns) {
			served_want_turn(s, e->until_ns);
			continue;
		}
		if (word && !is_request(word))
			(void)mc_cas_full(request_of(s, e->resource, e->group), &word, 0);
		if (is_dying_in(s, e))
			served_want_turn(s, now_ns + LOOK_NS);
		else
			episode_end(s, e);
	}
}

/* What somebody keeps for what he will start (keep.h) is not memory: it is in no key. */
static void show_kept(struct served *s)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct member *m = member_of(&s->seg, i);

		if (member_state(mc_load_full(&m->state)) == MEMBER_CLAIMED && mc_load_full(&m->flags) & MEMBER_KEEPS)
			s->watch[i].look.untouched = member_held(&s->seg, i, RESOURCE_MEMORY);
	}
}

void killer(struct served *s, uint64_t now_ns)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);

	for (uint32_t g = 0; g < groups; g++)
		if (is_killing(s, g))
			attend_all_asked(s, (uint16_t)g, now_ns);
	if (episodes)
		close_episodes(s, now_ns);
	standstill(s, now_ns);
	show_kept(s);
}

void killer_ask(struct served *s, uint16_t group)
{
	uint64_t none = 0;

	if (!is_killing(s, group))
		return;
	(void)mc_cas_full(request_of(s, RESOURCE_MEMORY, group), &none, 1);
	loop_request_turn(s->daemon);
}
