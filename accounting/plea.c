/* SPDX-License-Identifier: MIT */
/* What a refused member asks of the daemon, and what the daemon tells it. */
#include "accounting/plea.h"

#include "accounting/bell.h"
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"

#define KILL_PATIENCE_MS 5000u /* for a victim to die; longer while the daemon is still busy with what precedes */
#define KILL_LIMIT_MS 60000u   /* and never longer: a hook, a grace, a death */
#define PLEAS_MAX 64u

/* ---- pleas -------------------------------------------------------------------------------------------------- */

static mc_word *plea_of(const struct segment *seg, unsigned resource, uint16_t group)
{
	return &pool_of(seg, resource, group)->oom;
}

enum plea plea_make(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint64_t units)
{
	uint32_t least = units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
	uint64_t seen = 0;

	if (mc_cas_full(plea_of(seg, resource, group), &seen, (uint64_t)(member + 1) << 32 | (least ? least : 1))) {
		bell_ring(seg);
		return PLEA_MADE;
	}
	return seen & UINT32_MAX ? PLEA_OPEN : PLEA_DENIED;
}

bool plea_is_open(const struct segment *seg, unsigned resource, uint16_t group)
{
	uint32_t daemon = mc_load_relaxed(&seg->counters->header.daemon_pid);

	return (mc_load_full(plea_of(seg, resource, group)) & UINT32_MAX) && daemon &&
	       sys_call3(SYS_kill, daemon, 0, 0) != -ESRCH;
}

bool plea_hopes(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint64_t units,
		struct plea_hope *hope)
{
	enum plea plea = plea_make(seg, resource, member, group, units);
	uint32_t now = reclaim_now();

	if (plea == PLEA_DENIED || (plea == PLEA_MADE && ++hope->made > PLEAS_MAX))
		return false;
	if (!hope->has_begun || plea == PLEA_MADE)
		hope->made_at = now;
	if (hope->made_at == now || (now - hope->made_at < KILL_LIMIT_MS && plea_is_open(seg, resource, group)))
		hope->deadline = now + KILL_PATIENCE_MS;
	hope->has_begun = true;
	return (int32_t)(now - hope->deadline) < 0;
}

/* ---- leave -------------------------------------------------------------------------------------------------- */

/* member.leave, device_leave = generation of the slot (12) | resource (4) | group (16) | units (32); all ones below: to
 * be refused. */
#define REFUSED UINT32_MAX

static mc_word *leave_of(const struct segment *seg, unsigned resource, uint32_t member)
{
	struct member *m = member_of(seg, member);

	return resource < RESOURCE_REGION_FIRST ? &m->leave : &m->device_leave;
}

static uint64_t leave_word(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group,
			   uint32_t units)
{
	uint64_t generation = mc_load_relaxed(&member_of(seg, member)->generation) & 0xfff;

	return generation << 52 | (uint64_t)resource << 48 | (uint64_t)group << 32 | units;
}

static void give(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint32_t units)
{
	mc_store_full(leave_of(seg, resource, member), leave_word(seg, resource, member, group, units));
	reclaim_wake(seg);
}

void leave_grant(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group, uint64_t units)
{
	give(seg, resource, member, group, units < LEAVE_UNITS_MAX ? (uint32_t)units : LEAVE_UNITS_MAX);
}

void leave_refuse(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group)
{
	give(seg, resource, member, group, REFUSED);
}

void leave_withdraw(const struct segment *seg, unsigned resource, uint32_t member)
{
	mc_store_full(leave_of(seg, resource, member), 0);
}

/* The units, where it is for this group and of this member; else 0. */
static uint32_t leave_units(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group)
{
	uint64_t word = mc_load_full(leave_of(seg, resource, member));

	return word >> 32 == leave_word(seg, resource, member, group, 0) >> 32 ? (uint32_t)word : 0;
}

bool leave_is_given(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group)
{
	return leave_units(seg, resource, member, group) != 0;
}

bool leave_is_unheard(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group)
{
	return leave_units(seg, resource, member, group) == REFUSED;
}

bool leave_is_refused(const struct segment *seg, unsigned resource, uint32_t member, uint16_t group)
{
	uint64_t word = leave_word(seg, resource, member, group, REFUSED);

	return leave_is_unheard(seg, resource, member, group) && mc_cas_full(leave_of(seg, resource, member), &word, 0);
}

static bool fits(const struct segment *seg, unsigned resource, uint16_t group, uint64_t units, uint64_t beyond)
{
	uint64_t max = pool_max(seg, resource, group);

	return max >= PAGES_MAX ||
	       pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word)) + units <= max + beyond;
}

bool leave_covers(const struct actor *by, unsigned resource, uint16_t leaf, uint16_t group, uint64_t units)
{
	uint32_t beyond = by->member == MEMBER_NIL || resource == RESOURCE_SWAP
				  ? 0
				  : leave_units(by->seg, resource, by->member, group);

	if (beyond == 0 || beyond == REFUSED)
		return false;
	for (; leaf != GROUP_NIL; leaf = group_parent(by->seg, leaf))
		if (!fits(by->seg, resource, leaf, units, leaf == group ? beyond : 0))
			return false;
	return true;
}
