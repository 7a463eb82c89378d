/* SPDX-License-Identifier: MIT */
/* What is resident of this process. */
#include "preload/residency.h"

#include "accounting/member.h"
#include "accounting/sys.h"
#include "preload/ledger.h"
#include "preload/self.h"

#define LOOK_PAGES 1024 /* one mincore: a byte each on the stack, which may be a signal handler's */

bool residency_is_lazy(const struct self *self, uint64_t pages)
{
	return pages >= RESIDENCY_LAZY_PAGES && self_is_resident(self);
}

/* Where a part is not mapped at all, nothing is said of the rest either: taken as resident. */
static uint64_t look(const char *addr, uint64_t pages)
{
	unsigned char resident[LOOK_PAGES];
	uint64_t n = 0;

	if (sys_call3(SYS_mincore, addr, pages << MC_PAGE_SHIFT, resident))
		return pages;
	for (uint64_t i = 0; i < pages; i++)
		n += resident[i] & 1;
	return n;
}

uint64_t residency_count(const void *addr, uint64_t pages)
{
	const char *at = addr;
	uint64_t n = 0;

	while (pages) {
		uint64_t part = pages < LOOK_PAGES ? pages : LOOK_PAGES;

		n += look(at, part);
		at += part << MC_PAGE_SHIFT;
		pages -= part;
	}
	return n;
}

uint64_t residency_count_value(const struct self *self, uint8_t value, const void *addr, uint64_t pages)
{
	struct account *a;

	if (!self || value == 0 || ledger_is_reserved(value))
		return pages;
	a = account_of(self->actor.seg, self_account(self, ledger_slot(value)));
	if (mc_load_relaxed(ledger_is_lazy(value) ? &a->surplus : &a->absent) == 0)
		return pages;
	if (ledger_slot(value) == self_target(self).slot && !charge_is_near(&self->actor, self_target(self).account))
		return ledger_is_lazy(value) ? 0 : pages;
	return residency_count(addr, pages);
}

uint64_t residency_of_heap(const void *addr, uint64_t pages)
{
	struct self *self = self_get();

	return residency_count_value(self, ledger_value(self ? self_target(self).slot : 0, CLASS_HEAP), addr, pages);
}

static const char *number(const char *p, uint64_t *ret)
{
	uint64_t v = 0;

	while (*p == ' ')
		p++;
	while (*p >= '0' && *p <= '9')
		v = v * 10 + (uint64_t)(*p++ - '0');
	*ret = v;
	return p;
}

/* Resident less shared. */
bool residency_private(uint64_t *ret_pages)
{
	int fd = sys_openat(AT_FDCWD, "/proc/thread-self/statm", O_RDONLY, 0);
	uint64_t size, resident, shared;
	char text[128];
	long n;

	if (fd < 0)
		return false;
	n = sys_read(fd, text, sizeof(text) - 1);
	sys_close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	(void)number(number(number(text, &size), &resident), &shared);
	*ret_pages = resident > shared ? resident - shared : 0;
	return true;
}

/* What this account should hold at least. Other accounts of a process that was moved keep theirs. */
static uint64_t due(const struct self *self, uint32_t account, uint64_t resident)
{
	const struct segment *seg = self->actor.seg;
	int64_t offset = (int64_t)mc_load_relaxed(&member_of(seg, self->member)->offset);
	int64_t all = (int64_t)resident + offset;
	int64_t others = (int64_t)member_held_elsewhere(seg, self->member, account);

	return all > others ? (uint64_t)(all - others) : 0;
}

void residency_catch_up(const struct self *self)
{
	uint32_t account = self_target(self).account;
	struct account *a = account_of(self->actor.seg, account);
	uint64_t meta = mc_load_full(&a->meta);
	uint64_t held = account_held(mc_load_full(&a->word));
	uint64_t resident, to;

	if (!residency_private(&resident))
		return;
	to = due(self, account, resident);
	if (to <= held || charge_adjust(&self->actor, account, meta, held, to, OVER_LAZY))
		return;
	account_note_adjusted(a, held, to);
}

void residency_start(void)
{
	const struct self *self = self_get();

	if (self && self_is_resident(self) && charge_least_max(&self->actor, self_target(self).account) != PAGES_MAX)
		residency_catch_up(self);
}
