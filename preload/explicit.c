/* SPDX-License-Identifier: MIT */
/* Charges that the program makes itself. */
#include "preload/explicit.h"

#include "accounting/member.h"
#include "accounting/region.h"
#include "accounting/sys.h"
#include "accounting/units.h"
#include "preload/map.h"
#include "preload/reclaim.h"

#include <errno.h>
#include <string.h>

/* What this process has charged, by the place of the account in the member's table. */
static mc_word32 owner; /* its pid */
static mc_word charged[MEMBER_ACCOUNTS_MAX];

static void forget_parents(void)
{
	uint32_t pid = (uint32_t)sys_getpid();
	uint32_t was = mc_load_relaxed(&owner);

	if (was == pid || !mc_cas_full(&owner, &was, pid))
		return;
	for (unsigned i = 0; was && i < MEMBER_ACCOUNTS_MAX; i++)
		mc_store_relaxed(&charged[i], 0);
}

static int find(const struct self *self, const char *name, unsigned *ret)
{
	if (strcmp(name, "memory") == 0) {
		*ret = RESOURCE_MEMORY;
		return 0;
	}
	if (strcmp(name, "swap") == 0)
		return -ENODEV;
	return region_find(self->actor.seg, name, ret);
}

/* By way of what mmap does, so that reclaim and policy follow. */
static int charge_memory(uint64_t pages)
{
	struct map_charge charge;

	if (!map_reserve(&charge, pages, false))
		return -ENOMEM;
	ticket_commit(&charge.self->actor, &charge.ticket, pages, CLASS_ANON);
	mc_add_relaxed(&charged[charge.to.slot], pages);
	reclaim_note_charged(charge.self, pages);
	reclaim_after_mapping();
	return 0;
}

static int charge_region(const struct self *self, unsigned resource, uint64_t pages)
{
	int slot = member_account(self->actor.seg, self->member, resource, (uint16_t)mc_load_relaxed(&self->group));
	int err;

	if (slot < 0)
		return slot;
	err = charge_try(&self->actor, self_account(self, (unsigned)slot), pages, NULL);
	if (!err)
		mc_add_relaxed(&charged[slot], pages);
	return err;
}

static int charge(const struct self *self, unsigned resource, uint64_t pages)
{
	return resource == RESOURCE_MEMORY ? charge_memory(pages) : charge_region(self, resource, pages);
}

static bool is_of(const struct self *self, unsigned slot, unsigned resource)
{
	uint32_t account = self_account(self, slot);

	return account != UINT32_MAX &&
	       account_meta_resource(mc_load_full(&account_of(self->actor.seg, account)->meta)) == resource;
}

static void give_back(const struct self *self, unsigned slot, unsigned resource, uint64_t pages)
{
	uint32_t account = self_account(self, slot);

	if (resource == RESOURCE_MEMORY)
		ticket_return_part(&self->actor, account, pages, 0, CLASS_ANON);
	else
		charge_uncharge(&self->actor, account, pages);
}

/* At most so many of those charged at one place; how many. */
static uint64_t take(unsigned slot, uint64_t pages)
{
	uint64_t has = mc_load_relaxed(&charged[slot]);
	uint64_t part;

	do
		part = has < pages ? has : pages;
	while (part && !mc_cas_full(&charged[slot], &has, has - part));
	return part;
}

static uint64_t sum(const struct self *self, unsigned resource)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++)
		if (mc_load_relaxed(&charged[i]) && is_of(self, i, resource))
			n += mc_load_relaxed(&charged[i]);
	return n;
}

static int uncharge(const struct self *self, unsigned resource, uint64_t pages)
{
	if (sum(self, resource) < pages)
		return -EINVAL;
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX && pages; i++) {
		uint64_t part = mc_load_relaxed(&charged[i]) && is_of(self, i, resource) ? take(i, pages) : 0;

		if (part)
			give_back(self, i, resource, part);
		pages -= part;
	}
	return 0;
}

typedef int change(const struct self *self, unsigned resource, uint64_t pages);

static int with_resource(const char *resource, uint64_t bytes, change *change_by)
{
	const struct self *self = self_get();
	uint64_t pages = units_pages_up(bytes);
	unsigned r = 0;
	int err;

	if (!self || pages == 0)
		return 0;
	forget_parents();
	err = find(self, resource, &r);
	if (err)
		return err;
	return change_by(self, r, pages);
}

int explicit_charge(const char *resource, uint64_t bytes)
{
	return with_resource(resource, bytes, charge);
}

int explicit_uncharge(const char *resource, uint64_t bytes)
{
	return with_resource(resource, bytes, uncharge);
}
