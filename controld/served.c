/* SPDX-License-Identifier: MIT */
/* One segment as the daemon serves it. */
#include "controld/served.h"

#include "accounting/settle.h"
#include "accounting/tree.h"
#include "controld/census.h"
#include "controld/daemon.h"
#include "controld/family.h"
#include "controld/heirs.h"
#include "controld/history.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/notify.h"
#include "controld/reap.h"
#include "controld/pager.h"
#include "controld/reclaim.h"
#include "controld/report.h"
#include "controld/scarcity.h"
#include "controld/shmem.h"
#include "controld/stall.h"
#include "controld/tidy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int served_grow(void **array, uint32_t count, uint32_t *room, size_t size)
{
	uint32_t more = *room ? *room * 2 : 16;
	void *p;

	if (count < *room)
		return 0;
	p = reallocarray(*array, more, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*room = more;
	return 0;
}

void served_want_turn(struct served *s, uint64_t at_ns)
{
	if (s->next_look_ns == 0 || at_ns < s->next_look_ns)
		s->next_look_ns = at_ns;
}

uint32_t served_next_member(const struct served *s, uint32_t from)
{
	uint32_t mark = member_mark(&s->seg);

	for (uint32_t i = from; i < mark; i++)
		if (member_state(mc_load_full(&member_of(&s->seg, i)->state)) != MEMBER_FREE)
			return i;
	return MEMBER_NIL;
}

bool served_is_in_place(const struct served *s)
{
	char path[sizeof(s->seg.dir) + 16];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", s->seg.dir, SEGMENT_LIMITS_NAME);
	if (stat(path, &st))
		return false;
	(void)snprintf(path, sizeof(path), "%s/%s", s->seg.dir, SEGMENT_COUNTERS_NAME);
	return stat(path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode;
}

bool served_is_empty(const struct served *s)
{
	return served_next_member(s, 0) == MEMBER_NIL;
}

/* A creator that died half-way left files that nobody ever could attach. */
static void remove_half_made(const struct rundir *r)
{
	rundir_remove(r, SEGMENT_COUNTERS_NAME);
	rundir_remove(r, SEGMENT_LIMITS_NAME);
}

static int create(const char *dir, struct segment *seg, struct complaint *why)
{
	int err = segment_create(dir, seg);

	if (err == -ENOSPC)
		return complain(why, err, "no room for the segment in %s: the file system is full", dir);
	if (err)
		return complain(why, err, "cannot make the segment in %s: %s", dir, strerror(-err));
	return 0;
}

/* We hold the directory's lock: what is "being made just now" was never finished. */
static int attach_or_create(struct daemon *d, const char *dir, struct segment *seg, bool *adopted,
			    struct complaint *why)
{
	int err = segment_attach(dir, SEGMENT_DAEMON, seg);

	*adopted = err == 0;
	switch (err) {
	case 0:
		return 0;
	case -ENOENT:
	case -EAGAIN:
		remove_half_made(&d->rundir);
		return create(dir, seg, why);
	case -EPROTO:
		return complain(why, err,
				"the segment in %s is of another version of memctl: end its programs "
				"and remove %s/limits and %s/counters, or start the memctld that made it",
				dir, dir, dir);
	case -EBADMSG:
		return complain(why, err,
				"the segment in %s is damaged: end its programs and remove "
				"%s/limits and %s/counters",
				dir, dir, dir);
	default:
		return complain(why, err, "cannot map the segment in %s: %s", dir, strerror(-err));
	}
}

static void read_identity(struct served *s, const char *dir)
{
	char path[160];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, SEGMENT_COUNTERS_NAME);
	if (stat(path, &st) == 0) {
		s->device = st.st_dev;
		s->inode = st.st_ino;
	}
}

/* Before anything else: what the last daemon did not finish. Its members are reaped by the first
 * turn. */
static void adopt(struct served *s)
{
	unsigned recounted = settle_daemon(&s->seg);

	tree_repair(&s->seg);
	tidy_adopt(s);
	log_line(LOG_NOTICE, "adopted the segment of %s%s", s->seg.dir,
		 recounted ? ", recounted after the last daemon's death" : "");
}

static uint32_t own_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (uint32_t)st.st_ino;
}

static void sign(struct served *s)
{
	struct counters_header *h = &s->seg.counters->header;

	s->actor = (struct actor){
		.seg = &s->seg,
		.open = &h->daemon_open,
		.member = MEMBER_NIL,
		.pid = (uint32_t)getpid(),
	};
	mc_store_relaxed(&h->daemon_pid, (uint32_t)getpid());
	s->seg.limits->header.daemon_pid_ns = own_pid_namespace();
	s->seen_changed = mc_load_full(&h->members_changed);
	s->must_scan = true;
}

int served_open(struct daemon *d, const char *dir, struct served **ret, struct complaint *why)
{
	struct served *s = calloc(1, sizeof(*s));
	bool adopted = false;
	int err;

	if (!s)
		return complain(why, -ENOMEM, "out of memory at start");
	s->daemon = d;
	s->bell_fd = -1;
	s->watch = calloc(MEMBERS_MAX, sizeof(*s->watch));
	s->family = calloc(FAMILIES, sizeof(*s->family));
	err = s->watch && s->family ? attach_or_create(d, dir, &s->seg, &adopted, why)
				    : complain(why, -ENOMEM, "out of memory at start");
	if (err)
		goto fail;
	if (adopted)
		adopt(s);
	read_identity(s, dir);
	sign(s);
	if (shmem_open(s) || scarcity_open(s) || stall_open(s) || history_open(s) || heirs_open(s)) {
		err = complain(why, -ENOMEM, "out of memory at start");
		goto fail;
	}
	err = loop_add_bell(s, why);
	if (err)
		goto fail;
	*ret = s;
	return 0;
fail:
	served_free(s);
	return err;
}

void served_free(struct served *s)
{
	if (!s)
		return;
	loop_remove_bell(s);
	notify_close(s);
	reclaim_forget_all(s);
	pager_forget_all(s);
	report_forget_all(s);
	reap_forget_all(s);
	scarcity_close(s);
	stall_close(s);
	history_close(s);
	heirs_close(s);
	census_close(s);
	shmem_close(s);
	if (s->seg.counters)
		mc_store_relaxed(&s->seg.counters->header.daemon_pid, 0);
	segment_detach(&s->seg);
	free(s->watch);
	free(s->family);
	free(s->loading);
	free(s->transient);
	free(s);
}
