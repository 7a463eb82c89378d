/* SPDX-License-Identifier: MIT */
/* This process as a member. */
#include "preload/self.h"

#include "accounting/bell.h"
#include "accounting/member.h"
#include "accounting/settle.h"
#include "accounting/sys.h"
#include "preload/environment.h"
#include "preload/export.h"
#include "preload/hello.h"
#include "preload/log.h"
#include "preload/sharing.h"

#include <string.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct self *self_page;

/* The same in parent and child: the mappings, and where a child joins if its parent is gone. */
static struct segment segment;
static mc_word32 segment_is_attached;
static uint16_t last_group;
static uint32_t last_generation;
static uint32_t parent_member; /* + 1; 0: this image has not joined yet */
static uint32_t last_family;
static bool last_shares;
static int why_off;

static struct self *make_page(void)
{
	static mc_word32 making;
	long at;

	if (self_page || mc_exchange_full(&making, 1))
		return self_page;
	at = sys_mmap(NULL, MC_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!sys_is_error(at) && sys_madvise((void *)at, MC_PAGE_SIZE, MADV_WIPEONFORK) == 0)
		self_page = (struct self *)at; /* NOLINT: the kernel's answer is an address */
	return self_page;
}

static int attach(void)
{
	int err;

	if (mc_load_acquire(&segment_is_attached))
		return 0;
	err = segment_attach(environment.dir, SEGMENT_MEMBER, &segment);
	if (!err)
		mc_store_release(&segment_is_attached, 1);
	return err;
}

static void read_comm(char *comm)
{
	int fd = sys_openat(AT_FDCWD, "/proc/self/comm", O_RDONLY, 0);
	long n = fd < 0 ? 0 : sys_read(fd, comm, 15);

	if (fd >= 0)
		sys_close(fd);
	comm[n > 0 && comm[n - 1] == '\n' ? n - 1 : 0] = 0;
}

/* Pids only mean something in the daemon's own namespace. */
static bool is_in_daemons_pid_ns(void)
{
	struct stat st;

	return sys_call6(SYS_newfstatat, AT_FDCWD, (long)"/proc/self/ns/pid", (long)&st, 0, 0, 0) == 0 &&
	       (uint32_t)st.st_ino == segment.limits->header.daemon_pid_ns;
}

/* After exec the slot is still ours; a fresh process gets one. */
static int join_here(uint32_t pid, uint16_t group, bool is_fork, uint32_t *ret_member)
{
	uint64_t start = 0;
	char comm[16];
	int err = member_read_start_time(0, &start);

	if (err)
		return err;
	read_comm(comm);
	if (!is_fork && member_find(&segment, pid, start, ret_member) == 0) {
		err = settle_exec(&segment, *ret_member, group, comm);
		if (err != -ESRCH)
			return err;
	}
	if (!is_fork)
		return member_join(&segment, pid, start, group, MEMBER_LIVE, comm, ret_member);
	return member_join_family(&segment, pid, start, group, MEMBER_LIVE, comm, last_family, ret_member);
}

static int join_group(uint16_t group, bool is_fork, uint32_t *ret_member)
{
	if (is_in_daemons_pid_ns())
		return join_here((uint32_t)sys_getpid(), group, is_fork, ret_member);
	return hello_join(environment.dir, environment.group, ret_member);
}

/* Charges go to this account, of `group`, from now on. */
static void aim(struct self *self, uint16_t group, unsigned slot)
{
	mc_store_relaxed(&self->target, (uint64_t)slot << 32 | member_account_at(&segment, self->member, slot));
	mc_store_relaxed(&self->group, group);
	last_group = group;
	last_generation = segment.limits->group[group].generation;
}

