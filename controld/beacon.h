/* SPDX-License-Identifier: MIT */
/* Eventfds of subscribers. One that is given again is found again: however many subscriptions share it, it is one
 * descriptor here. Not thread-safe. */
#ifndef CONTROLD_BEACON_H
#define CONTROLD_BEACON_H

#include <stdbool.h>
#include <stdint.h>

#define BEACON_CHAINS 4096u

struct beacon {
	struct beacon *next; /* of the chain */
	struct beacon *next_lit;
	uint64_t id;	  /* the kernel's, of this eventfd; 0 unknown */
	uint64_t pending; /* to be added */
	uint32_t users;
	int fd;
	bool may_block; /* a write would wait for the reader when the counter is full */
	bool is_lit;
};

/* All zero: none. */
struct beacons {
	struct beacon *chain[BEACON_CHAINS];
	struct beacon *lit;
	uint32_t count;
	uint64_t lost; /* counters that were full */
};

/* A user of the eventfd `fd`, which is closed in any case when it is known already, or on failure. -EINVAL: no
 * eventfd; -ENOMEM. */
int beacon_take(struct beacons *all, int fd, struct beacon **ret);

/* A new one. -EMFILE, -ENFILE, -ENOMEM. */
int beacon_make(struct beacons *all, struct beacon **ret);

/* One more user. */
static inline void beacon_share(struct beacon *b)
{
	b->users++;
}

/* One less; the last one closes it. Nothing may be pending. */
void beacon_leave(struct beacons *all, struct beacon *b);

/* Adds one, at the next flush. */
void beacon_light(struct beacons *all, struct beacon *b);

/* Writes all that is pending. Waits for nobody: what a full counter cannot take is lost. */
void beacon_flush(struct beacons *all);

#endif
