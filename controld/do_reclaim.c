/* SPDX-License-Identifier: MIT */
/* reclaim: makes members of a group give so much memory back. */
#include "controld/command.h"
#include "controld/demand.h"

#include <errno.h>

int do_reclaim(struct request *r, json_t *reply)
{
	const char *size = command_text(r, "size", "");
	uint64_t pages;
	int swappiness;

	(void)reply;
	if (key_parse_reclaim(size, &pages, &swappiness))
		return complain(&r->why, -EINVAL,
				"'%.60s' is no size: bytes, with one of K M G T P E behind if you like, or max; and "
				"swappiness=0 to 200 or max behind it",
				size);
	return demand_reclaim(r, pages, swappiness);
}
