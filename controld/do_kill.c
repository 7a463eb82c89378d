/* SPDX-License-Identifier: MIT */
/* kill: signals all members of a group and of all below it, and nobody else. */
#include "controld/command.h"
#include "controld/reap.h"

#include "accounting/member.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Members may start others while they are being killed: another pass finds these. */
#define PASSES 8

static bool is_target(const struct request *r, uint32_t member)
{
	const struct segment *seg = &r->served->seg;
	struct member *m = member_of(seg, member);
	uint64_t state = mc_load_full(&m->state);

	return (member_state(state) == MEMBER_LIVE || member_state(state) == MEMBER_OBSERVED) &&
	       member_pid(state) != (uint32_t)getpid() && group_is_within(seg, mc_load_full(&m->group), r->group);
}

static bool signal_one(const struct request *r, uint32_t member, int signal)
{
	int fd = reap_pidfd(r->served, member);
	int err;

	if (fd < 0)
		return false;
	err = r->daemon->world->pidfd_signal(fd, signal);
	(void)close(fd);
	return err == 0;
}

/* One pass over those not signalled yet; returns how many it signalled. */
static unsigned pass(const struct request *r, int signal, uint8_t *done)
{
	const struct served *s = r->served;
	unsigned n = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		if (!done[i] && is_target(r, i) && signal_one(r, i, signal)) {
			done[i] = 1;
			n++;
		}
	return n;
}

int do_kill(struct request *r, json_t *reply)
{
	uint64_t signal = command_number(r, "signal", SIGKILL);
	uint8_t *done;
	unsigned killed = 0, n;
	int passes = signal == SIGKILL ? PASSES : 1;

	if (signal < 1 || signal > (uint64_t)SIGRTMAX)
		return complain(&r->why, -EINVAL, "no such signal: %llu", (unsigned long long)signal);
	done = calloc(MEMBERS_MAX, 1);
	if (!done)
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	do {
		n = pass(r, (int)signal, done);
		killed += n;
	} while (n && --passes);
	free(done);
	return json_object_set_new(reply, "killed", json_integer(killed)) ? -ENOMEM : 0;
}
