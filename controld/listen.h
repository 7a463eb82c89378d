/* SPDX-License-Identifier: MIT */
/* The control socket and its connections. Nothing here waits for a client: a reply that does not
 * fit into the socket is kept, and no further packet is read from that client until it has gone
 * out. */
#ifndef CONTROLD_LISTEN_H
#define CONTROLD_LISTEN_H

#include "controld/daemon.h"

#define CONNECTIONS_MAX 16384u

/* Listens at control.sock of the runtime directory, or at the socket that systemd passed. Called
 * again when the socket's file has gone; connections stay. */
int listen_open(struct daemon *d, struct complaint *why);

/* True while clients can find the socket. */
bool listen_is_there(const struct listener *l);

/* Open connections. NULL: 0. */
unsigned listen_connections(const struct listener *l);

void listen_close(struct daemon *d);

#endif
