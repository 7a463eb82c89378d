/* SPDX-License-Identifier: MIT */
/* get: reads keys of a group, without names all that can be read. */
#include "controld/command.h"
#include "controld/key.h"
#include "controld/page.h"
#include "controld/residency.h"
#include "controld/swap.h"

#include <errno.h>

static int get_all(struct request *r, const struct snapshot *snap, struct page *page)
{
	size_t n;
	const struct key *keys = key_table(&n);

	for (size_t i = command_number(r, "cursor", 0); i < n; i++)
		if ((keys[i].access & KEY_R) &&
		    !page_add(page, i, keys[i].name, key_get(&keys[i], r->served, r->group, snap)))
			break;
	return 0;
}

static int get_named(struct request *r, const json_t *names, const struct snapshot *snap, struct page *page)
{
	for (size_t i = command_number(r, "cursor", 0); i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		const struct key *k;
		int err;

		if (!name)
			return complain(&r->why, -EINVAL, "the argument 'keys' must be an array of strings");
		err = key_find_for(name, KEY_R, &k, &r->why);
		if (err)
			return err;
		if (!page_add(page, i, name, key_get(k, r->served, r->group, snap)))
			break;
	}
	return 0;
}

int do_get(struct request *r, json_t *reply)
{
	const json_t *names = json_object_get(r->arguments, "keys");
	struct page page = { .rows = json_object() };
	struct snapshot snap;
	int err;

	err = residency_snapshot(r->served, r->group, r->daemon->world->now_ns(), &snap);
	if (err)
		return complain(&r->why, err, "the daemon is out of memory");
	swap_refresh(r->served, r->group, r->daemon->world->now_ns());
	err = names ? get_named(r, names, &snap, &page) : get_all(r, &snap, &page);
	snapshot_free(&snap);
	if (!err)
		return page_end(&page, reply, "values");
	json_decref(page.rows);
	return err;
}
