/* SPDX-License-Identifier: MIT */
/* What each kind of subscription needs from its first day, and what is left of it after its last. */
#include "controld/notify_table.h"

#include "accounting/group.h"
#include "accounting/mark.h"
#include "accounting/stock.h"
#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/stall.h"

#include <errno.h>
#include <stdlib.h>

/* What was crossed before is told to those who were there; then it counts from the usage as it is, without stocks. */
static int add_threshold(struct notify *n, struct watched *w, struct subscription *sub)
{
	struct meter *m = notify_get_meter(w, sub);
	int err;

	if (!m)
		return -ENOMEM;
	notify_look_crossed(n, w->group);
	if (stock_may_be_below(&n->served->seg, m->resource, w->group))
		(void)stock_drain(&n->served->actor, m->resource, w->group);
	err = threshold_add(&m->thresholds, sub->units, sub, notify_usage(n, w, m));
	if (!err)
		notify_look_crossed(n, w->group);
	return err;
}

static int add_trigger(struct notify *n, struct watched *w, struct subscription *sub, const struct event_spec *spec)
{
	sub->trigger = calloc(1, sizeof(*sub->trigger));
	if (!sub->trigger)
		return -ENOMEM;
	loop_request_turn(n->served->daemon);
	return psi_trigger_open(sub->trigger, spec->trigger, true, stall_psi(n->served, w->group, notify_now_ns(n)));
}

/* Refusals of before are not news. */
static void begin_oom(struct notify *n)
{
	uint32_t groups = mc_load_full(&n->served->seg.limits->header.groups_used);

	for (uint32_t g = 0; g < groups; g++)
		n->oom[g] = (struct oom_state){
			.generation = n->served->seg.limits->group[g].generation + 1,
			.refused_seen = mc_load_relaxed(
				&pool_of(&n->served->seg, RESOURCE_MEMORY, (uint16_t)g)->event_local[EVENT_OOM]),
			.is_under = n->oom[g].is_under &&
				    n->oom[g].generation == n->served->seg.limits->group[g].generation + 1,
		};
}

/* Members count and compare only what somebody wants. */
static void set_watched(struct notify *n)
{
	uint32_t bits = 0;

	if (n->kinds[ON_USAGE] || n->kinds[ON_MEMSW])
		bits |= 1u << MARK_CROSSED;
	if (n->kinds[ON_EVENTS] || n->kinds[ON_OOM])
		bits |= 1u << MARK_COUNTED;
	if (n->kinds[ON_PRESSURE])
		bits |= 1u << MARK_STRAINED;
	mc_store_full(&n->served->seg.limits->header.watched, bits); /* [O10] */
}

int notify_begin(struct notify *n, struct watched *w, struct subscription *sub, const struct event_spec *spec)
{
	if (n->kinds[sub->kind]++ == 0) {
		set_watched(n);
		if (sub->kind == ON_OOM)
			begin_oom(n);
	}
	if (notify_has_meter(sub))
		return add_threshold(n, w, sub);
	if (sub->kind == ON_STALL)
		return add_trigger(n, w, sub, spec);
	if (sub->kind == ON_EVENTS) {
		notify_look_counted(n, w->group, notify_now_ns(n));
		w->events_seen = notify_events(n, w->group);
	}
	return 0;
}

void notify_end(struct notify *n, struct subscription *sub)
{
	struct meter *m = notify_has_meter(sub) && sub->watched ? notify_find_meter(sub->watched, sub) : NULL;

	if (m)
		threshold_remove(&m->thresholds, sub->units, sub);
	free(sub->trigger);
	sub->trigger = NULL;
	if (--n->kinds[sub->kind] == 0)
		set_watched(n);
}
