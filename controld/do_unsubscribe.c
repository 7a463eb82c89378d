/* SPDX-License-Identifier: MIT */
/* unsubscribe: ends a subscription of the same connection. */
#include "controld/command.h"
#include "controld/notify.h"

#include <errno.h>

int do_unsubscribe(struct request *r, json_t *reply)
{
	uint64_t id = command_number(r, "id", 0);

	(void)reply;
	for (struct served *s = r->served; s; s = s->next)
		if (id <= NOTIFY_ID_MAX && notify_remove(s, (uint32_t)id, r->caller->holder) == 0)
			return 0;
	return complain(&r->why, -ENOENT, "no such subscription of this connection: %llu", (unsigned long long)id);
}
