/* SPDX-License-Identifier: MIT */
/* move: moves a member to another group, with what it has charged if asked to. */
#include "controld/command.h"
#include "controld/loop.h"
#include "controld/move.h"
#include "controld/residency.h"
#include "controld/watch_socket.h"

#include "accounting/member.h"

#include <errno.h>
#include <string.h>

/* "anon", "file" or "anon,file". */
static int parse_charges(struct request *r, const char *text, unsigned *ret)
{
	*ret = 0;
	while (*text) {
		size_t n = strcspn(text, ",");

		if (n == 4 && strncmp(text, "anon", n) == 0)
			*ret |= MOVE_ANON;
		else if (n == 4 && strncmp(text, "file", n) == 0)
			*ret |= MOVE_FILE;
		else
			return complain(&r->why, -EINVAL, "'%.60s' is not for charges: anon, file or anon,file", text);
		text += n + (text[n] == ',');
	}
	return 0;
}

static int find_member(struct request *r, uint64_t pid, uint32_t *ret)
{
	uint64_t start_time;
	int err = pid && pid <= INT32_MAX ? r->daemon->world->start_time((pid_t)pid, &start_time) : -ESRCH;

	if (err == -ESRCH)
		return complain(&r->why, err, "there is no process %llu", (unsigned long long)pid);
	if (err || member_find(&r->served->seg, (uint32_t)pid, start_time, ret))
		return complain(&r->why, -ESRCH,
				"process %llu is no member of a group: only what was started under memctl can be "
				"moved",
				(unsigned long long)pid);
	return 0;
}

/* A program may sort what is below its own group, and not leave it. */
static int check_bounds(struct request *r, uint32_t member)
{
	const struct segment *seg = &r->served->seg;
	uint16_t own, from = mc_load_full(&member_of(seg, member)->group);

	if (!command_is_bound(r, &own) ||
	    (group_is_within(seg, from, own) && r->group != own && group_is_within(seg, r->group, own)))
		return 0;
	return complain(&r->why, -EPERM,
			"a member may only move members of its own group into groups below: do it from outside, or "
			"start the daemon with --allow-members");
}

int do_move(struct request *r, json_t *reply)
{
	const char *text = command_text(r, "charges", NULL);
	unsigned charges = r->served->seg.limits->group[r->group].move_charge;
	uint32_t member;
	int err = find_member(r, command_number(r, "pid", 0), &member);

	(void)reply;
	if (!err && text)
		err = parse_charges(r, text, &charges);
	if (!err)
		err = check_bounds(r, member);
	if (err)
		return err;
	residency_look_at(r->served, member, r->daemon->world->now_ns());
	err = move_member(r->served, member, r->group, charges, &r->why);
	if (!err)
		watch_socket_move(r->daemon, (pid_t)command_number(r, "pid", 0));
	loop_request_turn(r->daemon);
	return err;
}
