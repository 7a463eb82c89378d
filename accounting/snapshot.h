/* SPDX-License-Identifier: MIT */
/* One reading of a resource over the whole tree: what everybody decides and prints by.
 *
 * Counters move while they are read; a snapshot is exact when nothing moves, and otherwise every number
 * was true at some moment of the reading. Reads only: any process may take one, also from a SEGMENT_READER
 * mapping. Cost: one pass over accounts and groups in use.
 */
#ifndef ACCOUNTING_SNAPSHOT_H
#define ACCOUNTING_SNAPSHOT_H

#include "accounting/member.h"

struct snapshot_pool {
	uint64_t usage;		 /* the counter, stocks included */
	uint64_t current;	 /* what members of this group and below hold */
	uint64_t peak;		 /* highest usage since reset; never below current */
	uint64_t untouched;	 /* of current: charged just now and not resident yet; 0 unless who knows fills
				  * it in (controld/residency.h) */
	uint64_t class[CLASSES]; /* asked for, by class */
	uint32_t members;	 /* present members in this group and below */
	uint32_t members_local;	 /* in this group alone */
};

struct snapshot {
	unsigned resource;
	uint32_t groups;	    /* rows: by group index; of groups that are not live, all 0 */
	struct snapshot_pool *pool; /* owned */
};

/* memory.current: what is held less what is not resident yet. */
static inline uint64_t snapshot_current(const struct snapshot_pool *p)
{
	return p->current > p->untouched ? p->current - p->untouched : 0;
}

/* Takes a snapshot. -ENOMEM. */
int snapshot_take(const struct segment *seg, unsigned resource, struct snapshot *ret);
void snapshot_free(struct snapshot *s);

/* True when, for every group, usage = stocks + held of its own accounts + usage of its children (I1). Call
 * when no slow path is open. `ret_group` (may be NULL): the first that is not. */
bool snapshot_consistent(const struct segment *seg, unsigned resource, uint16_t *ret_group);

#endif
