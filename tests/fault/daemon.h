/* SPDX-License-Identifier: MIT */
/* A memctld with a runtime directory of its own, for tests whose members are real.
 *
 * The segment is mapped read-only: what the test knows it has from there. Wants tools/env's environment.
 */
#ifndef TESTS_FAULT_DAEMON_H
#define TESTS_FAULT_DAEMON_H

#include "tests/lib/ground.h"

#include <sys/types.h>

#define DAEMON_DEADLINE 60 /* seconds */

struct daemon {
	char dir[64];
	pid_t pid; /* 0: none runs */
	struct ground ground;
};

/* A directory, a daemon, and MEMCTL_DIR for all we start. */
void daemon_up(struct daemon *d);

/* Starts one, in a directory that may have a segment already; ready when it returns. */
void daemon_start(struct daemon *d);

/* kill -9. */
void daemon_kill(struct daemon *d);

/* Ends it in order, and removes the directory. False: it did not end with 0. */
bool daemon_down(struct daemon *d);

/* memctl create PATH [KEY=VALUE]. `setting` may be NULL. */
void daemon_create(const char *path, const char *setting);

/* Waits until condition(arg), at most DAEMON_DEADLINE; false then. */
bool daemon_until(bool (*condition)(void *arg), void *arg);

/* Waits until no slot of a member is in use; false after the deadline. */
bool daemon_has_settled(const struct daemon *d);

/* Everybody has gone, and been settled: true when every pool is 0 and consistent, no account is in use, no
 * slow path is open and no recount is on. Says on stderr what is not so. */
bool daemon_is_exact(const struct daemon *d);

#endif
