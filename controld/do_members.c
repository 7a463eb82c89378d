/* SPDX-License-Identifier: MIT */
/* members: the members of a group and of all below it. The cursor is a slot. */
#include "controld/command.h"
#include "controld/page.h"
#include "controld/reap.h"
#include "controld/residency.h"

#include "accounting/member.h"

#include <string.h>

static json_t *flag_names(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} names[] = {
		{ MEMBER_PARTIAL, "partial" },
		{ MEMBER_PARTIAL_HIP, "partial:hip" },
		{ MEMBER_PARTIAL_ZE, "partial:level-zero" },
		{ MEMBER_EXECING, "execing" },
		{ MEMBER_FOREIGN, "foreign" },
		{ MEMBER_RESTRICTED, "restricted" },
	};
	json_t *array = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].flag)
			(void)json_array_append_new(array, json_string(names[i].name));
	return array;
}

/* A process may have written anything into its name. */
static void copy_comm(const struct member *m, char *ret, size_t size)
{
	size_t i;

	for (i = 0; i + 1 < size && m->comm[i]; i++)
		ret[i] = m->comm[i] >= ' ' && m->comm[i] <= '~' ? m->comm[i] : '?';
	ret[i] = 0;
}

static json_t *row(const struct segment *seg, uint32_t member)
{
	struct member *m = member_of(seg, member);
	uint64_t state = mc_load_full(&m->state);
	char path[GROUP_PATH_MAX];
	char comm[sizeof(m->comm)];

	copy_comm(m, comm, sizeof(comm));
	(void)group_path(seg, mc_load_full(&m->group), path);
	return json_pack("{s:I, s:I, s:s, s:s, s:I, s:I, s:s, s:o}", "pid", (json_int_t)member_pid(state), "start_time",
			 (json_int_t)mc_load_relaxed(&m->start_time), "comm", comm, "group", path, "held",
			 (json_int_t)(member_held(seg, member, RESOURCE_MEMORY) << MC_PAGE_SHIFT), "refused",
			 (json_int_t)mc_load_relaxed(&m->refused), "state",
			 member_state(state) == MEMBER_OBSERVED ? "observed" : "live", "flags",
			 flag_names(mc_load_full(&m->flags)));
}

static bool is_listed(const struct request *r, uint32_t member, bool recursive)
{
	const struct segment *seg = &r->served->seg;
	struct member *m = member_of(seg, member);
	enum member_state state = member_state(mc_load_full(&m->state));
	uint16_t group = mc_load_full(&m->group);

	if (state != MEMBER_LIVE && state != MEMBER_OBSERVED)
		return false;
	return recursive ? group_is_within(seg, group, r->group) : group == r->group;
}

int do_members(struct request *r, json_t *reply)
{
	const struct served *s = r->served;
	bool recursive = command_flag(r, "recursive", true);
	struct page page = { .rows = json_array() };
	uint64_t from = command_number(r, "cursor", 0);

	if (from == 0) {
		(void)reap_now(r->served, r->group, r->daemon->world->now_ns());
		residency_refresh(r->served, r->group, r->daemon->world->now_ns());
	}
	for (uint32_t i = from < MEMBERS_MAX ? served_next_member(s, (uint32_t)from) : MEMBER_NIL; i != MEMBER_NIL;
	     i = served_next_member(s, i + 1))
		if (is_listed(r, i, recursive) && !page_add(&page, i, NULL, row(&s->seg, i)))
			break;
	return page_end(&page, reply, "members");
}
