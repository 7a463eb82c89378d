/* SPDX-License-Identifier: MIT */
/* Members of a group that wait for room which only they could make: found, and whom it is best to pick. */
#ifndef CONTROLD_DEADLOCK_H
#define CONTROLD_DEADLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct deadlock_member {
	uint32_t pid, parent; /* parent 0: none of the members */
	uint64_t start_time;
	uint64_t held;	/* pages in the group */
	bool waits;	/* a thread of it stands still for want of memory */
	bool runs;	/* it used the processor: it may come to free something */
	bool has_leave; /* it was let through, and has come to the end of that */
};

/* `missing` pages would have to be freed for the smallest request to fit. Stuck is who does not run, and waits or has a
 * descendant that does. True when two members wait at least, and the others do not hold so much together: whatever
 * they do, it does not help. One that waits alone waits for whoever has set the limit. */
bool deadlock_is(const struct deadlock_member *m, uint32_t count, uint64_t missing);

/* Whom to let through: who holds most, and so will soonest need no more; of equals, who came first. `count`: none. */
uint32_t deadlock_to_pass(const struct deadlock_member *m, uint32_t count);

/* Whom to refuse: who holds least, for that is lost; of equals, who came last; nobody who has leave, if another is
 * there. */
uint32_t deadlock_to_refuse(const struct deadlock_member *m, uint32_t count);

#endif
