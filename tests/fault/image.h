/* SPDX-License-Identifier: MIT */
/* A segment's counters at one moment, to be put back: a few members, accounts and groups, whatever is used.
 *
 * Nobody may run in the segment meanwhile. Limits and the tree are not part of it.
 */
#ifndef TESTS_FAULT_IMAGE_H
#define TESTS_FAULT_IMAGE_H

#include "accounting/layout.h"
#include "accounting/segment.h"

#define IMAGE_MEMBERS 32u
#define IMAGE_ACCOUNTS 32u
#define IMAGE_GROUPS 16u
#define IMAGE_RESOURCES (RESOURCE_REGION_FIRST + 1) /* one region */

struct image {
	struct counters_header header;
	struct member member[IMAGE_MEMBERS];
	struct account account[IMAGE_ACCOUNTS];
	struct pool pool[IMAGE_RESOURCES][IMAGE_GROUPS];
	mc_word32 member_of_pid[MEMBERS_MAX];
};

/* Ends the program where more is used than an image holds. */
void image_save(struct image *image, const struct segment *seg);
void image_restore(const struct image *image, const struct segment *seg);

#endif
