/* SPDX-License-Identifier: MIT */
/* Long answers in pages. */
#include "controld/page.h"

#include <errno.h>
#include <string.h>

/* Bytes as JSON_COMPACT prints it, with the comma. */
static size_t printed_size(const json_t *row, const char *name)
{
	return json_dumpb(row, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) + 1 + (name ? strlen(name) + 3 : 0);
}

bool page_add(struct page *p, uint64_t cursor, const char *name, json_t *row)
{
	size_t size = row ? printed_size(row, name) : 0;

	if (p->full || p->used + size > PAGE_ROOM) {
		if (!p->full)
			p->next = cursor;
		p->full = true;
		json_decref(row);
		return false;
	}
	p->used += size;
	if (name)
		(void)json_object_set_new(p->rows, name, row);
	else
		(void)json_array_append_new(p->rows, row);
	return true;
}

int page_end(struct page *p, json_t *reply, const char *name)
{
	int err = json_object_set_new(reply, name, p->rows);

	err |= json_object_set_new(reply, "more", json_boolean(p->full));
	if (p->full)
		err |= json_object_set_new(reply, "cursor", json_integer((json_int_t)p->next));
	return err ? -ENOMEM : 0;
}
