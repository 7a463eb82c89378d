/* SPDX-License-Identifier: MIT */
/* This process as a member: joining, and the account that charges go to.
 *
 * What belongs to one process alone lies in a MADV_WIPEONFORK page: however a child was made (fork, _Fork,
 * a raw clone), it reads zeros there, so it is nobody until it joins by itself, in its parent's group.
 *
 * contract      any thread, signal handlers, before any constructor. Never waits: while one thread joins,
 *               others count what they take as pending, and the joiner charges it.
 */
#ifndef PRELOAD_SELF_H
#define PRELOAD_SELF_H

#include "accounting/charge.h"

enum self_state {
	SELF_NEW, /* zero: a fresh image, or a fresh child */
	SELF_JOINING,
	SELF_MEMBER,
	SELF_OFF, /* unaccounted for good */
};

struct self {
	mc_word32 state;	/* sync: release when MEMBER; enum self_state */
	uint32_t member;	/* sync: const while MEMBER */
	mc_word32 group;	/* sync: relaxed; whose account `target` is */
	mc_word target;		/* sync: relaxed; slot(32) | account(32), where new charges of memory go */
	const mc_word16 *asked; /* sync: const while MEMBER; member.group: another one means that we were moved */
	struct actor actor;	/* sync: const while MEMBER */
	mc_word pending;	/* sync: relaxed; pages taken before joining */
	uint64_t helper[4];	/* helper.c's */
};

extern struct self *self_page;

/* An account of ours and its place in the member's table, which is what the ledger keeps. */
struct self_target {
	uint32_t account;
	unsigned slot;
};

static inline struct self_target self_target(const struct self *self)
{
	uint64_t target = mc_load_relaxed(&self->target);

	return (struct self_target){ .account = (uint32_t)target, .slot = (unsigned)(target >> 32) };
}

/* True when what becomes resident is charged, not what is asked for. */
static inline bool self_is_resident(const struct self *self)
{
	return self->actor.seg->limits->group[mc_load_relaxed(&self->group)].charge_mode == CHARGE_RESIDENT;
}

/* This process, joined if that is possible now; NULL while it is not, or for good. */
struct self *self_get(void);

/* True when this process will never be accounted. */
bool self_is_off(void);

/* Before joining: pages that were taken (or, negative, given back). */
void self_pend(int64_t pages);

/* Joins at the latest now, and says so on stderr when it cannot. The constructor's. */
void self_start(void);

/* In the child of a fork: joins the parent's group. Async-signal-safe. */
void self_after_fork(void);

/* The account number behind an entry of the member's table. */
uint32_t self_account(const struct self *self, unsigned slot);

/* The process ends: what it holds goes back now, so that who comes next need not wait for the daemon. What
 * is charged or given back afterwards is not counted. */
void self_leave(void);

/* Something of this process could not be accounted. */
void self_mark_partial(void);

/* This process has memory that others may share: the daemon looks what it is. Said once by an image, and by the
 * children that it forks. */
void self_mark_sharing(void);
bool self_is_sharing(void);

/* Before and after an exec call: the daemon looks for a new image. No-ops in a vfork child. */
void self_exec_begin(void);
void self_exec_failed(void);

/* Registers a process that cannot be preloaded (pid 0: the caller, about to exec) in this one's group. */
void self_observe(uint32_t pid);

/* True when this is the process that is the member, not a vfork child running in its memory. */
bool self_is_own_process(void);

/* Exported for the device library, which goes where we go: the slot of this process, which in another pid namespace
 * nobody else finds. 0, or -ENOTCONN: it is no member, yet or for good. */
int memctl_preload_member(uint32_t *ret_member);

#endif
