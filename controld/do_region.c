/* SPDX-License-Identifier: MIT */
/* region: registers a device's memory. Members cannot write where regions stand; they ask when they
 * meet one. */
#include "controld/command.h"

#include "accounting/region.h"

#include <errno.h>

static int say(struct request *r, int err, const char *name)
{
	if (err == -ENOSPC)
		return complain(&r->why, err, "%u regions are registered already, that is all",
				RESOURCES_MAX - RESOURCE_REGION_FIRST);
	if (err == -ENOMEM)
		return complain(&r->why, err, "the file system of the runtime directory is full");
	return complain(&r->why, err, "'%.100s' is no name of a region", name);
}

int do_region(struct request *r, json_t *reply)
{
	const char *name = command_text(r, "name", "");
	unsigned region = 0;
	int err = region_register(&r->served->seg, name, command_text(r, "address", ""),
				  command_number(r, "capacity", 0), &region);

	if (err)
		return say(r, err, name);
	return json_object_set_new(reply, "region", json_integer((json_int_t)region)) ? -ENOMEM : 0;
}
