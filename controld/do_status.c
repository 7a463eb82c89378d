/* SPDX-License-Identifier: MIT */
/* status: says how the daemon is. */
#include "controld/command.h"
#include "controld/listen.h"
#include "controld/notify.h"

#include "accounting/member.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static unsigned count_groups(const struct segment *seg)
{
	uint32_t used = mc_load_relaxed(&seg->limits->header.groups_used);
	unsigned n = 0;

	for (uint32_t g = 0; g < used; g++)
		n += group_state(seg, (uint16_t)g) == GROUP_LIVE;
	return n;
}

static unsigned count_members(const struct served *s)
{
	unsigned n = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1))
		n += member_is_present(&s->seg, i);
	return n;
}

static unsigned count_old(const struct served *s, unsigned *ret_members)
{
	unsigned n = 0;

	for (*ret_members = 0; s; s = s->next, n++)
		*ret_members += count_members(s);
	return n;
}

int do_status(struct request *r, json_t *reply)
{
	const struct daemon *d = r->daemon;
	const struct served *s = r->served;
	char instance[20];
	unsigned old_members, old = count_old(s->next, &old_members);
	struct notify_figures told;
	json_t *more;

	(void)snprintf(instance, sizeof(instance), "%016llx", (unsigned long long)s->seg.limits->header.instance);
	notify_count(s, &told);
	more = json_pack("{s:I, s:I, s:i, s:s, s:s, s:I, s:i, s:i, s:i, s:s, s:I, s:b, s:i, s:i, s:b}", "subscriptions",
			 (json_int_t)told.subscriptions, "notified", (json_int_t)told.notified, "pid", (int)getpid(),
			 "version", PACKAGE_VERSION, "dir", d->rundir.path, "uptime",
			 (json_int_t)((d->world->now_ns() - d->started_ns) / 1000000000u), "members",
			 (int)count_members(s), "groups", (int)count_groups(&s->seg), "connections",
			 (int)listen_connections(d->listener), "instance", instance, "recounts",
			 (json_int_t)(mc_load_full(&s->seg.counters->header.epoch[RESOURCE_MEMORY]) & EPOCH_MASK),
			 "dir_removed", (int)d->dir_removed, "old_segments", (int)old, "old_members", (int)old_members,
			 "allow_members", (int)d->allow_members);
	if (json_object_update_new(reply, more))
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	return 0;
}
