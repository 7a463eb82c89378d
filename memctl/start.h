/* SPDX-License-Identifier: MIT */
/* Starting the daemon from whoever needs it. */
#ifndef MEMCTL_START_H
#define MEMCTL_START_H

#define START_IDLE_SECONDS 60 /* one that started by itself ends by itself */
#define START_STAY 0

/* Starts memctld for `dir` ($MEMCTL_DAEMON, else the installed one) and waits until it listens. It
 * ends after idle_seconds without connections and members; START_STAY: never. -EBUSY: another has
 * the directory; -ENOTCONN: it did not start, with its own sentence where it said one. */
int start_daemon(const char *dir, unsigned idle_seconds);

#endif
