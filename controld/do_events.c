/* SPDX-License-Identifier: MIT */
/* events: what happened to a group and to those below it, also when they are gone by now; the
 * oldest first. "next" is the cursor that later events are got with. */
#include "controld/command.h"
#include "controld/history.h"
#include "controld/page.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static bool concerns(const struct history_event *e, const char *group)
{
	size_t n = strlen(group);

	return strcmp(group, "/") == 0 || (strncmp(e->text, group, n) == 0 && (!e->text[n] || e->text[n] == '/'));
}

static json_t *row(const struct history_event *e, int64_t offset_ms)
{
	return json_pack("{s:I, s:I, s:s, s:s, s:I, s:s}", "number", (json_int_t)e->number, "at",
			 (json_int_t)(e->at_ns / 1000000) + offset_ms, "group", e->text, "event",
			 history_kind_name((enum history_kind)e->kind), "count", (json_int_t)e->count, "text",
			 e->text + e->path_size);
}

int do_events(struct request *r, json_t *reply)
{
	const char *group = command_text(r, "group", "/");
	struct page page = { .rows = json_array() };
	uint64_t at = command_number(r, "cursor", 0);
	const struct history_event *e;
	struct timespec day;
	int64_t offset_ms;

	if (!r->served->history)
		return complain(&r->why, -ENOMEM, "the daemon had no memory for a history");
	/* Who goes on from a cursor is told when there is more. What is counted then is counted to the second's end, for
	 * once told it is not told again for a minute. */
	if (!at)
		history_catch_up(r->served);
	(void)clock_gettime(CLOCK_REALTIME, &day);
	offset_ms =
		(int64_t)day.tv_sec * 1000 + day.tv_nsec / 1000000 - (int64_t)(r->daemon->world->now_ns() / 1000000);
	while ((e = history_next_event(r->served, &at)) != NULL)
		if (concerns(e, group) && !page_add(&page, e->number, NULL, row(e, offset_ms)))
			break;
	(void)json_object_set_new(reply, "next", json_integer((json_int_t)(page.full ? page.next : at)));
	return page_end(&page, reply, "events");
}
