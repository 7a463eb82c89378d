/* SPDX-License-Identifier: MIT */
/* heirs: members say what memory of devices they make known to others, open, and have no more. */
#include "controld/command.h"

#include "accounting/region.h"
#include "controld/heirs.h"

#include <errno.h>
#include <string.h>

static int carry_out(struct request *r, uint64_t *name, uint32_t member)
{
	const char *what = command_text(r, "what", "");
	unsigned resource = (unsigned)command_number(r, "region", 0);

	if (strcmp(what, "lend") == 0)
		return heirs_lend(r->served, *name, member, resource, command_number(r, "units", 0));
	if (strcmp(what, "borrow") == 0)
		return heirs_borrow(r->served, name, member);
	if (strcmp(what, "give") == 0)
		heirs_give(r->served, *name, member);
	else if (strcmp(what, "leave") == 0)
		heirs_leave(r->served, *name, member);
	else
		return -EINVAL;
	return 0;
}

int do_heirs(struct request *r, json_t *reply)
{
	uint64_t member = command_number(r, "member", MEMBER_NIL);
	uint64_t name = command_number(r, "name", 0);
	int err = carry_out(r, &name, member < MEMBERS_MAX ? (uint32_t)member : MEMBER_NIL);

	if (err)
		return complain(&r->why, err, "memory of that name cannot be shared: %s", strerror(-err));
	return json_object_set_new(reply, "name", json_integer((json_int_t)name)) ? -ENOMEM : 0;
}
