/* SPDX-License-Identifier: MIT */
/* The socket of systemd's memory-pressure protocol (PROTO_PRESSURE_NAME in the runtime directory), which $MEMORY_PRESSURE_WATCH
 * names to programs that `memctl run` starts.
 *
 * A program connects, and shall give memory back whenever there is something to read: one byte, sent when memory is
 * reclaimed, at pressure medium or above, for the sake of its group or of one above it. What is reclaimed below its group
 * does not concern it. What it writes (the thresholds of the kernel's interface) is read and ignored. A byte that has not
 * been read yet is not followed by another. */
#ifndef CONTROLD_WATCH_SOCKET_H
#define CONTROLD_WATCH_SOCKET_H

#include "controld/daemon.h"

/* Listens. Called again when the socket's file has gone; connections stay. */
int watch_socket_open(struct daemon *d, struct complaint *why);

/* True while programs can find the socket. NULL: false. */
bool watch_socket_is_there(const struct watch_socket *w);

/* Open connections. NULL: 0. */
unsigned watch_socket_connections(const struct watch_socket *w);

/* A process belongs to another group from now on. */
void watch_socket_move(struct daemon *d, pid_t pid);

void watch_socket_close(struct daemon *d);

#endif
