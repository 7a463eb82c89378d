/* SPDX-License-Identifier: MIT */
/* What the notifier looks at when a group is marked. */
#include "controld/notify_table.h"

#include "accounting/arm.h"
#include "accounting/effort.h"
#include "accounting/stock.h"
#include "controld/daemon.h"

#define LOOKS_MAX 64 /* at a group that moves all the while; then it is marked again */

/* ---- thresholds ---------------------------------------------------------------------------------------------- */

/* While a recount is on, nothing is known. */
static uint64_t usage_of(const struct notify *n, unsigned resource, uint16_t group)
{
	const struct segment *seg = &n->served->seg;
	uint64_t word;

	while (pool_is_busy(word = mc_load_full(&pool_of(seg, resource, group)->word)))
		(void)recount_wait(seg, resource);
	return pool_usage(word);
}

uint64_t notify_usage(const struct notify *n, const struct watched *w, const struct meter *m)
{
	return usage_of(n, m->resource, w->group) + (m->is_memsw ? usage_of(n, RESOURCE_SWAP, w->group) : 0);
}

/* What others hold in stock is not used, but counted. */
static void drain(struct notify *n, unsigned resource, uint16_t group)
{
	if (stock_may_be_below(&n->served->seg, resource, group))
		(void)stock_drain(&n->served->actor, resource, group);
}