static void become_member(struct self *self, uint32_t member)
{
	struct member *m = member_of(&segment, member);
	uint16_t group = mc_load_full(&m->group);
	int slot = member_account(&segment, member, RESOURCE_MEMORY, group);

	self->member = member;
	self->actor.seg = &segment;
	self->actor.open = &m->open;
	self->actor.member = member;
	self->actor.pid = (uint32_t)sys_getpid();
	self->asked = &m->group;
	aim(self, group, slot < 0 ? 0 : (unsigned)slot);
	parent_member = member + 1;
	last_family = mc_load_relaxed(&m->family);
	mc_store_release(&self->state, SELF_MEMBER);
}

/* Moved to another group: what was charged stays where it is. The daemon sees to it that there is an account of
 * ours before it names the group; where there is none, it has moved us on in between. */
static void follow(struct self *self)
{
	uint16_t group;
	int slot;

	do {
		group = mc_load_full(self->asked);
		slot = member_find_account(&segment, self->member, RESOURCE_MEMORY, group);
	} while (slot < 0 && mc_load_full(self->asked) != group);
	if (slot >= 0) {
		aim(self, group, (unsigned)slot);
		return;
	}
	mc_store_relaxed(&self->group, group);
	member_set_flags(&segment, self->member, MEMBER_PARTIAL, 0);
}

/* What was taken while nobody could be charged. Counted under heap: nothing else comes so early. */
static void charge_pending(struct self *self)
{
	int64_t pages = (int64_t)mc_load_relaxed(&self->pending);

	if (pages <= 0)
		return;
	mc_sub_relaxed(&self->pending, (uint64_t)pages);
	account_class_add(&segment, self_target(self).account, CLASS_HEAP, pages);
	charge_force(&self->actor, self_target(self).account, (uint64_t)pages, OVER_START);
}

static void turn_off(struct self *self, int err)
{
	why_off = err;
	mc_store_release(&self->state, SELF_OFF);
}

static void join(struct self *self, uint16_t group, bool is_fork)
{
	uint32_t member = 0;
	int err = join_group(group, is_fork, &member);

	if (err) {
		turn_off(self, err);
		return;
	}
	become_member(self, member);
	if (last_shares)
		member_set_flags(&segment, member, MEMBER_SHARES, 0);
	charge_pending(self);
}

static void join_by_environment(struct self *self)
{
	uint16_t group = 0;
	int err = environment.group[0] ? attach() : -ENODATA;

	if (!err)
		err = group_find(&segment, environment.group, &group);
	if (err)
		turn_off(self, err == -ENOENT && mc_load_relaxed(&segment_is_attached) ? -ENOLINK : err);
	else
		join(self, group, false);
}

/* A child joins where its parent is now, or was when it last looked. */
static uint16_t parents_group(void)
{
	struct member *m = member_of(&segment, parent_member - 1);

	if (member_state(mc_load_full(&m->state)) == MEMBER_LIVE &&
	    member_pid(mc_load_full(&m->state)) == (uint32_t)sys_call3(SYS_getppid, 0, 0, 0))
		return mc_load_full(&m->group);
	return segment.limits->group[last_group].generation == last_generation ? last_group : GROUP_ROOT;
}

static bool begin_join(struct self *self)
{
	uint32_t fresh = SELF_NEW;

	return environment_start() && mc_cas_full(&self->state, &fresh, SELF_JOINING);
}

static struct self *get_slowly(void)
{
	struct self *self = make_page();

	if (!self)
		return NULL;
	if (mc_load_acquire(&self->state) == SELF_NEW && begin_join(self)) {
		if (mc_load_relaxed(&segment_is_attached) && parent_member != 0)
			join(self, parents_group(), true);
		else
			join_by_environment(self);
	}
	return mc_load_acquire(&self->state) == SELF_MEMBER ? self : NULL;
}

struct self *self_get(void)
{
	struct self *self = self_page;

	if (__builtin_expect(!self || mc_load_acquire(&self->state) != SELF_MEMBER, 0))
		return get_slowly();
	if (__builtin_expect(mc_load_relaxed(self->asked) != mc_load_relaxed(&self->group), 0))
		follow(self);
	return self;
}

