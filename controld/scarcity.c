/* SPDX-License-Identifier: MIT */
/* When memory is short as a whole. */
#include "controld/scarcity.h"

#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/reclaim.h"
#include "controld/softlimit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MS 1000000ull
#define HOST_LOOK_NS (1000 * MS)
#define STALLED_NS (2000 * MS) /* how long a stall of the machine is news; the trigger tells again so often */
#define AGAIN_NS (1000 * MS)   /* when nobody had anything */

/* Stalls of 150 ms in 2 s: windows that are not a multiple of 2 s want privilege. */
#define TRIGGER "some 150000 2000000"

struct scarcity {
	struct softlimit *tree;
	uint64_t seen[GROUPS_MAX + 1]; /* usage that was noted last */
	uint32_t generation[GROUPS_MAX + 1];
	bool any; /* a soft limit was set, or memory.high of `/` */
	bool all_anew;

	bool is_watching;	  /* or it cannot be done */
	sd_event_source *trigger; /* owns the descriptor */
	uint64_t stalled_ns;	  /* it fired last; 0: never */
	uint64_t host_due_ns;
	bool host_is_short;

	struct reclaim *run; /* under way; NULL: none */
	uint64_t not_before_ns;
};

/* ---- the machine ----------------------------------------------------------------------------------------- */

