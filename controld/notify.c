/* SPDX-License-Identifier: MIT */
/* Subscriptions. */
#include "controld/notify_table.h"

#include "accounting/arm.h"
#include "accounting/group.h"
#include "accounting/stock.h"
#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/stall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREAD_STACK 65536u
#define MS 1000000ull
#define STALL_LOOK_NS (50 * MS) /* at the least, between looks at pressure stalls; members tell theirs every 250 ms */

/* ---- the thread ------------------------------------------------------------------------------------------------- */

static uint64_t now_of(const struct notify *n)
{
	return n->served->daemon->world->now_ns();
}

static uint64_t look(struct notify *n)
{
	uint64_t now_ns = now_of(n), wait_ns;

	(void)pthread_mutex_lock(&n->lock);
	notify_look(n, now_ns);
	wait_ns = !n->must_look_again ? 0 : n->again_ns > now_ns ? n->again_ns - now_ns : 1;
	(void)pthread_mutex_unlock(&n->lock);
	return wait_ns;
}

static void *notifier(void *arg)
{
	struct notify *n = arg;

	while (!mc_load_acquire(&n->stop)) {
		uint32_t seen = mark_read(&n->served->seg);
		uint64_t wait_ns = look(n);

		mark_wait(&n->served->seg, seen, wait_ns);
	}
	return NULL;
}

static int start_thread(struct notify *n)
{
	pthread_attr_t attributes;
	int err;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, THREAD_STACK);
	err = pthread_create(&n->thread, &attributes, notifier, n);
	(void)pthread_attr_destroy(&attributes);
	n->is_running = err == 0;
	return -err;
}

/* What an older daemon has armed is nobody's. */
static void disarm_all(struct served *s)
{
	uint32_t groups = mc_load_full(&s->seg.limits->header.groups_used);

	mc_store_full(&s->seg.limits->header.watched, 0);
	for (unsigned r = 0; r < s->seg.resources; r++)
		for (uint32_t g = 0; mc_load_acquire(&s->seg.limits->header.region[r].used) && g < groups; g++)
			if (mc_load_relaxed(arm_of(&s->seg, r, (uint16_t)g)))
				mc_store_full(arm_of(&s->seg, r, (uint16_t)g), 0);
}

/* Nothing of all this is there before somebody subscribes. */
static struct notify *notify_of(struct served *s)
{
	struct notify *n = s->notify ? NULL : calloc(1, sizeof(*n));

	if (!n)
		return s->notify;
	n->served = s;
	(void)pthread_mutex_init(&n->lock, NULL);
	disarm_all(s);
	if (start_thread(n)) {
		free(n);
		return NULL;
	}
	s->notify = n;
	return n;
}

/* ---- finding ---------------------------------------------------------------------------------------------------- */

static struct owner **owner_place(struct notify *n, const void *key)
{
	struct owner **at = &n->owner[(uintptr_t)key / 64 % CHAINS];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

static struct subscription *find(struct notify *n, uint32_t id, const void *owner)
{
	struct subscription *sub = n->by_id[id % CHAINS];

	while (sub && sub->id != id)
		sub = sub->next_id;
	return sub && sub->owner->key == owner ? sub : NULL;
}

/* ---- making ----------------------------------------------------------------------------------------------------- */

static int get_beacon(struct notify *n, const struct notify_means *means, const void *owner, struct beacon **ret,
		      struct complaint *why)
{
	struct subscription *other = means->share ? find(n, means->share, owner) : NULL;
	int err;

