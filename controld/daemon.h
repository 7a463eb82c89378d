/* SPDX-License-Identifier: MIT */
/* The daemon as a whole: which segments it serves, and where. One thread; the bell threads only
 * ring.
 *
 * Usually one segment is served. When the runtime directory is removed under the daemon (a
 * logout's clean-up), it makes a new one, and the old segment's members are served until the last
 * is gone. */
#ifndef CONTROLD_DAEMON_H
#define CONTROLD_DAEMON_H

#include "controld/rundir.h"
#include "controld/served.h"
#include "controld/world.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

struct listener;
struct watch_socket;

struct daemon {
	const struct world *world;
	struct rundir rundir;
	struct served *served; /* the first is the one that commands speak of; then older ones */
	struct listener *listener;
	struct watch_socket *watch_socket;
	uint64_t started_ns;
	uint64_t idle_exit_ns; /* 0: stays */
	bool allow_members;
	bool dir_removed; /* it happened since the start */

	sd_event *event;
	sd_event_source *turn;	 /* deferred: one turn at the end of this round */
	sd_event_source *timer;	 /* the next turn by time, armed only where a stage wants it */
	sd_event_source *idle;	 /* armed only while there is nothing to do */
	sd_event_source *notice; /* the directory's inotify */
	sd_event_source *check;	 /* looks at the directory when nothing more is taken from it */
};

/* Opens the directory, makes or adopts its segment. Errors with a sentence; `d` can be closed
 * then. */
int daemon_open(struct daemon *d, const char *dir, struct complaint *why);

/* Looks whether the directory was removed, and if so makes a new one. */
void daemon_check_dir(struct daemon *d);

/* Gives up segments whose directory was removed and whose last member has gone. */
void daemon_retire_old(struct daemon *d);

/* True when there is no member, no group but the root, and no old segment. */
bool daemon_is_unused(const struct daemon *d);

/* Leaves the segment for the next daemon if anybody uses it, else takes its files away. */
void daemon_close(struct daemon *d);

#endif
