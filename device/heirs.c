/* SPDX-License-Identifier: MIT */
/* Memory that other processes open, too. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* F_SETOWN_EX */
#endif
#include "device/heirs.h"

#include "accounting/member.h"
#include "device/ask.h"

#include <fcntl.h>
#include <unistd.h>

#define NAME_BITS ((1ull << 62) - 1) /* what a number of the protocol holds */
#define NUMBERS 128u		     /* signals 1 to 64, of a process or of its first thread; but 0 */

static mc_word32 is_any; /* this image has lent or borrowed something */

uint64_t heirs_name_of_bytes(const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 0x100000001b3ull;
	hash = (hash ^ hash >> 32) & NAME_BITS;
	return hash > UINT32_MAX ? hash : hash + UINT32_MAX; /* those below are descriptors' */
}

/* Of pid 0, whose creator is gone, it is not whole. */
static uint64_t name_of_number(uint32_t pid, uint32_t number)
{
	return (uint64_t)pid * NUMBERS + number;
}

/* As the daemon knows it. */
static uint32_t own_pid(const struct device_member *m)
{
	return member_pid(mc_load_relaxed(&member_of(m->actor.seg, m->member)->state));
}

uint64_t heirs_name_of_descriptor(int fd)
{
	struct f_owner_ex owner = { .type = F_OWNER_PID };
	int signal = fcntl(fd, F_GETSIG);

	if (signal < 1 || signal > 64 || fcntl(fd, F_GETOWN_EX, &owner) || owner.pid < 0 || owner.type == F_OWNER_PGRP)
		return 0;
	return name_of_number((uint32_t)owner.pid, (uint32_t)(signal - 1) + (owner.type == F_OWNER_TID ? 64 : 0));
}

bool heirs_sign(int fd, uint64_t name)
{
	struct device_member *m = device_member();
	uint32_t number = (uint32_t)(name % NUMBERS), pid = (uint32_t)(name / NUMBERS);
	struct f_owner_ex owner = { .type = number < 64 ? F_OWNER_PID : F_OWNER_TID,
				    .pid = m && pid == own_pid(m) ? getpid() : (pid_t)pid };

	return name <= UINT32_MAX && fcntl(fd, F_SETOWN_EX, &owner) == 0 &&
	       fcntl(fd, F_SETSIG, (int)(number % 64 + 1)) == 0;
}

static bool ask(const char *what, uint64_t *name, unsigned region, uint64_t units)
{
	struct device_member *m = *name ? device_member() : NULL;

	return m && ask_about_heirs(device_member_dir(), what, name, m->member, region, units) == 0;
}

bool heirs_lend(const struct ledger_entry *e, uint64_t name)
{
	if (!name || e->resource < 0 || !e->paid.units || !ask("lend", &name, (unsigned)e->resource, e->paid.units))
		return false;
	mc_store_relaxed(&is_any, 1);
	return true;
}

/* Numbers are used again as late as can be, and begin anywhere; one that somebody still has memory
 * by is refused. */
uint64_t heirs_lend_by_number(const struct ledger_entry *e)
{
	static mc_word32 last;
	struct device_member *m = device_member();

	for (unsigned tries = 0; m && tries < 4; tries++) {
		uint32_t number = own_pid(m) * 37u + mc_add_relaxed(&last, 1);
		uint64_t name = name_of_number(own_pid(m), 1 + number % (NUMBERS - 1));

		if (heirs_lend(e, name))
			return name;
	}
	return 0;
}

bool heirs_borrow(uint64_t *name)
{
	if (!ask("borrow", name, 0, 0)) {
		if (*name && *name < NUMBERS)
			device_member_mark_partial();
		return false;
	}
	mc_store_relaxed(&is_any, 1);
	return true;
}

void heirs_leave(uint64_t name)
{
	(void)ask("leave", &name, 0, 0);
}

void heirs_give(uint64_t name)
{
	(void)ask("give", &name, 0, 0);
}

/* In an orderly end heirs pay before the preload library gives back all that this process has. */
__attribute__((destructor)) static void leave_all(void)
{
	struct device_member *m = mc_load_relaxed(&is_any) ? device_member() : NULL;
	uint64_t all = 0;

	if (m)
		(void)ask_about_heirs(device_member_dir(), "leave", &all, m->member, 0, 0);
}
