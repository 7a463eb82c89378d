/* SPDX-License-Identifier: MIT */
/* remove: removes a group without members, with -r all below it. */
#include "controld/command.h"
#include "controld/reap.h"
#include "controld/tidy.h"

#include "accounting/member.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int say_child(struct request *r, uint16_t group)
{
	char path[GROUP_PATH_MAX], child[GROUP_PATH_MAX];

	(void)group_path(&r->served->seg, group, path);
	(void)group_path(&r->served->seg, group_next_child(&r->served->seg, group, 0), child);
	return complain(&r->why, -EBUSY, "%.150s has groups below it (%.150s): remove them first, or all with -r", path,
			child);
}

/* Names the first members of a group in `text`; returns how many there are. */
static unsigned name_members(const struct served *s, uint16_t group, char *text, size_t size)
{
	unsigned n = 0;
	size_t at = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		struct member *m = member_of(&s->seg, i);

		if (mc_load_full(&m->group) != group || !member_is_present(&s->seg, i))
			continue;
		if (n++ < 3)
			at += (size_t)snprintf(text + at, size - at, "%s%u %.15s", n > 1 ? ", " : "",
					       member_pid(mc_load_full(&m->state)), m->comm);
	}
	return n;
}

static int say_members(struct request *r, uint16_t group)
{
	char path[GROUP_PATH_MAX], names[128] = "";
	unsigned n = name_members(r->served, group, names, sizeof(names));

	(void)group_path(&r->served->seg, group, path);
	return complain(&r->why, -EBUSY,
			"%.200s has %u member%s (%s%s): wait until they end, or end them with "
			"'memctl kill'",
			path, n, n == 1 ? "" : "s", names, n > 3 ? ", ..." : "");
}

int do_remove(struct request *r, json_t *reply)
{
	unsigned removed;
	uint16_t in_way;
	int err;

	(void)reap_now(r->served, r->group, r->daemon->world->now_ns());
	err = tidy_remove(r->served, r->group, command_flag(r, "recursive", false), &removed, &in_way);
	if (err == -EPERM)
		return complain(&r->why, err, "the root group cannot be removed");
	if (err == -EBUSY && in_way == r->group && group_next_child(&r->served->seg, r->group, 0))
		return say_child(r, r->group);
	if (err)
		return say_members(r, in_way);
	return json_object_set_new(reply, "removed", json_integer(removed)) ? -ENOMEM : 0;
}