	if (means->share && (!other || !other->beacon))
		return complain(why, -ENOENT, "no subscription %u of this connection to share an eventfd with",
				means->share);
	if (other) {
		*ret = other->beacon;
		beacon_share(*ret);
		return 0;
	}
	err = means->eventfd >= 0 ? beacon_take(&n->beacons, means->eventfd, ret) : beacon_make(&n->beacons, ret);
	if (err == -EINVAL)
		return complain(why, err,
				"the descriptor that came is no eventfd: make one with eventfd(2), or send none");
	if (err == -EMFILE || err == -ENFILE)
		return complain(
			why, -EMFILE,
			"the daemon has no descriptor left (%u eventfds): let subscriptions share one, or raise its "
			"limit of open files",
			n->beacons.count);
	return err ? complain(why, err, "cannot use the eventfd: %s", strerror(-err)) : 0;
}

static struct subscription *make(struct notify *n, uint16_t group, const char *event, const struct event_spec *spec)
{
	char path[GROUP_PATH_MAX];
	size_t a = group_path(&n->served->seg, group, path), b = strlen(event);
	struct subscription *sub = calloc(1, sizeof(*sub) + a + b + 2);

	if (!sub)
		return NULL;
	memcpy(sub->text, path, a);
	memcpy(sub->text + a + 1, event, b);
	sub->kind = (uint8_t)spec->kind;
	sub->level = (uint8_t)spec->level;
	sub->mode = (uint8_t)spec->mode;
	sub->resource = (uint8_t)spec->resource;
	sub->units = spec->units;
	return sub;
}

static bool has_meter(const struct subscription *sub)
{
	return sub->kind == ON_USAGE || sub->kind == ON_MEMSW;
}

static struct meter *find_meter(const struct watched *w, const struct subscription *sub)
{
	struct meter *m = w->meters;

	while (m && (m->resource != sub->resource || m->is_memsw != (sub->kind == ON_MEMSW)))
		m = m->next;
	return m;
}

static struct meter *get_meter(struct watched *w, const struct subscription *sub)
{
	struct meter *m = find_meter(w, sub);