static int on_stall(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct served *s = userdata;

	(void)fd;
	if (revents & EPOLLERR) {
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	s->scarcity->stalled_ns = s->daemon->world->now_ns();
	loop_request_turn(s->daemon);
	return 0;
}

/* Where the kernel has none, or does not let us, the rest must do. */
static void watch_stalls(struct served *s)
{
	int fd = open("/proc/pressure/memory", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	s->scarcity->is_watching = true;
	if (fd < 0)
		return;
	if (write(fd, TRIGGER, sizeof(TRIGGER)) < 0 ||
	    sd_event_add_io(s->daemon->event, &s->scarcity->trigger, fd, EPOLLPRI, on_stall, s) < 0) {
		(void)close(fd);
		return;
	}
	(void)sd_event_source_set_io_fd_own(s->scarcity->trigger, true);
}

int scarcity_open(struct served *s)
{
	s->scarcity = calloc(1, sizeof(*s->scarcity));
	if (!s->scarcity)
		return -ENOMEM;
	s->scarcity->any = s->scarcity->all_anew = true; /* an adopted segment may have some */
	return softlimit_make(&s->scarcity->tree);
}

void scarcity_close(struct served *s)
{
	if (!s->scarcity)
		return;
	sd_event_source_disable_unref(s->scarcity->trigger);
	softlimit_free(s->scarcity->tree);
	free(s->scarcity);
	s->scarcity = NULL;
}

void scarcity_note_limit(struct served *s, uint16_t group)
{
	s->scarcity->any = true;
	s->scarcity->seen[group] = UINT64_MAX;
	s->scarcity->not_before_ns = 0;
	loop_request_turn(s->daemon);
}

static bool is_machine_short(struct served *s, uint64_t now_ns)
{
	struct scarcity *c = s->scarcity;
	struct world_host host;

	if (now_ns >= c->host_due_ns) {
		c->host_due_ns = now_ns + HOST_LOOK_NS;
		c->host_is_short = s->daemon->world->host(&host) == 0 && host.available < host.total / SCARCITY_PART;
	}
	return c->host_is_short || (c->stalled_ns && now_ns - c->stalled_ns < STALLED_NS);
}

static uint64_t excess_of_root(const struct survey *v)
{
	const struct survey_group *root = &v->group[GROUP_ROOT];

	return root->usage > root->high ? root->usage - root->high : 0;
}

/* ---- the tree -------------------------------------------------------------------------------------------- */

static bool has_soft_limit(const struct served *s, uint32_t group)
{
	return mc_load_relaxed(&s->seg.limits->limits[RESOURCE_MEMORY][group].soft) < PAGES_MAX;
}

/* False when no limit of this kind is set anywhere: nothing need be done until one is. */
static bool is_any_set(const struct served *s, const struct snapshot *snap)
{
	if (mc_load_relaxed(&s->seg.limits->limits[RESOURCE_MEMORY][GROUP_ROOT].high) < PAGES_MAX)
		return true;
	for (uint32_t g = 0; g < snap->groups; g++)
		if (has_soft_limit(s, g) && group_state(&s->seg, (uint16_t)g) == GROUP_LIVE)
			return true;
	return false;
}

static bool is_to_be_updated(struct served *s, const struct survey *v, uint16_t group)
{
	struct scarcity *c = s->scarcity;
	uint32_t generation = s->seg.limits->group[group].generation;
	uint64_t usage = v->group[group].usage, seen = c->seen[group];
	bool anew = seen == UINT64_MAX || c->generation[group] != generation || c->all_anew;

	if (c->generation[group] != generation)
		softlimit_forget(c->tree, group);
	c->generation[group] = generation;
	c->seen[group] = usage;
	return softlimit_note(c->tree, group, usage > seen ? usage - seen : seen - usage) || anew;
}

static void update_tree(struct served *s, const struct survey *v)
{
	for (uint32_t g = 0; g < v->groups; g++)
		if (survey_is_used(v, (uint16_t)g) && has_soft_limit(s, g) && is_to_be_updated(s, v, (uint16_t)g))
			softlimit_update(s->scarcity->tree, v, (uint16_t)g);
	s->scarcity->all_anew = false;
}

/* ---- and what is done ------------------------------------------------------------------------------------ */

static void on_done(struct served *s, struct reclaim *r, void *arg)
{
	struct scarcity *c = s->scarcity;

	(void)arg;
	c->run = NULL;
	if (!r->got)
		c->not_before_ns = s->daemon->world->now_ns() + AGAIN_NS;
	loop_request_turn(s->daemon);
}

/* The soft limits' run has given nothing: what is above memory.high of `/` is taken from all. */
static void on_soft_done(struct served *s, struct reclaim *r, void *arg)
{
	uint64_t high = mc_load_relaxed(&s->seg.limits->limits[RESOURCE_MEMORY][GROUP_ROOT].high);
	uint64_t usage = pool_usage(mc_load_full(&pool_of(&s->seg, RESOURCE_MEMORY, GROUP_ROOT)->word));

	on_done(s, r, arg);
	if (!r->got && usage > high &&
	    reclaim_begin(s, GROUP_ROOT, usage - high, RECLAIM_SWAPPINESS_OWN, on_done, NULL, &s->scarcity->run))
		s->scarcity->run = NULL;
}

static void relieve(struct served *s, const struct survey *v, uint64_t now_ns)
{
	struct scarcity *c = s->scarcity;
	bool is_short = is_machine_short(s, now_ns);

	served_want_turn(s, c->host_due_ns);
	if (c->run || (!is_short && !excess_of_root(v)))
		return;
	if (now_ns < c->not_before_ns) {
		served_want_turn(s, c->not_before_ns);
		return;
	}
	if (excess_of_root(v))
		pool_count_event(&s->seg, RESOURCE_MEMORY, GROUP_ROOT, EVENT_HIGH);
	if (reclaim_soften(s, c->tree, on_soft_done, NULL, &c->run))
		c->run = NULL;
}

void scarcity(struct served *s, const struct snapshot *snap, uint64_t now_ns)
{
	struct scarcity *c = s->scarcity;
	struct survey v;

	if (!c->any || served_is_empty(s))
		return;
	c->any = is_any_set(s, snap);
	if (!c->any || survey_take(&s->seg, snap, &v))
		return;
	if (!c->is_watching)
		watch_stalls(s);
	update_tree(s, &v);
	relieve(s, &v, now_ns);
	survey_free(&v);
}
