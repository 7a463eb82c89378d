/* SPDX-License-Identifier: MIT */
/* Long answers in pages: rows are added until the packet is full; the cursor says where to go
 * on. */
#ifndef CONTROLD_PAGE_H
#define CONTROLD_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Rows of a page, in bytes: leaves room for the rest of a reply of PROTO_PACKET_MAX. */
#define PAGE_ROOM 60000u

struct page {
	json_t *rows; /* array, or object for named rows */
	size_t used;
	uint64_t next; /* where the next page begins */
	bool full;
};

/* False: the row does not fit any more, and `next` is its cursor; the walk ends there. Takes over
 * `row` in any case. `name` for an object's rows, else NULL. */
bool page_add(struct page *p, uint64_t cursor, const char *name, json_t *row);

/* Puts rows, "more" and "cursor" into the reply; takes over the rows. 0 or -ENOMEM. */
int page_end(struct page *p, json_t *reply, const char *name);

#endif
