/* SPDX-License-Identifier: MIT */
/* subscribe: notifies of an event through an eventfd. */
#include "controld/command.h"
#include "controld/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int check_passed(struct request *r, const struct passed *p, bool is_shared)
{
	if (!p)
		return complain(&r->why, -EINVAL, "no eventfd can come this way");
	if (p->is_cut)
		return complain(
			&r->why, p->count ? -EINVAL : -EMFILE,
			p->count ? "too many descriptors came along: send one eventfd, or none"
				 : "the daemon has no descriptor left to receive an eventfd with: let subscriptions "
				   "share one, or raise its limit of open files");
	if (p->count > 1)
		return complain(&r->why, -EINVAL, "%u descriptors came along: send one eventfd, or none", p->count);
	if (is_shared && p->count)
		return complain(&r->why, -EINVAL, "'share' uses an eventfd that is here already: send none");
	return 0;
}

/* The reply may have to wait while the subscription goes: it has a descriptor of its own. */
static int send_back(struct request *r, struct passed *p, int fd, int id)
{
	p->answer = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (p->answer >= 0)
		return 0;
	(void)notify_remove(r->served, (uint32_t)id, r->caller->holder);
	return complain(&r->why, -EMFILE, "the daemon has no descriptor left: raise its limit of open files");
}

int do_subscribe(struct request *r, json_t *reply)
{
	struct passed *p = r->caller->passed;
	uint64_t share = command_number(r, "share", 0);
	struct notify_means means = { .eventfd = -1, .share = share > NOTIFY_ID_MAX ? NOTIFY_ID_MAX : (uint32_t)share };
	int fd = -1;
	int id = check_passed(r, p, share != 0);

	if (id)
		return id;
	means.eventfd = p->fd;
	p->fd = -1;
	id = notify_subscribe(r->served, r->group, command_text(r, "event", ""), &means, r->caller->holder, &fd,
			      &r->why);
	if (id > 0 && means.eventfd < 0 && !share) {
		int err = send_back(r, p, fd, id);

		id = err ? err : id;
	}
	if (id < 0)
		return id;
	return json_object_set_new(reply, "id", json_integer(id))
		       ? complain(&r->why, -ENOMEM, "the daemon is out of memory")
		       : 0;
}
