/* SPDX-License-Identifier: MIT */
/* What a refused member asks of the daemon, and what the daemon tells it. */
#include "accounting/plea.h"

#include "accounting/bell.h"
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"

/* ---- pleas -------------------------------------------------------------------------------------------------- */

static mc_word *plea_of(const struct segment *seg, uint16_t group)
{
	return &pool_of(seg, RESOURCE_MEMORY, group)->oom;
}

enum plea plea_make(const struct segment *seg, uint32_t member, uint16_t group, uint64_t pages)
{
	uint32_t least = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
	uint64_t seen = 0;

	if (mc_cas_full(plea_of(seg, group), &seen, (uint64_t)(member + 1) << 32 | (least ? least : 1))) {
		bell_ring(seg);
		return PLEA_MADE;
	}
	return seen & UINT32_MAX ? PLEA_OPEN : PLEA_DENIED;
}

bool plea_is_open(const struct segment *seg, uint16_t group)
{
	uint32_t daemon = mc_load_relaxed(&seg->counters->header.daemon_pid);

	return (mc_load_full(plea_of(seg, group)) & UINT32_MAX) && daemon &&
	       sys_call3(SYS_kill, daemon, 0, 0) != -ESRCH;
}

/* ---- leave -------------------------------------------------------------------------------------------------- */

/* member.leave = generation of the slot (16) | group (16) | pages (32); all ones below: to be refused. */
#define REFUSED UINT32_MAX

static uint64_t leave_word(const struct segment *seg, uint32_t member, uint16_t group, uint32_t pages)
{
	uint64_t generation = mc_load_relaxed(&member_of(seg, member)->generation) & 0xffff;

	return generation << 48 | (uint64_t)group << 32 | pages;
}

static void give(const struct segment *seg, uint32_t member, uint16_t group, uint32_t pages)
{
	mc_store_full(&member_of(seg, member)->leave, leave_word(seg, member, group, pages));
	reclaim_wake(seg);
}

void leave_grant(const struct segment *seg, uint32_t member, uint16_t group, uint64_t pages)
{
	give(seg, member, group, pages < LEAVE_PAGES_MAX ? (uint32_t)pages : LEAVE_PAGES_MAX);
}

void leave_refuse(const struct segment *seg, uint32_t member, uint16_t group)
{
	give(seg, member, group, REFUSED);
}

void leave_withdraw(const struct segment *seg, uint32_t member)
{
	mc_store_full(&member_of(seg, member)->leave, 0);
}

bool leave_is_given(const struct segment *seg, uint32_t member, uint16_t group)
{
	uint64_t word = mc_load_full(&member_of(seg, member)->leave);

	return (word & UINT32_MAX) && word >> 32 == leave_word(seg, member, group, 0) >> 32;
}

bool leave_is_unheard(const struct segment *seg, uint32_t member, uint16_t group)
{
	return mc_load_full(&member_of(seg, member)->leave) == leave_word(seg, member, group, REFUSED);
}

bool leave_is_refused(const struct segment *seg, uint32_t member, uint16_t group)
{
	uint64_t word = leave_word(seg, member, group, REFUSED);

	return mc_load_full(&member_of(seg, member)->leave) == word &&
	       mc_cas_full(&member_of(seg, member)->leave, &word, 0);
}

static bool fits(const struct segment *seg, unsigned resource, uint16_t group, uint64_t pages, uint64_t beyond)
{
	uint64_t max = pool_max(seg, resource, group);

	return max >= PAGES_MAX ||
	       pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word)) + pages <= max + beyond;
}

bool leave_covers(const struct actor *by, unsigned resource, uint16_t leaf, uint16_t group, uint64_t pages)
{
	uint64_t word;

	if (by->member == MEMBER_NIL || resource != RESOURCE_MEMORY)
		return false;
	word = mc_load_full(&member_of(by->seg, by->member)->leave);
	if (!(word & UINT32_MAX) || (word & UINT32_MAX) == REFUSED ||
	    word >> 32 != leave_word(by->seg, by->member, group, 0) >> 32)
		return false;
	for (; leaf != GROUP_NIL; leaf = group_parent(by->seg, leaf))
		if (!fits(by->seg, resource, leaf, pages, leaf == group ? word & UINT32_MAX : 0))
			return false;
	return true;
}
