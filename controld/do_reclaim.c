/* SPDX-License-Identifier: MIT */
/* reclaim: makes members of a group give so much memory back. */
#include "controld/command.h"
#include "controld/demand.h"

#include "accounting/units.h"

#include <errno.h>

int do_reclaim(struct request *r, json_t *reply)
{
	const char *size = command_text(r, "size", "");
	uint64_t pages;

	(void)reply;
	if (units_parse(size, "max", MC_PAGE_SIZE, &pages))
		return complain(&r->why, -EINVAL,
				"'%.60s' is no size: bytes, with one of K M G T P E behind if you like, or max", size);
	return demand_reclaim(r, pages);
}
