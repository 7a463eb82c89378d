/* SPDX-License-Identifier: MIT */
/* list: the groups below a group. The cursor is a slot, so that a group which lives throughout is
 * listed once, whatever is made and removed between two pages. */
#include "controld/command.h"
#include "controld/page.h"
#include "controld/residency.h"

#include "accounting/pool.h"
#include "accounting/snapshot.h"

#include <errno.h>

static json_t *row(const struct segment *seg, uint16_t group, const struct snapshot *snap)
{
	const struct snapshot_pool *p = &snap->pool[group];
	uint64_t max = pool_max(seg, RESOURCE_MEMORY, group);
	char path[GROUP_PATH_MAX];

	(void)group_path(seg, group, path);
	return json_pack("{s:s, s:I, s:o, s:i, s:i, s:b}", "group", path, "current",
			 (json_int_t)(snapshot_current(p) << MC_PAGE_SHIFT), "max",
			 max >= PAGES_MAX ? json_string("max") : json_integer((json_int_t)(max << MC_PAGE_SHIFT)),
			 "members", (int)p->members, "members_local", (int)p->members_local, "transient",
			 (int)seg->limits->group[group].transient);
}

static bool is_listed(const struct request *r, uint16_t group, bool recursive)
{
	const struct segment *seg = &r->served->seg;

	if (group_state(seg, group) != GROUP_LIVE || group == r->group)
		return false;
	return recursive ? group_is_within(seg, group, r->group) : group_parent(seg, group) == r->group;
}

int do_list(struct request *r, json_t *reply)
{
	bool recursive = command_flag(r, "recursive", false);
	struct page page = { .rows = json_array() };
	struct snapshot snap;

	if (residency_snapshot(r->served, r->group, r->daemon->world->now_ns(), &snap))
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	for (uint64_t g = command_number(r, "cursor", 0); g < snap.groups; g++)
		if (is_listed(r, (uint16_t)g, recursive) &&
		    !page_add(&page, g, NULL, row(&r->served->seg, (uint16_t)g, &snap)))
			break;
	snapshot_free(&snap);
	return page_end(&page, reply, "groups");
}
