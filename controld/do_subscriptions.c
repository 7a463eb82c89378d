/* SPDX-License-Identifier: MIT */
/* subscriptions: those of the same connection, and how often each has fired. */
#include "controld/command.h"
#include "controld/notify.h"
#include "controld/page.h"

#include <errno.h>

static int one(struct request *r, json_t *reply, uint64_t id)
{
	json_t *row = id <= NOTIFY_ID_MAX ? notify_row(r->served, r->caller->holder, (uint32_t)id) : NULL;
	json_t *rows = row ? json_pack("[o]", row) : NULL;

	if (!rows)
		return complain(&r->why, -ENOENT, "no such subscription of this connection: %llu",
				(unsigned long long)id);
	if (json_object_set_new(reply, "subscriptions", rows) || json_object_set_new(reply, "more", json_false()))
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	return 0;
}

int do_subscriptions(struct request *r, json_t *reply)
{
	struct page page = { 0 };

	if (json_object_get(r->arguments, "id"))
		return one(r, reply, command_number(r, "id", 0));
	page.rows = json_array();
	if (notify_list(r->served, r->caller->holder, command_number(r, "cursor", 0), &page)) {
		json_decref(page.rows);
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	}
	return page_end(&page, reply, "subscriptions");
}