bool self_is_off(void)
{
	return self_page && mc_load_acquire(&self_page->state) == SELF_OFF;
}

void self_pend(int64_t pages)
{
	if (self_page)
		mc_add_relaxed(&self_page->pending, (uint64_t)pages);
}

uint32_t self_account(const struct self *self, unsigned slot)
{
	struct self_target target = self_target(self);

	return slot == target.slot ? target.account : member_account_at(&segment, self->member, slot);
}

void self_mark_partial(void)
{
	struct self *self = self_get();

	if (self)
		member_set_flags(&segment, self->member, MEMBER_PARTIAL, 0);
}

bool self_is_sharing(void)
{
	return last_shares;
}

void self_mark_sharing(void)
{
	struct self *self = self_get();

	last_shares = true;
	if (!self || mc_load_relaxed(&member_of(&segment, self->member)->flags) & MEMBER_SHARES)
		return;
	member_set_flags(&segment, self->member, MEMBER_SHARES, 0);
	bell_ring(&segment); /* who is seen first pays */
}

static const char *reason(int err)
{
	switch (err) {
	case -ENODATA:
		return "MEMCTL_GROUP is not set; start it with 'memctl run'";
	case -ENOLINK:
		return "no such group; create it with 'memctl create'";
	case -ENOENT:
		return "no daemon has made a segment there; try 'memctl daemon start'";
	case -EPROTO:
		return "the segment is of another version of memctl";
	case -EBADMSG:
		return "the segment is damaged";
	case -EPERM:
	case -EACCES:
		return "the runtime directory belongs to somebody else or is open to others";
	case -ENOSPC:
		return "no member or account is free";
	case -ENOMEM:
		return "the file system of the segment is full";
	case -EINVAL:
		return "MEMCTL_GROUP is not a group's path";
	default:
		return "the segment cannot be joined";
	}
}

void self_start(void)
{
	(void)self_get();
	if (!self_is_off())
		return;
	log_always("this program runs unaccounted", reason(why_off));
}

void self_after_fork(void)
{
	if (!self_page || !mc_load_relaxed(&segment_is_attached))
		return;
	(void)self_get();
}

bool self_is_own_process(void)
{
	return self_page && mc_load_acquire(&self_page->state) == SELF_MEMBER &&
	       (member_pid(mc_load_full(&member_of(&segment, self_page->member)->state)) == (uint32_t)sys_getpid() ||
		(mc_load_full(&member_of(&segment, self_page->member)->flags) & MEMBER_FOREIGN &&
		 self_page->actor.pid == (uint32_t)sys_getpid()));
}

void self_leave(void)
{
	uint32_t member;

	if (!self_is_own_process())
		return;
	member = self_page->member;
	sharing_tell(&segment, member);
	mc_store_full(&self_page->state, SELF_OFF);
	settle_leave(&segment, member);
}

EXPORT int memctl_preload_member(uint32_t *ret_member)
{
	struct self *self = self_get();

	if (!self)
		return -ENOTCONN;
	*ret_member = self->member;
	return 0;
}

void self_exec_begin(void)
{
	if (self_is_own_process())
		member_set_flags(&segment, self_page->member, MEMBER_EXECING, 0);
}

void self_exec_failed(void)
{
	if (self_is_own_process())
		member_set_flags(&segment, self_page->member, 0, MEMBER_EXECING);
}

void self_observe(uint32_t pid)
{
	struct self *self = self_get();
	uint64_t start = 0;
	uint32_t member;

	if (!self || !is_in_daemons_pid_ns() || member_read_start_time(pid, &start))
		return;
	if (pid == 0)
		pid = (uint32_t)sys_getpid();
	if (member_find(&segment, pid, start, &member) == 0)
		return;
	(void)member_join(&segment, pid, start, mc_load_full(&member_of(&segment, self->member)->group),
			  MEMBER_OBSERVED, NULL, &member);
}
