/* SPDX-License-Identifier: MIT */
/* The event loop: what wakes the daemon. Bells, pidfds, packets, signals, the time a stage asked
 * for; with no member and no client, nothing does. */
#ifndef CONTROLD_LOOP_H
#define CONTROLD_LOOP_H

#include "controld/daemon.h"

/* Makes the loop with its signals (SIGTERM and SIGINT end it). */
int loop_open(struct daemon *d, struct complaint *why);

/* Runs until a signal or the idle time ends it. 0 or negative errno. */
int loop_run(struct daemon *d);

void loop_close(struct daemon *d);

/* A turn of the cycle as soon as the events at hand are through; asking twice is asking once. */
void loop_request_turn(struct daemon *d);

/* After each turn, and when a connection opens or closes: sets the timers. */
void loop_rearm(struct daemon *d);

/* Notices that the runtime directory loses files. */
void loop_watch_dir(struct daemon *d);

/* Starts a thread that sleeps on the segment's bell and makes the loop turn. */
int loop_add_bell(struct served *s, struct complaint *why);
void loop_remove_bell(struct served *s);

#endif
