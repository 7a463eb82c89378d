/* SPDX-License-Identifier: MIT */
/* This process as a member, for charges to devices: the slot that the preload library has claimed,
 * seen through a mapping of the whole segment.
 *
 * What belongs to one process alone lies in pages that are wiped on fork, as in preload/self.h: a
 * child reads zeros, owns nothing of its parent's, and looks for its own slot when it first needs
 * it.
 *
 * contract      any thread; before the preload library has joined, or where nobody joins, it
 * answers NULL and the caller passes on what it was asked for.
 */
#ifndef DEVICE_MEMBER_H
#define DEVICE_MEMBER_H

#include "accounting/charge.h"

enum { MEMBER_FINDING = 1, MEMBER_FOUND };

struct device_member {
	mc_word32 state;	       /* sync: release when found; 0, MEMBER_FINDING, MEMBER_FOUND */
	uint32_t member;	       /* sync: const when found */
	const mc_word16 *group;	       /* sync: const when found; where new charges go */
	struct actor actor;	       /* sync: const when found */
	mc_word target[RESOURCES_MAX]; /* sync: relaxed; region.c's: valid(1) | slot(8) | group(16)
					  | account(32) */
};

extern struct device_member *device_member_page;

struct device_member *device_member_find(void);

static inline struct device_member *device_member(void)
{
	struct device_member *m = device_member_page;

	if (__builtin_expect(m && mc_load_acquire(&m->state) == MEMBER_FOUND, 1))
		return m;
	return device_member_find();
}

/* Where the segment lies: $MEMCTL_DIR, or the default. */
const char *device_member_dir(void);

/* Something of this process could not be charged: MEMBER_PARTIAL, and by which library where that
 * has a flag. */
void device_member_mark(uint32_t flags);
static inline void device_member_mark_partial(void)
{
	device_member_mark(MEMBER_PARTIAL);
}

/* Zeroed pages, wiped in a child or not there at all. NULL: no memory. */
enum device_pages { PAGES_WIPED, PAGES_ABSENT };
void *device_pages(size_t size, enum device_pages in_child);

#endif
