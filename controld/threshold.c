/* SPDX-License-Identifier: MIT */
/* Thresholds of one counter. */
#include "controld/threshold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The first entry above `units`. */
static uint32_t find_above(const struct thresholds *t, uint64_t units)
{
	uint32_t from = 0, to = t->count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (t->entry[middle].units <= units)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static int make_room(struct thresholds *t)
{
	uint32_t room = t->room ? t->room * 2 : 1; /* most groups have one */
	struct threshold *entry;

	if (t->count < t->room)
		return 0;
	entry = reallocarray(t->entry, room, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	t->entry = entry;
	t->room = room;
	return 0;
}

int threshold_add(struct thresholds *t, uint64_t units, void *who, uint64_t usage)
{
	uint32_t at = find_above(t, units);
	int err = make_room(t);

	if (err)
		return err;
	memmove(&t->entry[at + 1], &t->entry[at], (t->count - at) * sizeof(*t->entry));
	t->entry[at] = (struct threshold){ .units = units, .who = who };
	t->count++;
	t->passed = find_above(t, usage);
	return 0;
}

void threshold_remove(struct thresholds *t, uint64_t units, const void *who)
{
	uint32_t at = find_above(t, units);

	while (at > 0 && t->entry[at - 1].units == units)
		if (t->entry[--at].who == who) {
			t->count--;
			memmove(&t->entry[at], &t->entry[at + 1], (t->count - at) * sizeof(*t->entry));
			t->passed -= at < t->passed;
			return;
		}
}

void threshold_look(struct thresholds *t, uint64_t usage, threshold_fires *fires, void *arg)
{
	while (t->passed > 0 && t->entry[t->passed - 1].units > usage)
		fires(arg, t->entry[--t->passed].who);
	while (t->passed < t->count && t->entry[t->passed].units <= usage)
		fires(arg, t->entry[t->passed++].who);
}

void threshold_nearest(const struct thresholds *t, uint64_t *ret_up, uint64_t *ret_down)
{
	*ret_up = t->passed < t->count ? t->entry[t->passed].units : 0;
	*ret_down = t->passed > 0 ? t->entry[t->passed - 1].units : 0;
}

void threshold_free(struct thresholds *t)
{
	free(t->entry);
	*t = (struct thresholds){ 0 };
}

bool threshold_consistent(const struct thresholds *t)
{
	for (uint32_t i = 1; i < t->count; i++)
		if (t->entry[i - 1].units > t->entry[i].units)
			return false;
	return t->passed <= t->count && t->count <= t->room;
}