	if (m)
		return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->resource = sub->resource;
	m->is_memsw = sub->kind == ON_MEMSW;
	m->next = w->meters;
	w->meters = m;
	return m;
}

/* What was crossed before is told to those who were there; then it counts from the usage as it is, without stocks. */
static int add_threshold(struct notify *n, struct watched *w, struct subscription *sub)
{
	struct meter *m = get_meter(w, sub);
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
	return psi_trigger_open(sub->trigger, spec->trigger, true, stall_psi(n->served, w->group, now_of(n)));
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

static int begin(struct notify *n, struct watched *w, struct subscription *sub, const struct event_spec *spec)
{
	if (n->kinds[sub->kind]++ == 0) {
		set_watched(n);
		if (sub->kind == ON_OOM)
			begin_oom(n);
	}
	if (has_meter(sub))
		return add_threshold(n, w, sub);
	if (sub->kind == ON_STALL)
		return add_trigger(n, w, sub, spec);
	if (sub->kind == ON_EVENTS) {
		notify_look_counted(n, w->group, now_of(n));
		w->events_seen = notify_events(n, w->group);
	}
	return 0;
}

static void end(struct notify *n, struct subscription *sub)
{
	struct meter *m = has_meter(sub) && sub->watched ? find_meter(sub->watched, sub) : NULL;

	if (m)
		threshold_remove(&m->thresholds, sub->units, sub);
	free(sub->trigger);
	sub->trigger = NULL;
	if (--n->kinds[sub->kind] == 0)
		set_watched(n);
}

/* ---- linking ---------------------------------------------------------------------------------------------------- */

static struct watched *get_watched(struct notify *n, uint16_t group)
{
	struct watched *w = n->watched[group];

	if (w)
		return w;
	w = calloc(1, sizeof(*w));
	if (w)
		w->group = group;
	n->watched[group] = w;
	return w;
}

static void free_watched(struct notify *n, struct watched *w)
{
	while (w->meters) {
		struct meter *m = w->meters;

		w->meters = m->next;
		threshold_free(&m->thresholds);
		free(m);
	}
	n->watched[w->group] = NULL;
	free(w);
}

static void link_group(struct watched *w, struct subscription *sub)
{
	sub->watched = w;
	sub->next = w->first;
	sub->at = &w->first;
	if (sub->next)
		sub->next->at = &sub->next;
	w->first = sub;
	w->count++;
}

static void unlink_group(struct notify *n, struct subscription *sub)
{
	struct watched *w = sub->watched;

	if (!w)
		return;
	*sub->at = sub->next;
	if (sub->next)
		sub->next->at = sub->at;
	sub->watched = NULL;
	if (--w->count == 0)
		free_watched(n, w);
}

static void link_owner(struct notify *n, struct owner *o, struct subscription *sub)
{
	sub->owner = o;
	sub->next_own = o->first;
	sub->at_own = &o->first;
	if (sub->next_own)
		sub->next_own->at_own = &sub->next_own;
	o->first = sub;
	sub->next_id = n->by_id[sub->id % CHAINS];
	n->by_id[sub->id % CHAINS] = sub;
	n->count++;
}

static void unlink_owner(struct notify *n, struct subscription *sub)
{
	struct subscription **at = &n->by_id[sub->id % CHAINS];

	while (*at != sub)
		at = &(*at)->next_id;
	*at = sub->next_id;
	*sub->at_own = sub->next_own;
	if (sub->next_own)
		sub->next_own->at_own = sub->at_own;
	n->count--;
}

static struct owner *get_owner(struct notify *n, const void *key)
{
	struct owner **at = owner_place(n, key);

	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (*at)
			(*at)->key = key;
	}
	return *at;
}

static void free_owner_if_idle(struct notify *n, const void *key)
{
	struct owner **at = owner_place(n, key), *o = *at;

	if (!o || o->first)
		return;
	*at = o->next;
	free(o);
}

/* ---- from outside, under the lock -------------------------------------------------------------------------------- */

static int add(struct notify *n, struct subscription *sub, uint16_t group, const struct event_spec *spec,
	       const void *owner)
{
	struct watched *w = n->last_id < NOTIFY_ID_MAX ? get_watched(n, group) : NULL;
	struct owner *o = w ? get_owner(n, owner) : NULL;
	int err;

	if (!o) {
		if (w && !w->count)
			free_watched(n, w);
		return -ENOMEM;
	}
	sub->id = ++n->last_id;
	link_group(w, sub);
	link_owner(n, o, sub);
	err = begin(n, w, sub, spec);
	if (err) {
		end(n, sub);
		unlink_group(n, sub);
		unlink_owner(n, sub);
		free_owner_if_idle(n, owner);
	} else if (sub->kind == ON_OOM && notify_is_under_oom(n, group)) {
		notify_fire(n, sub);
	}
	return err;
}

/* The lock is held. */
static int subscribe(struct notify *n, uint16_t group, const char *event, const struct notify_means *means,
		     const struct event_spec *spec, const void *owner, int *ret_fd, struct complaint *why)
{
	struct subscription *sub;
	struct beacon *beacon = NULL;
	int err = get_beacon(n, means, owner, &beacon, why);

	if (err)
		return err;
	sub = make(n, group, event, spec);
	if (sub)
		sub->beacon = beacon;
	err = sub ? add(n, sub, group, spec, owner) : -ENOMEM;
	beacon_flush(&n->beacons);
	if (err) {
		free(sub);
		beacon_leave(&n->beacons, beacon);
		return complain(why, err, "the daemon is out of memory");
	}
	if (ret_fd)
		*ret_fd = beacon->fd;
	return (int)sub->id;
}

static void drop_beacon(struct notify *n, struct subscription *sub)
{
	if (sub->beacon)
		beacon_leave(&n->beacons, sub->beacon);
	sub->beacon = NULL;
}

static void forget(struct notify *n, struct subscription *sub)
{
	uint16_t group = sub->watched ? sub->watched->group : GROUP_NIL;

	if (sub->watched)
		end(n, sub);
	unlink_group(n, sub);
	if (group != GROUP_NIL && has_meter(sub))
		notify_look_crossed(n, group);
	beacon_flush(&n->beacons);
	drop_beacon(n, sub);
	unlink_owner(n, sub);
	free(sub);
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static struct notify *lock(struct served *s)
{
	if (s->notify)
		(void)pthread_mutex_lock(&s->notify->lock);
	return s->notify;
}

static void unlock(struct notify *n)
{
	(void)pthread_mutex_unlock(&n->lock);
}

int notify_subscribe(struct served *s, uint16_t group, const char *event, const struct notify_means *means,
		     const void *owner, int *ret_fd, struct complaint *why)
{
	struct notify *n = notify_of(s);
	struct event_spec spec;
	int err =
		n ? subscribe_parse(&s->seg, event, &spec, why) : complain(why, -ENOMEM, "the daemon is out of memory");

	if (err) {
		if (means->eventfd >= 0)
			(void)close(means->eventfd);
		return err;
	}
	(void)lock(s);
	err = subscribe(n, group, event, means, &spec, owner, ret_fd, why);
	unlock(n);
	return err;
}

int notify_add(struct served *s, uint16_t group, const char *event, int eventfd, const void *owner,
	       struct complaint *why)
{
	struct notify_means means = { .eventfd = eventfd };

	return notify_subscribe(s, group, event, &means, owner, NULL, why);
}

int notify_remove(struct served *s, uint32_t id, const void *owner)
{
	struct notify *n = lock(s);
	struct subscription *sub = n ? find(n, id, owner) : NULL;

	if (sub) {
		forget(n, sub);
		free_owner_if_idle(n, owner);
	}
	if (n)
		unlock(n);
	return sub ? 0 : -ENOENT;
}

void notify_release(struct served *s, const void *owner)
{
	struct notify *n = lock(s);
	struct owner *o = n ? *owner_place(n, owner) : NULL;

	while (o && o->first)
		forget(n, o->first);
	if (o)
		free_owner_if_idle(n, owner);
	if (n)
		unlock(n);
}

static json_t *row_of(const struct subscription *sub)
{
	return json_pack("{s:i, s:s, s:s, s:I, s:b}", "id", (int)sub->id, "group", sub->text, "event",
			 sub->text + strlen(sub->text) + 1, "fired", (json_int_t)sub->fired, "removed",
			 sub->watched == NULL);
}

json_t *notify_row(struct served *s, const void *owner, uint32_t id)
{
	struct notify *n = lock(s);
	struct subscription *sub = n ? find(n, id, owner) : NULL;
	json_t *row = sub ? row_of(sub) : NULL;

	if (n)
		unlock(n);
	return row;
}

/* The list begins with the newest; a page, with the oldest. */
static int list(struct notify *n, const void *owner, uint64_t from, struct page *page)
{
	struct owner *o = *owner_place(n, owner);
	struct subscription **all = NULL;
	uint32_t count = 0, room = 0;
	int err = 0;

	for (struct subscription *sub = o ? o->first : NULL; sub && sub->id >= from && !err; sub = sub->next_own) {
		err = served_grow((void **)&all, count, &room, sizeof(*all));
		if (!err)
			all[count++] = sub;
	}
	while (!err && count-- > 0)
		if (!page_add(page, all[count]->id, NULL, row_of(all[count])))
			break;
	free(all);
	return err;
}

int notify_list(struct served *s, const void *owner, uint64_t from, struct page *page)
{
	struct notify *n = lock(s);
	int err = n ? list(n, owner, from, page) : 0;

	if (n)
		unlock(n);
	return err;
}

void notify_group_gone(struct served *s, uint16_t group)
{
	struct notify *n = lock(s);
	struct watched *w = n ? n->watched[group] : NULL;

	for (struct subscription *sub = w ? w->first : NULL; sub; sub = sub->next)
		notify_fire(n, sub);
	if (w)
		beacon_flush(&n->beacons);
	while (n && n->watched[group]) {
		struct subscription *sub = n->watched[group]->first;

		end(n, sub);
		unlink_group(n, sub);
		drop_beacon(n, sub);
	}
	if (n) {
		notify_look_crossed(n, group);
		unlock(n);
	}
}

void notify_oom(struct served *s, uint16_t group, bool has_begun)
{
	struct notify *n = lock(s);

	if (!n)
		return;
	notify_begin_oom(n, group, has_begun);
	beacon_flush(&n->beacons);
	unlock(n);
}

static void tell_history(struct notify *n, uint16_t group)
{
	for (struct subscription *sub = n->watched[group] ? n->watched[group]->first : NULL; sub; sub = sub->next)
		if (sub->kind == ON_HISTORY)
			notify_fire(n, sub);
}

/* The last names on the path may be gone: those above them are told. */
void notify_told(struct served *s, const char *path)
{
	struct notify *n = lock(s);
	uint16_t group = GROUP_ROOT;

	if (!n)
		return;
	while (n->kinds[ON_HISTORY]) {
		size_t size = strcspn(path += strspn(path, "/"), "/");

		tell_history(n, group);
		group = size ? group_find_child(&s->seg, group, path, size) : 0;
		if (!group)
			break;
		path += size;
	}
	beacon_flush(&n->beacons);
	unlock(n);
}

void notify_limits_changed(struct served *s)
{
	struct notify *n = lock(s);

	if (!n)
		return;
	if (n->kinds[ON_OOM])
		notify_look_for_room(n);
	unlock(n);
}

static uint64_t look_at_stall(struct notify *n, struct subscription *sub, uint64_t now_ns)
{
	uint64_t period_ns = sub->trigger->window_ns / PSI_LOOKS;

	if (psi_trigger_look(sub->trigger, stall_psi(n->served, sub->watched->group, now_ns)))
		notify_fire(n, sub);
	return period_ns > STALL_LOOK_NS ? period_ns : STALL_LOOK_NS;
}

/* When the next look is due; 0: there is nothing to look at. */
static uint64_t look_at_stalls(struct notify *n, uint64_t now_ns)
{
	uint64_t least_ns = 0;

	for (uint32_t g = 0; n->kinds[ON_STALL] && g <= GROUPS_MAX; g++)
		for (struct subscription *sub = n->watched[g] ? n->watched[g]->first : NULL; sub; sub = sub->next)
			if (sub->kind == ON_STALL) {
				uint64_t ns = look_at_stall(n, sub, now_ns);

				least_ns = !least_ns || ns < least_ns ? ns : least_ns;
			}
	return least_ns;
}

void notify(struct served *s, uint64_t now_ns)
{
	struct notify *n = lock(s);
	uint64_t least_ns;

	if (!n)
		return;
	if (n->count)
		mark_some_again(&s->seg);
	if (n->kinds[ON_OOM])
		notify_look_for_room(n);
	least_ns = look_at_stalls(n, now_ns);
	beacon_flush(&n->beacons);
	unlock(n);
	if (least_ns && !served_is_empty(s))
		served_want_turn(s, now_ns + least_ns);
}

void notify_count(const struct served *s, struct notify_figures *ret)
{
	struct notify *n = lock((struct served *)(uintptr_t)s);

	*ret = (struct notify_figures){ 0 };
	if (!n)
		return;
	*ret = (struct notify_figures){ n->count, n->notified, n->beacons.count, n->beacons.lost };
	unlock(n);
}

static void end_thread(struct notify *n)
{
	mc_store_release(&n->stop, 1);
	mark_ring(&n->served->seg);
	(void)pthread_join(n->thread, NULL);
}

void notify_close(struct served *s)
{
	struct notify *n = s->notify;

	if (!n)
		return;
	end_thread(n);
	for (unsigned i = 0; i < CHAINS; i++)
		while (n->owner[i])
			notify_release(s, n->owner[i]->key);
	disarm_all(s);
	(void)pthread_mutex_destroy(&n->lock);
	free(n);
	s->notify = NULL;
}
