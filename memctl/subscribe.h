/* SPDX-License-Identifier: MIT */
/* Subscriptions to a group's events: who has one, and that it outlives the daemon's. */
#ifndef MEMCTL_SUBSCRIBE_H
#define MEMCTL_SUBSCRIBE_H

#include "memctl/memctl.h"

/* What follows is called with m->lock held. */

/* After connecting: the daemon, perhaps a new one, knows of no subscription of ours. Each is made anew with the eventfd
 * it had, and its owner told that something may have been missed. An error means that the connection was lost. */
int subscribe_again(struct memctl *m);

/* The same for those that could not be made anew (no descriptor was left in the daemon, for instance). True: there still
 * are some. */
bool subscribe_retry(struct memctl *m);

/* True while there is one that has not ended: the connection is worth keeping. */
bool subscribe_is_used(const struct memctl *m);

/* Closes all eventfds, asking nobody. */
void subscribe_forget(struct memctl *m);

#endif
