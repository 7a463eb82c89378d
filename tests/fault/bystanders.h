/* SPDX-License-Identifier: MIT */
/* Two members who go on whatever becomes of a third, and what must be left when he is gone.
 *
 * One is in the third's own group, one in the topmost above it. They are played by the caller's process and
 * keep books of their own: what the segment says is compared with these.
 */
#ifndef TESTS_FAULT_BYSTANDERS_H
#define TESTS_FAULT_BYSTANDERS_H

#include "tests/lib/ground.h"

#define BYSTANDERS 2
#define BYSTANDERS_HANG_AFTER 60 /* seconds */

struct bystanders {
	struct party party[BYSTANDERS];
	uint64_t held[BYSTANDERS]; /* what they know to hold */
	uint16_t group[BYSTANDERS];
};

/* They join, and charge; the first one has a stock. */
void bystanders_join(struct bystanders *b, struct ground *g, uint16_t leaf, uint16_t top);

/* Charges, uncharges, drains and, if so, a recount before them. False, and says on stderr what went wrong.
 * Ends the program when they hang (BYSTANDERS_HANG_AFTER; `where` is said then). */
bool bystanders_go_on(struct bystanders *b, struct ground *g, bool recounting, const char *where);

/* All but the two are dead: settles them as a daemon does. */
void bystanders_settle(const struct bystanders *b, struct ground *g);

/* True when nothing but the two is left, each pool is what they hold, and they hold what they know. Adds to
 * *drift by how many pages pools are off; says on stderr what is wrong. Drains stocks. */
bool bystanders_alone(struct bystanders *b, struct ground *g, uint64_t *drift);

#endif
