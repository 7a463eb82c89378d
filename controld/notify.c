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

static uint64_t look(struct notify *n)
{
	uint64_t now_ns = notify_now_ns(n), wait_ns;

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

/* ---- making ----------------------------------------------------------------------------------------------------- */

static int get_beacon(struct notify *n, const struct notify_means *means, const void *owner, struct beacon **ret,
		      struct complaint *why)
{
	struct subscription *other = means->share ? notify_find(n, means->share, owner) : NULL;
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

/* ---- from outside, under the lock -------------------------------------------------------------------------------- */

static int add(struct notify *n, struct subscription *sub, uint16_t group, const struct event_spec *spec,
	       const void *owner)
{
	struct watched *w = n->last_id < NOTIFY_ID_MAX ? notify_get_watched(n, group) : NULL;
	struct owner *o = w ? notify_get_owner(n, owner) : NULL;
	int err;

	if (!o) {
		if (w && !w->count)
			notify_free_watched(n, w);
		return -ENOMEM;
	}
	sub->id = ++n->last_id;
	notify_link_group(w, sub);
	notify_link_owner(n, o, sub);
	err = notify_begin(n, w, sub, spec);
	if (err) {
		notify_end(n, sub);
		notify_unlink_group(n, sub);
		notify_unlink_owner(n, sub);
		notify_free_owner_if_idle(n, owner);
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
	sub = notify_make(n, group, event, spec);
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
		notify_end(n, sub);
	notify_unlink_group(n, sub);
	if (group != GROUP_NIL && notify_has_meter(sub))
		notify_look_crossed(n, group);
	beacon_flush(&n->beacons);
	drop_beacon(n, sub);
	notify_unlink_owner(n, sub);
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
	struct subscription *sub = n ? notify_find(n, id, owner) : NULL;

	if (sub) {
		forget(n, sub);
		notify_free_owner_if_idle(n, owner);
	}
	if (n)
		unlock(n);
	return sub ? 0 : -ENOENT;
}

void notify_release(struct served *s, const void *owner)
{
	struct notify *n = lock(s);
	struct owner *o = n ? *notify_owner_place(n, owner) : NULL;

	while (o && o->first)
		forget(n, o->first);
	if (o)
		notify_free_owner_if_idle(n, owner);
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
	struct subscription *sub = n ? notify_find(n, id, owner) : NULL;
	json_t *row = sub ? row_of(sub) : NULL;

	if (n)
		unlock(n);
	return row;
}

/* The list begins with the newest; a page, with the oldest. */
static int list(struct notify *n, const void *owner, uint64_t from, struct page *page)
{
	struct owner *o = *notify_owner_place(n, owner);
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

		notify_end(n, sub);
		notify_unlink_group(n, sub);
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
