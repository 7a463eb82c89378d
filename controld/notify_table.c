/* SPDX-License-Identifier: MIT */
/* The table of subscriptions: found by their number, their owner and their group. */
#include "controld/notify_table.h"

#include "accounting/group.h"

#include <stdlib.h>
#include <string.h>

struct subscription *notify_make(struct notify *n, uint16_t group, const char *event, const struct event_spec *spec)
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

struct owner **notify_owner_place(struct notify *n, const void *key)
{
	struct owner **at = &n->owner[(uintptr_t)key / 64 % CHAINS];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

struct subscription *notify_find(struct notify *n, uint32_t id, const void *owner)
{
	struct subscription *sub = n->by_id[id % CHAINS];

	while (sub && sub->id != id)
		sub = sub->next_id;
	return sub && sub->owner->key == owner ? sub : NULL;
}

/* ---- meters --------------------------------------------------------------------------------------------------- */

bool notify_has_meter(const struct subscription *sub)
{
	return sub->kind == ON_USAGE || sub->kind == ON_MEMSW;
}

struct meter *notify_find_meter(const struct watched *w, const struct subscription *sub)
{
	struct meter *m = w->meters;

	while (m && (m->resource != sub->resource || m->is_memsw != (sub->kind == ON_MEMSW)))
		m = m->next;
	return m;
}

struct meter *notify_get_meter(struct watched *w, const struct subscription *sub)
{
	struct meter *m = notify_find_meter(w, sub);

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

/* ---- linking -------------------------------------------------------------------------------------------------- */

struct watched *notify_get_watched(struct notify *n, uint16_t group)
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

void notify_free_watched(struct notify *n, struct watched *w)
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

void notify_link_group(struct watched *w, struct subscription *sub)
{
	sub->watched = w;
	sub->next = w->first;
	sub->at = &w->first;
	if (sub->next)
		sub->next->at = &sub->next;
	w->first = sub;
	w->count++;
}

void notify_unlink_group(struct notify *n, struct subscription *sub)
{
	struct watched *w = sub->watched;

	if (!w)
		return;
	*sub->at = sub->next;
	if (sub->next)
		sub->next->at = sub->at;
	sub->watched = NULL;
	if (--w->count == 0)
		notify_free_watched(n, w);
}

void notify_link_owner(struct notify *n, struct owner *o, struct subscription *sub)
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

void notify_unlink_owner(struct notify *n, struct subscription *sub)
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

struct owner *notify_get_owner(struct notify *n, const void *key)
{
	struct owner **at = notify_owner_place(n, key);

	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (*at)
			(*at)->key = key;
	}
	return *at;
}

void notify_free_owner_if_idle(struct notify *n, const void *key)
{
	struct owner **at = notify_owner_place(n, key), *o = *at;

	if (!o || o->first)
		return;
	*at = o->next;
	free(o);
}
