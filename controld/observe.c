/* SPDX-License-Identifier: MIT */
/* What an observed member starts is observed too. */
#include "controld/observe.h"

#include "accounting/member.h"
#include "controld/daemon.h"
#include "controld/log.h"
#include "controld/reap.h"

#include <stdlib.h>
#include <string.h>

#define PERIOD_NS 250000000ull
#define SHARE 100u /* of the time a round takes until the next part of it */
#define LOADING_MAX 256u
#define PART_NS 2000000ull /* a round is left after so much, and continued */

struct parent {
	struct served *s;
	uint32_t member;
};

static bool is_observed(const struct served *s, uint32_t member)
{
	return member_state(mc_load_full(&member_of(&s->seg, member)->state)) == MEMBER_OBSERVED &&
	       s->watch[member].pid;
}

/* Since when a child has had the library and not the segment. Those of one moment; the oldest makes room. */
struct loading {
	unsigned next;
	struct {
		pid_t pid;
		uint64_t start_time, since_ns;
	} child[LOADING_MAX];
};

static uint64_t loading_since_ns(struct served *s, pid_t child, uint64_t start_time, uint64_t now_ns)
{
	struct loading *l = s->loading;
	unsigned i;

	if (!l)
		l = s->loading = calloc(1, sizeof(*l));
	if (!l)
		return now_ns;
	for (i = 0; i < LOADING_MAX; i++)
		if (l->child[i].pid == child && l->child[i].start_time == start_time)
			return l->child[i].since_ns;
	i = l->next++ % LOADING_MAX;
	l->child[i].pid = child;
	l->child[i].start_time = start_time;
	l->child[i].since_ns = now_ns;
	return now_ns;
}

/* It will join, or has: in a moment its own entry says so. Whoever still has not was turned away, as another user's
 * program is that su or sudo started. */
static bool joins_by_itself(struct served *s, pid_t child, uint64_t start_time)
{
	uint64_t now_ns = s->daemon->world->now_ns();
	enum world_image image = IMAGE_BARE;

	if (s->daemon->world->image(child, s->device, s->inode, &image))
		return true;
	return image == IMAGE_ATTACHED ||
	       (image == IMAGE_LOADING &&
		now_ns - loading_since_ns(s, child, start_time, now_ns) < EXEC_GRACE_LOADING_NS);
}

static void take(pid_t child, uint64_t start_time, void *to)
{
	const struct parent *p = to;
	struct member *parent = member_of(&p->s->seg, p->member);
	char comm[16] = "";
	uint32_t member;
	int err;

	if (member_find(&p->s->seg, (uint32_t)child, start_time, &member) == 0 ||
	    joins_by_itself(p->s, child, start_time))
		return;
	(void)p->s->daemon->world->comm(child, comm);
	err = member_join_family(&p->s->seg, (uint32_t)child, start_time, mc_load_full(&parent->group), MEMBER_OBSERVED,
				 comm, mc_load_relaxed(&parent->family), &member);
	if (err)
		log_line(LOG_WARNING, "pid %d (%s), a child of pid %u, is not accounted: %s", (int)child, comm,
			 p->s->watch[p->member].pid, strerror(-err));
}

/* From the member on that is next; true when the round is complete. */
static bool look_at_some(struct served *s, uint64_t began_ns)
{
	const struct world *world = s->daemon->world;
	struct parent p = { .s = s };

	for (p.member = served_next_member(s, s->observe_from); p.member != MEMBER_NIL;
	     p.member = served_next_member(s, p.member + 1)) {
		if (!is_observed(s, p.member))
			continue;
		if (world->now_ns() - began_ns >= PART_NS) {
			s->observe_from = p.member;
			return false;
		}
		(void)world->children((pid_t)s->watch[p.member].pid, take, &p);
	}
	s->observe_from = 0;
	return true;
}

static bool is_any_observed(const struct served *s)
{
	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (is_observed(s, i))
			return true;
	return false;
}

void observe(struct served *s, uint64_t now_ns)
{
	uint64_t began_ns, pause_ns;
	bool complete;

	if (!is_any_observed(s))
		return;
	if (now_ns >= s->observe_due_ns) {
		began_ns = s->daemon->world->now_ns();
		complete = look_at_some(s, began_ns);
		pause_ns = (s->daemon->world->now_ns() - began_ns) * SHARE;
		if (complete && pause_ns < PERIOD_NS)
			pause_ns = PERIOD_NS;
		s->observe_due_ns = now_ns + pause_ns;
	}
	served_want_turn(s, s->observe_due_ns);
}
