/* SPDX-License-Identifier: MIT */
/* This process as a member, for charges to devices. */
#include "device/member.h"

#include "accounting/member.h"
#include "accounting/sys.h"
#include "device/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct device_member *device_member_page;

/* The same in parent and child. */
static struct segment segment;
static mc_word32 is_attached;

void *device_pages(size_t size, enum device_pages in_child)
{
	long at = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int advice = in_child == PAGES_WIPED ? MADV_WIPEONFORK : MADV_DONTFORK;

	if (sys_is_error(at))
		return NULL;
	if (sys_madvise((void *)at, size, advice) == 0)
		return (void *)at; /* NOLINT: the kernel's answer is an address */
	(void)sys_munmap((void *)at, size);
	return NULL;
}

const char *device_member_dir(void)
{
	static char dir[200];
	const char *named = getenv("MEMCTL_DIR");
	unsigned uid = (unsigned)sys_call3(SYS_geteuid, 0, 0, 0);

	if (dir[0])
		return dir;
	if (named && *named && strlen(named) < sizeof(dir))
		strcpy(dir, named);
	else if (uid)
		(void)snprintf(dir, sizeof(dir), "/dev/shm/memctl-%u", uid);
	else
		strcpy(dir, "/run/memctl");
	return dir;
}

/* The environment may change later: looked at before the program runs. */
__attribute__((constructor(102))) static void start(void)
{
	(void)device_member_dir();
}

static bool attach(void)
{
	if (mc_load_acquire(&is_attached))
		return true;
	lock_take(LOCK_ATTACH);
	if (!mc_load_relaxed(&is_attached) && segment_attach(device_member_dir(), SEGMENT_DEVICE, &segment) == 0)
		mc_store_release(&is_attached, 1);
	lock_release(LOCK_ATTACH);
	return mc_load_acquire(&is_attached);
}

/* Two threads may both make one: the first one's stays. */
static struct device_member *make_page(void)
{
	struct device_member *fresh, *none = NULL;

	if (device_member_page)
		return device_member_page;
	fresh = device_pages(MC_PAGE_SIZE, PAGES_WIPED);
	if (fresh &&
	    !__atomic_compare_exchange_n(&device_member_page, &none, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		(void)sys_munmap(fresh, MC_PAGE_SIZE);
	return device_member_page;
}

static void fill(struct device_member *m, uint32_t member)
{
	m->member = member;
	m->group = &member_of(&segment, member)->group;
	m->actor = (struct actor){
		.seg = &segment,
		.open = &member_of(&segment, member)->open,
		.member = member,
		.pid = member_pid(mc_load_relaxed(&member_of(&segment, member)->state)),
	};
	mc_store_release(&m->state, MEMBER_FOUND);
}

/* The preload library's. In another pid namespace only it knows; where it is in another link namespace, or not
 * there, the slot is found by what this process is called. */
extern int memctl_preload_member(uint32_t *ret_member) __attribute__((weak));

static int find_slot(uint32_t *ret_member)
{
	uint64_t start_time = 0;

	if (memctl_preload_member)
		return memctl_preload_member(ret_member);
	if (member_read_start_time(0, &start_time))
		return -ESRCH;
	return member_find(&segment, (uint32_t)sys_getpid(), start_time, ret_member);
}

/* Not cached where there is none: the child of a fork may not have joined yet. */
struct device_member *device_member_find(void)
{
	uint32_t unfound = 0;
	struct device_member *m = make_page();
	uint32_t member;

	if (!m || !attach() || find_slot(&member))
		return NULL;
	if (mc_cas_full(&m->state, &unfound, MEMBER_FINDING))
		fill(m, member);
	while (mc_load_acquire(&m->state) != MEMBER_FOUND)
		mc_spin_hint();
	return m;
}

void device_member_mark(uint32_t flags)
{
	struct device_member *m = device_member();

	if (m && (mc_load_relaxed(&member_of(&segment, m->member)->flags) & flags) != flags)
		member_set_flags(&segment, m->member, flags, 0);
}
