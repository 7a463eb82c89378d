/* SPDX-License-Identifier: MIT */
/* join: makes the caller a member on his behalf. In another pid namespace a process does not know
 * the pid under which the daemon sees it; the kernel tells the daemon. */
#include "controld/command.h"

#include "accounting/settle.h"

#include <errno.h>
#include <string.h>

static int say(struct request *r, int err)
{
	switch (err) {
	case -ESRCH:
		return complain(&r->why, err, "your process cannot be seen from the daemon's pid namespace");
	case -ENOENT:
		return complain(&r->why, err, "the group is being removed");
	case -ENOSPC:
		return complain(&r->why, err, "%u processes are accounted already, that is all", MEMBERS_MAX);
	case -ENOMEM:
		return complain(&r->why, err, "the file system of the runtime directory is full");
	default:
		return complain(&r->why, err, "cannot join: %s", strerror(-err));
	}
}

/* An image asks once, when it starts: a member that asks again has exec'd, and what the old image
 * held is settled here, for the new one could not find its slot. */
static int join(struct request *r, uint32_t *ret_member)
{
	const struct segment *seg = &r->served->seg;
	uint32_t pid = (uint32_t)r->caller->pid;
	uint64_t start_time;
	char comm[16] = "";
	int err = pid ? r->daemon->world->start_time(r->caller->pid, &start_time) : -ESRCH;

	if (err)
		return err;
	(void)r->daemon->world->comm(r->caller->pid, comm);
	if (member_find(seg, pid, start_time, ret_member) == 0) {
		err = settle_exec(seg, *ret_member, r->group, comm);
		if (err != -ESRCH)
			return err;
	}
	err = member_join(seg, pid, start_time, r->group, MEMBER_LIVE, comm, ret_member);
	if (!err)
		member_set_flags(seg, *ret_member, MEMBER_FOREIGN, 0);
	return err;
}

int do_join(struct request *r, json_t *reply)
{
	uint32_t member = 0;
	int err = join(r, &member);

	if (err)
		return say(r, err);
	return json_object_set_new(reply, "member", json_integer(member)) ? -ENOMEM : 0;
}