static void fire_threshold(void *arg, void *who)
{
	notify_fire(arg, who);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

struct arms {
	uint64_t up, down;
};

/* Memory at which usage and swap together reach the thresholds: swap stays as it is until it is looked at again. */
static void narrow(struct arms *a, const struct meter *m, uint64_t swap)
{
	uint64_t up, down;

	threshold_nearest(&m->thresholds, &up, &down);
	if (up) {
		up = m->is_memsw ? minus(up, swap) : up;
		up = up ? up : 1;
		a->up = !a->up || up < a->up ? up : a->up;
	}
	down = m->is_memsw ? minus(down, swap) : down;
	a->down = down > a->down ? down : a->down;
}

static struct arms arms_of(const struct watched *w, unsigned resource, uint64_t swap)
{
	struct arms a = { 0, 0 };

	for (const struct meter *m = w->meters; m; m = m->next) {
		if (m->resource == resource)
			narrow(&a, m, swap);
		if (m->is_memsw && resource == RESOURCE_SWAP) /* each change */
			a = (struct arms){ swap + 1, swap };
	}
	return a;
}

/* True when usage has passed the new words already. */
static bool arm(struct notify *n, const struct watched *w, unsigned resource, uint64_t swap)
{
	struct arms a = arms_of(w, resource, swap);
	uint64_t word = arm_word(a.up, a.down);

	mc_store_full(arm_of(&n->served->seg, resource, w->group), word); /* [O10] */
	return word && arm_is_crossed(word, usage_of(n, resource, w->group));
}

static bool look_once(struct notify *n, struct watched *w)
{
	uint64_t swap = usage_of(n, RESOURCE_SWAP, w->group);
	bool again = false;

	for (struct meter *m = w->meters; m; m = m->next) {
		drain(n, m->resource, w->group);
		threshold_look(&m->thresholds, notify_usage(n, w, m), fire_threshold, n);
	}
	for (struct meter *m = w->meters; m; m = m->next) {
		again |= arm(n, w, m->resource, swap);
		if (m->is_memsw)
			again |= arm(n, w, RESOURCE_SWAP, swap);
	}
	return again;
}

/* Nobody wants to know any more. */
static void disarm(struct notify *n, uint16_t group)
{
	const struct segment *seg = &n->served->seg;

	for (unsigned r = 0; r < RESOURCES_MAX; r++)
		if (mc_load_acquire(&seg->limits->header.region[r].used) && mc_load_relaxed(arm_of(seg, r, group)))
			mc_store_full(arm_of(seg, r, group), 0);
}

void notify_look_crossed(struct notify *n, uint16_t group)
{
	struct watched *w = n->watched[group];
	int looks = 0;

	if (!w) {
		disarm(n, group);
		return;
	}
	while (look_once(n, w))
		if (++looks >= LOOKS_MAX) {
			mark_group(&n->served->seg, MARK_CROSSED, group);
			return;
		}
}

/* ---- events and out-of-memory episodes ------------------------------------------------------------------------ */

uint64_t notify_events(const struct notify *n, uint16_t group)
{
	const struct pool *pool = pool_of(&n->served->seg, RESOURCE_MEMORY, group);
	uint64_t sum = 0;

	for (unsigned i = 0; i < EVENTS; i++)
		sum += mc_load_relaxed(&pool->event[i]);
	return sum;
}

static void look_at_events(struct notify *n, struct watched *w)
{
	uint64_t now = notify_events(n, w->group);

	if (now == w->events_seen)
		return;
	w->events_seen = now;
	for (struct subscription *sub = w->first; sub; sub = sub->next)
		if (sub->kind == ON_EVENTS)
			notify_fire(n, sub);
}

static struct oom_state *oom_of(struct notify *n, uint16_t group)
{
	struct oom_state *o = &n->oom[group];
	uint32_t generation = n->served->seg.limits->group[group].generation + 1;

	if (o->generation != generation)
		*o = (struct oom_state){ .generation = generation };
	return o;
}

/* The group and all below it, never those above. */
static void tell_oom(struct notify *n, uint16_t group)
{
	uint32_t groups = mc_load_full(&n->served->seg.limits->header.groups_used);

	for (uint32_t g = 0; g < groups; g++) {
		struct watched *w = n->watched[g];

		if (!w || !group_is_within(&n->served->seg, (uint16_t)g, group))
			continue;
		for (struct subscription *sub = w->first; sub; sub = sub->next)
			if (sub->kind == ON_OOM)
				notify_fire(n, sub);
	}
}

void notify_begin_oom(struct notify *n, uint16_t group, bool has_begun)
{
	struct oom_state *o = oom_of(n, group);

	if (has_begun && !o->is_under)
		tell_oom(n, group);
	o->is_under = has_begun;
}

/* Somebody waits, and what he waits for is not there. */
static bool is_waiting(const struct notify *n, uint16_t group)
{
	const struct segment *seg = &n->served->seg;
	uint32_t waited = mc_load_full(&pool_of(seg, RESOURCE_MEMORY, group)->waited);

	return seg->limits->group[group].oom_policy == OOM_WAIT && waited &&
	       usage_of(n, RESOURCE_MEMORY, group) + waited > pool_max(seg, RESOURCE_MEMORY, group);
}

/* Where requests fail nothing lasts: an episode is a row of refusals. */
static void look_for_refusals(struct notify *n, uint16_t group, uint64_t now_ns)
{
	struct oom_state *o = oom_of(n, group);
	uint64_t refused = mc_load_relaxed(&pool_of(&n->served->seg, RESOURCE_MEMORY, group)->event_local[EVENT_OOM]);

	if (refused == o->refused_seen)
		return;
	if (!o->refused_ns || now_ns - o->refused_ns >= NOTIFY_OOM_NS)
		tell_oom(n, group);
	o->refused_seen = refused;
	o->refused_ns = now_ns;
}

static void look_at_oom(struct notify *n, uint16_t group, uint64_t now_ns)
{
	enum oom_policy policy = (enum oom_policy)n->served->seg.limits->group[group].oom_policy;

	if (policy == OOM_WAIT)
		notify_begin_oom(n, group, is_waiting(n, group));
	else if (policy == OOM_FAIL)
		look_for_refusals(n, group, now_ns);
}

bool notify_is_under_oom(struct notify *n, uint16_t group)
{
	for (; group != GROUP_NIL; group = group_parent(&n->served->seg, group))
		if (oom_of(n, group)->is_under || is_waiting(n, group))
			return true;
	return false;
}

void notify_look_for_room(struct notify *n)
{
	uint32_t groups = mc_load_full(&n->served->seg.limits->header.groups_used);

	for (uint32_t g = 0; g < groups; g++)
		if (n->oom[g].is_under && n->served->seg.limits->group[g].oom_policy != OOM_KILL)
			notify_begin_oom(n, (uint16_t)g, is_waiting(n, (uint16_t)g));
}

void notify_look_counted(struct notify *n, uint16_t group, uint64_t now_ns)
{
	if (n->kinds[ON_EVENTS] && n->watched[group])
		look_at_events(n, n->watched[group]);
	if (n->kinds[ON_OOM])
		look_at_oom(n, group, now_ns);
}

/* ---- pressure -------------------------------------------------------------------------------------------------- */

static bool tell_level(struct notify *n, const struct watched *w, unsigned resource, enum pressure_level level,
		       bool is_above, bool somebody_told)
{
	bool somebody = false;

	for (struct subscription *sub = w ? w->first : NULL; sub; sub = sub->next)
		if (sub->kind == ON_PRESSURE && sub->resource == resource &&
		    pressure_is_told(level, (enum pressure_level)sub->level, (enum pressure_mode)sub->mode, is_above,
				     somebody_told)) {
			notify_fire(n, sub);
			somebody = true;
		}
	return somebody;
}

static void look_at_effort(struct notify *n, unsigned resource, uint16_t group)
{
	const struct segment *seg = &n->served->seg;
	uint64_t word = effort_take(seg, resource, group);
	enum pressure_level level = pressure_level(effort_scanned(word), effort_reclaimed(word));
	bool somebody = false;

	for (uint16_t g = group; word && g != GROUP_NIL; g = group_parent(seg, g))
		somebody |= tell_level(n, n->watched[g], resource, level, g != group, somebody);
}

void notify_look_strained(struct notify *n, uint16_t group)
{
	for (unsigned r = 0; r < RESOURCES_MAX; r++)
		if (r != RESOURCE_SWAP && mc_load_acquire(&n->served->seg.limits->header.region[r].used))
			look_at_effort(n, r, group);
}

/* ---- all that is marked ------------------------------------------------------------------------------------------ */

struct looker {
	struct notify *n;
	enum mark_reason why;
	uint64_t now_ns, quiet_ns;
};

/* Too early: the mark stays, nobody need tell us again. */
static bool is_to_wait(struct looker *l, uint16_t group)
{
	uint64_t until_ns = l->n->quiet_until_ns[l->why][group];

	if (!l->quiet_ns || l->now_ns >= until_ns)
		return false;
	if (!l->n->must_look_again || until_ns < l->n->again_ns)
		l->n->again_ns = until_ns;
	l->n->must_look_again = true;
	return true;
}

static void look_at_marked(void *arg, uint16_t group)
{
	struct looker *l = arg;

	if (is_to_wait(l, group))
		return;
	mark_clear(&l->n->served->seg, l->why, group); /* [O10] */
	if (l->quiet_ns)
		l->n->quiet_until_ns[l->why][group] = l->now_ns + l->quiet_ns;
	if (l->why == MARK_CROSSED)
		notify_look_crossed(l->n, group);
	else if (l->why == MARK_COUNTED)
		notify_look_counted(l->n, group, l->now_ns);
	else
		notify_look_strained(l->n, group);
}

void notify_look(struct notify *n, uint64_t now_ns)
{
	static const uint64_t quiet_ns[MARKS] = {
		[MARK_COUNTED] = NOTIFY_QUIET_NS, [MARK_STRAINED] = NOTIFY_STRAIN_NS
	};

	if (n->must_look_again && now_ns >= n->again_ns) {
		n->must_look_again = false;
		mark_some_again(&n->served->seg);
	}
	for (unsigned why = 0; why < MARKS; why++) {
		struct looker l = { n, (enum mark_reason)why, now_ns, quiet_ns[why] };

		mark_take(&n->served->seg, l.why, look_at_marked, &l);
	}
	beacon_flush(&n->beacons);
}
