/* SPDX-License-Identifier: MIT */
/* A thread that notices when the daemon goes away, and brings the connection back for the subscriptions' sake. */
#ifndef MEMCTL_RECONNECT_H
#define MEMCTL_RECONNECT_H

#include "memctl/memctl.h"

/* Starts the thread unless it runs; m->lock is held. Negative errno with its sentence. */
int reconnect_start(struct memctl *m);

/* The connection or the subscriptions have changed; m->lock is held, or nobody else has m. */
void reconnect_wake(struct memctl *m);

/* Ends it, and waits for that. m->lock is not held. */
void reconnect_stop(struct memctl *m);

#endif
