/* SPDX-License-Identifier: MIT */
/* A process that keeps the connections of the pressure socket when the daemon ends.
 *
 * A program that was hung up on can read for ever, and sd_event_add_memory_pressure (systemd 254 and newer) takes each read for
 * memory pressure: it would trim its heap without end. So a process of its own, started with the first program, holds a copy
 * of each connection until the program itself hangs up. The next daemon asks it for them, and the programs have missed
 * nothing but what happened in between.
 *
 * protocol      On a socket of type SOCK_SEQPACKET (KEEPER_NAME in the runtime directory), served by the keeper. To who
 *               connects it sends a packet with a descriptor for each connection that it keeps, and an empty-handed one at
 *               the end. Then it takes a descriptor with each packet. The last who connected is its daemon. */
#ifndef CONTROLD_KEEPER_H
#define CONTROLD_KEEPER_H

#include <sys/types.h>

#define KEEPER_NAME "keeper.sock"
#define KEEPER_LISTENING 3 /* its only descriptor when it starts */

/* Is given a connection that was kept; it is its own from then on. */
typedef void keeper_take(void *arg, int fd);

/* Asks the keeper at `path` for what it has. Returns a descriptor for keeper_give; -ENOTCONN: there is none. */
int keeper_find(const char *path, keeper_take *take, void *arg);

/* Starts one. Returns a descriptor for keeper_give, or negative errno. */
int keeper_start(const char *path);

/* Has it keep a copy of `fd`. Negative errno: it has gone, or is stuck. */
int keeper_give(int keeper, int fd);

/* The keeper itself: serves the listening socket until it has neither a daemon nor a connection. */
void keeper_run(int listening);

#endif
