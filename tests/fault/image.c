/* SPDX-License-Identifier: MIT */
/* A segment's counters at one moment, to be put back. */
#include "tests/fault/image.h"

#include "tests/lib/ground.h"

#include <string.h>

static void check(const struct segment *seg)
{
	const struct counters_header *h = &seg->counters->header;

	if (mc_load_full(&h->members_used) > IMAGE_MEMBERS || mc_load_full(&h->accounts_used) > IMAGE_ACCOUNTS ||
	    mc_load_full(&seg->limits->header.groups_used) > IMAGE_GROUPS)
		ground_bail("the segment is too large for an image");
}

void image_save(struct image *image, const struct segment *seg)
{
	const struct counters_map *c = seg->counters;

	check(seg);
	memcpy(&image->header, &c->header, sizeof(image->header));
	memcpy(image->member, c->member, sizeof(image->member));
	memcpy(image->account, c->account, sizeof(image->account));
	for (unsigned r = 0; r < IMAGE_RESOURCES; r++)
		memcpy(image->pool[r], c->pool[r], sizeof(image->pool[r]));
	memcpy(image->member_of_pid, c->member_of_pid, sizeof(image->member_of_pid));
}

void image_restore(const struct image *image, const struct segment *seg)
{
	struct counters_map *c = seg->counters;

	check(seg);
	memcpy(&c->header, &image->header, sizeof(image->header));
	memcpy(c->member, image->member, sizeof(image->member));
	memcpy(c->account, image->account, sizeof(image->account));
	for (unsigned r = 0; r < IMAGE_RESOURCES; r++)
		memcpy(c->pool[r], image->pool[r], sizeof(image->pool[r]));
	memcpy(c->member_of_pid, image->member_of_pid, sizeof(image->member_of_pid));
}
