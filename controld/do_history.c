/* SPDX-License-Identifier: MIT */
/* history: what a group held over time, the oldest first; the last row is the present. */
#include "controld/command.h"
#include "controld/history.h"
#include "controld/page.h"

#include <errno.h>
#include <time.h>

static json_t *size(uint32_t pages)
{
	return pages == UINT32_MAX ? json_string("max") : json_integer((json_int_t)((uint64_t)pages << MC_PAGE_SHIFT));
}

/* Milliseconds between CLOCK_MONOTONIC and the time of day. */
static int64_t day_offset_ms(uint64_t now_ns)
{
	struct timespec day;

	(void)clock_gettime(CLOCK_REALTIME, &day);
	return (int64_t)day.tv_sec * 1000 + day.tv_nsec / 1000000 - (int64_t)(now_ns / 1000000);
}

static json_t *row(const struct history_record *r, int64_t offset_ms)
{
	json_t *classes = json_array(), *events = json_array();

	for (unsigned c = 0; c < CLASSES; c++)
		(void)json_array_append_new(classes, size(r->class[c]));
	for (unsigned i = 0; i < EVENTS; i++)
		(void)json_array_append_new(events, json_integer(r->event[i]));
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:i, s:o, s:I, s:I}", "at",
			 (json_int_t)(r->at_ns / 1000000) + offset_ms, "classes", classes, "max", size(r->max), "high",
			 size(r->high), "low", size(r->low), "members", (int)r->members, "events", events, "some",
			 (json_int_t)r->some_us, "full", (json_int_t)r->full_us);
}

static json_t *class_names(void)
{
	json_t *names = json_array();

#define CLASS(id, name, sentence) (void)json_array_append_new(names, json_string(name));
#include "accounting/classes.def"
#undef CLASS
	return names;
}

static json_t *event_names(void)
{
	json_t *names = json_array();

#define EVENT(id, name, sentence) (void)json_array_append_new(names, json_string(name));
#include "accounting/events.def"
#undef EVENT
	return names;
}

int do_history(struct request *r, json_t *reply)
{
	int64_t offset_ms = day_offset_ms(r->daemon->world->now_ns());
	struct page page = { .rows = json_array() };
	uint64_t at = command_number(r, "cursor", 0), next = at;
	struct history_record record;

	if (!r->served->history)
		return complain(&r->why, -ENOMEM, "the daemon had no memory for a history");
	for (; history_next(r->served, r->group, &next, &record); at = next)
		if (!page_add(&page, at, NULL, row(&record, offset_ms)))
			break;
	(void)json_object_set_new(reply, "classes", class_names());
	(void)json_object_set_new(reply, "events", event_names());
	return page_end(&page, reply, "rows");
}
