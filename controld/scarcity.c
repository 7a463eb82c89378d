/* SPDX-License-Identifier: MIT */
/* When memory is short as a whole. */
#include "controld/scarcity.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/numa.h"
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
	unsigned nodes; /* of memory; 1: where what lies is not looked at */
	struct softlimit *tree[NUMA_NODES_MAX];
	struct numa_spread *spread;    /* of the members of a group and of those below, by group; NULL: one node */
	uint64_t seen[GROUPS_MAX + 1]; /* usage that was noted last */
	uint32_t generation[GROUPS_MAX + 1];
	bool any; /* a soft limit was set, or memory.high of `/` */
	bool all_anew;

	bool is_watching;	  /* or it cannot be done */
	sd_event_source *trigger; /* owns the descriptor */
	uint64_t stalled_ns;	  /* it fired last; 0: never */
	uint64_t host_due_ns;
	bool host_is_short;
	struct numa_node node[NUMA_NODES_MAX];

	struct reclaim *run;	       /* under way; NULL: none */
	uint8_t order[NUMA_NODES_MAX]; /* of its nodes, and */
	unsigned turns, turn;	       /* how many, and which it is at */
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
	struct scarcity *c = s->scarcity = calloc(1, sizeof(*c));
	int nodes;

	if (!c)
		return -ENOMEM;
	c->any = c->all_anew = true; /* an adopted segment may have some */
	nodes = s->daemon->world->nodes(c->node, NUMA_NODES_MAX);
	c->nodes = nodes > 1 ? (unsigned)nodes : 1;
	for (unsigned i = 0; i < c->nodes; i++)
		if (softlimit_make(&c->tree[i]))
			return -ENOMEM;
	c->spread = c->nodes > 1 ? calloc(GROUPS_MAX + 1, sizeof(*c->spread)) : NULL;
	return c->nodes > 1 && !c->spread ? -ENOMEM : 0;
}

void scarcity_close(struct served *s)
{
	if (!s->scarcity)
		return;
	sd_event_source_disable_unref(s->scarcity->trigger);
	for (unsigned i = 0; i < s->scarcity->nodes; i++)
		softlimit_free(s->scarcity->tree[i]);
	free(s->scarcity->spread);
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
		if (c->nodes > 1)
			(void)s->daemon->world->nodes(c->node, c->nodes);
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

	for (unsigned i = 0; i < c->nodes && c->generation[group] != generation; i++)
		softlimit_forget(c->tree[i], group);
	c->generation[group] = generation;
	c->seen[group] = usage;
	return softlimit_note(c->tree[0], group, usage > seen ? usage - seen : seen - usage) || anew;
}

/* What lies where, anew, of the members at and below the groups that are marked: as often as their keys are. */
static void look_where(struct served *s, const struct survey *v, const bool *marked)
{
	struct numa_spread *sum = s->scarcity->spread;

	for (uint32_t g = 0; g < v->groups; g++)
		if (marked[g])
			sum[g] = (struct numa_spread){ 0 };
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		uint16_t g = mc_load_full(&member_of(&s->seg, i)->group);
		struct numa_spread spread;
		bool is_read = false;

		for (; survey_is_used(v, g); g = v->group[g].parent) {
			if (!marked[g])
				continue;
			if (!is_read && s->daemon->world->spread((pid_t)s->watch[i].pid, &spread))
				break;
			is_read = true;
			numa_add(&sum[g], &spread);
		}
	}
}

/* A key is of the group and of all above it. */
static void mark_up(const struct survey *v, bool *marked)
{
	for (uint32_t g = v->groups; g-- > 0;)
		for (uint16_t up = (uint16_t)g; marked[g] && survey_is_used(v, up); up = v->group[up].parent)
			marked[up] = true;
}

static void update_nodes(struct served *s, struct survey *v, bool *marked)
{
	struct scarcity *c = s->scarcity;

	if (c->nodes > 1) {
		mark_up(v, marked);
		look_where(s, v, marked);
	}
	for (unsigned i = 0; i < c->nodes; i++) {
		for (uint32_t g = 0; c->nodes > 1 && g < v->groups; g++)
			v->group[g].is_elsewhere = c->spread[g].pages[i] == 0;
		for (uint32_t g = 0; g < v->groups; g++)
			if (marked[g])
				softlimit_update(c->tree[i], v, (uint16_t)g);
	}
}

static void update_tree(struct served *s, struct survey *v)
{
	bool *marked = calloc(v->groups ? v->groups : 1, sizeof(*marked));
	bool any = false;

	if (!marked)
		return;
	for (uint32_t g = 0; g < v->groups; g++)
		if (survey_is_used(v, (uint16_t)g) && has_soft_limit(s, g) && is_to_be_updated(s, v, (uint16_t)g))
			any = marked[g] = true;
	if (any)
		update_nodes(s, v, marked);
	free(marked);
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

static void on_soft_done(struct served *s, struct reclaim *r, void *arg);

/* The next node's turn. False: there is none. */
static bool soften(struct served *s)
{
	struct scarcity *c = s->scarcity;
	unsigned node;

	if (c->turn >= c->turns)
		return false;
	node = c->order[c->turn++];
	if (reclaim_soften(s, c->tree[node], c->nodes > 1 ? (int)node : NUMA_ANY, on_soft_done, NULL, &c->run))
		c->run = NULL;
	return true;
}

/* The soft limits' runs have given nothing: what is above memory.high of `/` is taken from all. */
static void on_soft_done(struct served *s, struct reclaim *r, void *arg)
{
	uint64_t high = mc_load_relaxed(&s->seg.limits->limits[RESOURCE_MEMORY][GROUP_ROOT].high);
	uint64_t usage = pool_usage(mc_load_full(&pool_of(&s->seg, RESOURCE_MEMORY, GROUP_ROOT)->word));

	on_done(s, r, arg);
	if (r->got || soften(s) || usage <= high)
		return;
	if (reclaim_begin(s, GROUP_ROOT, usage - high, RECLAIM_SWAPPINESS_OWN, on_done, NULL, &s->scarcity->run))
		s->scarcity->run = NULL;
	else
		s->scarcity->run->is_for_limit = true;
}

/* False: memory is not short anywhere. */
static bool choose_nodes(struct served *s, bool is_machine_short)
{
	struct scarcity *c = s->scarcity;

	c->turn = 0;
	c->order[0] = 0;
	c->turns = is_machine_short;
	if (c->nodes > 1)
		c->turns = numa_choose(c->node, c->nodes, SCARCITY_PART, is_machine_short, c->order);
	return c->turns != 0;
}

static void relieve(struct served *s, const struct survey *v, uint64_t now_ns)
{
	struct scarcity *c = s->scarcity;
	bool is_short = is_machine_short(s, now_ns) || excess_of_root(v);

	served_want_turn(s, c->host_due_ns);
	if (c->run || !choose_nodes(s, is_short))
		return;
	if (now_ns < c->not_before_ns) {
		served_want_turn(s, c->not_before_ns);
		return;
	}
	if (excess_of_root(v))
		pool_count_event(&s->seg, RESOURCE_MEMORY, GROUP_ROOT, EVENT_HIGH);
	(void)soften(s);
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
