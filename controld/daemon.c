/* SPDX-License-Identifier: MIT */
/* The daemon as a whole: its directory and its segments. */
#include "controld/daemon.h"

#include "accounting/census.h"
#include "accounting/tree.h"
#include "controld/heirs.h"
#include "controld/history.h"
#include "controld/listen.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/watch_socket.h"

#include <string.h>

static int open_segment(struct daemon *d, struct complaint *why)
{
	struct served *s = NULL;
	int err = served_open(d, d->rundir.path, &s, why);

	if (err)
		return err;
	s->next = d->served;
	d->served = s;
	return 0;
}

/* Lock, segment, pid file; the socket comes last, for whoever connects is served. What is there
 * already stays. */
static int open_in(struct daemon *d, const char *dir, struct complaint *why)
{
	int err = 0;

	if (!rundir_is_there(&d->rundir)) {
		rundir_close(&d->rundir);
		err = rundir_open(dir, &d->rundir, why);
	}
	if (!err && !(d->served && served_is_in_place(d->served)))
		err = open_segment(d, why);
	if (!err)
		err = rundir_write_pid(&d->rundir, why);
	if (!err && !watch_socket_is_there(d->watch_socket))
		err = watch_socket_open(d, why);
	if (!err && !listen_is_there(d->listener))
		err = listen_open(d, why);
	return err;
}

int daemon_open(struct daemon *d, const char *dir, struct complaint *why)
{
	int err;

	d->rundir.lock = -1;
	d->started_ns = d->world->now_ns();
	err = loop_open(d, why);
	if (!err)
		err = open_in(d, dir, why);
	if (!err)
		loop_watch_dir(d);
	return err;
}

void daemon_check_dir(struct daemon *d)
{
	char dir[sizeof(d->rundir.path)];
	struct complaint why;
	bool in_place = served_is_in_place(d->served);

	if (in_place && rundir_is_there(&d->rundir) && listen_is_there(d->listener) &&
	    watch_socket_is_there(d->watch_socket))
		return;
	memcpy(dir, d->rundir.path, sizeof(dir));
	if (!in_place) {
		d->dir_removed = true;
		log_line(LOG_WARNING, "%s was removed: making a new one; members finish in the old one", dir);
	}
	if (open_in(d, dir, &why)) {
		log_line(LOG_ERR, "%s", why.text);
		(void)sd_event_exit(d->event, 1);
		return;
	}
	loop_watch_dir(d);
	loop_request_turn(d);
}

void daemon_retire_old(struct daemon *d)
{
	struct served **at = d->served ? &d->served->next : NULL;

	while (at && *at) {
		struct served *old = *at;

		if (!served_is_empty(old)) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		served_free(old);
		log_line(LOG_INFO, "the last member of a removed segment has gone");
	}
}

bool daemon_is_unused(const struct daemon *d)
{
	const struct served *s = d->served;

	return s && !s->next && group_next_child(&s->seg, GROUP_ROOT, 0) == 0 && served_is_empty(s);
}

static void remove_files(struct daemon *d, bool unused)
{
	rundir_remove(&d->rundir, RUNDIR_PID);
	if (!unused)
		return;
	rundir_remove(&d->rundir, CENSUS_NAME);
	rundir_remove(&d->rundir, HISTORY_NAME);
	rundir_remove(&d->rundir, HEIRS_NAME);
	rundir_remove(&d->rundir, SEGMENT_COUNTERS_NAME);
	rundir_remove(&d->rundir, SEGMENT_LIMITS_NAME);
	rundir_remove(&d->rundir, RUNDIR_LOCK);
}

void daemon_close(struct daemon *d)
{
	bool unused = d->served && daemon_is_unused(d);

	d->notice = sd_event_source_unref(d->notice);
	listen_close(d);
	watch_socket_close(d);
	if (d->served && rundir_is_there(&d->rundir))
		remove_files(d, unused);
	while (d->served) {
		struct served *s = d->served;

		d->served = s->next;
		served_free(s);
	}
	rundir_close(&d->rundir);
	loop_close(d);
}
