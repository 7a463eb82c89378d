/* SPDX-License-Identifier: MIT */
/* Members: one slot per process, known by (pid, start time), in one group.
 *
 * contract      a slot is claimed by its own process (join), by one that registers a child that cannot
 *               be preloaded (observe), or by the daemon. Only the daemon declares a slot dead and frees
 *               it. After exec the new image keeps the slot and settles what the old one held in place
 *               (settle.h), so a dead slot has exactly one settler.
 * ordering [O4] join:  state = LIVE, then read group.state.   remove: group.state = DYING, then read
 *               members. One of the two sees the other: join fails or the removal is refused.
 * crash table   died after            left behind                 who puts it right
 *               CLAIMED               slot with a pid             the daemon: pid is gone, freed
 *               an account claimed    account of that member      settle scans all accounts of a slot
 *                                                                 that was not LIVE or was open
 *               LIVE                  a member like any other     the daemon, by pidfd
 * progress      lock-free; the lowest free slot is taken, so that scans up to the mark are short.
 */
#ifndef ACCOUNTING_MEMBER_H
#define ACCOUNTING_MEMBER_H

#include "accounting/charge.h"

static inline struct member *member_of(const struct segment *seg, uint32_t member)
{
	return &seg->counters->member[member % MEMBERS_MAX];
}

static inline enum member_state member_state(uint64_t state)
{
	return (enum member_state)(state & 0xff);
}

static inline uint32_t member_pid(uint64_t state)
{
	return (uint32_t)(state >> 8);
}

static inline uint64_t member_state_word(uint32_t pid, enum member_state state)
{
	return (uint64_t)pid << 8 | (uint64_t)state;
}

/* Start time of a process in clock ticks after boot (/proc/PID/stat, field 22); pid 0 is the caller.
 * -ESRCH or errno. Signal-safe, raw system calls. */
int member_read_start_time(uint32_t pid, uint64_t *ret_ticks);

/* Claims a slot for (pid, start_time) in `group` as `state` (LIVE or OBSERVED), with its account in
 * RESOURCE_MEMORY. `comm` may be NULL. -ENOENT: the group is not live; -ENOSPC: no slot or account;
 * -ENOMEM: the file system of the segment is full. Rings the bell. Signal-safe. */
int member_join(const struct segment *seg, uint32_t pid, uint64_t start_time, uint16_t group, enum member_state state,
		const char *comm, uint32_t *ret_member);

/* The same for a process that fork made: it shares pages with those of its parent's family. */
int member_join_family(const struct segment *seg, uint32_t pid, uint64_t start_time, uint16_t group,
		       enum member_state state, const char *comm, uint32_t family, uint32_t *ret_member);

/* A number for an image that shares its private pages with nobody yet. */
uint32_t member_new_family(const struct segment *seg);

/* The slot of a process, or -ESRCH. CLAIMED and DEAD slots are not found. */
int member_find(const struct segment *seg, uint32_t pid, uint64_t start_time, uint32_t *ret_member);

/* Frees a slot with no account left. Its settler or its joiner that gives up. */
void member_free(const struct segment *seg, uint32_t member);

/* The index in the member's own table of its account for (resource, group), claimed if need be.
 * -ENOSPC: MEMBER_ACCOUNTS_MAX accounts or ACCOUNTS_MAX in all; -ENOMEM. */
int member_account(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group);

/* The same for what the member has inherited (controld/heirs.h): nobody but the daemon charges there. */
int member_inherited_account(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group);

/* As member_account without claiming: -ENOENT when there is none. */
int member_find_account(const struct segment *seg, uint32_t member, unsigned resource, uint16_t group);

/* Account number behind one of a member's table entries. The entry must be in use. */
static inline uint32_t member_account_at(const struct segment *seg, uint32_t member, unsigned slot)
{
	return mc_load_acquire(&member_of(seg, member)->account[slot]) - 1;
}

/* True while a slot is in use that counts as being in its group (CLAIMED, LIVE or OBSERVED). */
bool member_is_present(const struct segment *seg, uint32_t member);

/* True when a present member's group is `group`. Scans all slots in use. */
bool member_any_in(const struct segment *seg, uint16_t group);

/* Sets or clears flags; rings the bell when EXECING is set. */
void member_set_flags(const struct segment *seg, uint32_t member, uint32_t set, uint32_t clear);

/* Sum of all its accounts of a resource: held units. */
uint64_t member_held(const struct segment *seg, uint32_t member, unsigned resource);

/* The same less what `account`, one of memory, holds: of groups that the member was in before. */
uint64_t member_held_elsewhere(const struct segment *seg, uint32_t member, uint32_t account);

/* Slot indices go from 0 to this mark. */
static inline uint32_t member_mark(const struct segment *seg)
{
	uint32_t mark = mc_load_full(&seg->counters->header.members_used);

	return mark < MEMBERS_MAX ? mark : MEMBERS_MAX;
}

#endif
