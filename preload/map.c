/* SPDX-License-Identifier: MIT */
/* Charging ranges of address space. */
#include "preload/map.h"

#include "accounting/sys.h"
#include "accounting/units.h"
#include "preload/reclaim.h"
#include "preload/residency.h"
#include "preload/self.h"

#include <string.h>

#define ADDRESS_END (1ull << 47)

bool map_is_on(void)
{
	return self_get() || !self_is_off();
}

void map_mark_partial(void)
{
	self_mark_partial();
}

/* What must be free: all of it, or an eighth of the limit where it is larger. What is small beside the limit
 * will be touched, and nobody can refuse it then; what is large is a reservation. */
static uint64_t room_needed(const struct map_charge *charge)
{
	uint64_t eighth = charge_least_max(&charge->self->actor, charge->to.account) / 8;

	if (eighth < RESIDENCY_LAZY_PAGES)
		eighth = RESIDENCY_LAZY_PAGES;
	return charge->pages < eighth ? charge->pages : eighth;
}

/* With what was touched of earlier grants counted in. A refusal is counted as any. */
static bool grant(struct map_charge *charge, uint16_t *ret_refused)
{
	const struct actor *by = &charge->self->actor;
	uint64_t needed = room_needed(charge);

	residency_catch_up(charge->self);
	if (charge_has_room(by, charge->to.account, needed) || keep_has_room(by, charge->to.account, needed))
		return true;
	if (ticket_reserve_first(by, charge->to.account, needed, &charge->ticket, ret_refused))
		return false;
	ticket_cancel(by, &charge->ticket);
	return true;
}

static bool try_to_reserve(struct map_charge *charge)
{
	uint16_t by = GROUP_ROOT;
	bool granted = charge->lazy ? grant(charge, &by)
				    : ticket_reserve_first(&charge->self->actor, charge->to.account, charge->pages,
							   &charge->ticket, &by) == 0;

	if (!granted)
		reclaim_note_refused(by, charge->lazy ? room_needed(charge) : charge->pages, false);
	return granted;
}

bool map_reserve(struct map_charge *charge, uint64_t pages, bool may_be_lazy)
{
	charge->self = self_get();
	charge->pages = pages;
	charge->lazy = false;
	if (!charge->self || pages == 0) {
		self_pend((int64_t)pages);
		return true;
	}
	charge->to = self_target(charge->self);
	charge->lazy = may_be_lazy && residency_is_lazy(charge->self, pages);
	while (!try_to_reserve(charge)) {
		if (!reclaim_after_refused_mapping())
			return false;
		charge->to = self_target(charge->self);
	}
	return true;
}

void map_cancel(struct map_charge *charge)
{
	if (charge->lazy)
		return;
	if (charge->pages && charge->self)
		ticket_cancel(&charge->self->actor, &charge->ticket);
	else if (charge->pages)
		self_pend(-(int64_t)charge->pages);
}

static void commit_ticket(struct map_charge *charge, enum class class)
{
	if (charge->lazy)
		ticket_grant(&charge->self->actor, charge->to.account, charge->pages, class);
	else if (charge->pages && charge->self)
		ticket_commit(&charge->self->actor, &charge->ticket, charge->pages, class);
	if (charge->pages && charge->self)
		reclaim_note_charged(charge->self, charge->pages);
}

static uint8_t value_for(const struct map_charge *charge, enum class class)
{
	uint8_t value = ledger_value(charge->self ? charge->to.slot : 0, class);

	return charge->lazy ? value | LEDGER_LAZY : value;
}

void map_commit(struct map_charge *charge, void *addr, enum class class)
{
	if (charge->pages == 0)
		return;
	if (!ledger_set(addr, charge->pages, value_for(charge, class))) {
		self_mark_partial(); /* it could never be uncharged */
		map_cancel(charge);
		return;
	}
	commit_ticket(charge, class);
	reclaim_after_mapping();
}

/* What was granted in a group that charges everything now was charged when that was set. */
static void uncharge_granted(const struct self *self, const struct ledger_run *run, uint64_t pages, uint64_t present)
{
	ticket_return_granted(&self->actor, self_account(self, ledger_slot(run->value)), pages,
			      self_is_resident(self) ? present : pages, ledger_class(run->value));
}

static void uncharge_run(const struct ledger_run *run, uint64_t pages, uint64_t present)
{
	struct self *self = self_get();

	if (pages == 0)
		return;
	if (present > pages)
		present = pages;
	if (self && ledger_is_lazy(run->value))
		uncharge_granted(self, run, pages, present);
	else if (self && ledger_is_charged(run->value))
		ticket_return_part(&self->actor, self_account(self, ledger_slot(run->value)), pages, present,
				   ledger_class(run->value));
	else if (ledger_is_charged(run->value))
		self_pend(-(int64_t)pages);
}

/* Of each run, the pages from page `stays` of the range on. */
static void count_present(struct map_taken *taken, uint64_t stays)
{
	const struct self *self = self_get();
	const char *at = taken->addr;

	for (unsigned i = 0; i < taken->runs.n; i++) {
		const struct ledger_run *run = &taken->runs.run[i];
		uint64_t skip = run->pages < stays ? run->pages : stays;

		taken->present[i] =
			residency_count_value(self, run->value, at + (skip << MC_PAGE_SHIFT), run->pages - skip);
		stays -= skip;
		at += run->pages << MC_PAGE_SHIFT;
	}
}

/* Only where there is no memory for a copy: uncharges in parts at once, and should the real call fail, the
 * pages are no longer recorded. */
static void take_in_parts(struct map_taken *taken)
{
	ledger_take(taken->addr, taken->pages, &taken->runs);
	count_present(taken, 0);
	while (taken->runs.lost) {
		uint64_t left = taken->runs.lost;

		map_drop(taken);
		taken->addr += (taken->pages - left) << MC_PAGE_SHIFT;
		taken->pages = left;
		ledger_take(taken->addr, left, &taken->runs);
		count_present(taken, 0);
	}
}

static void take_copy(struct map_taken *taken)
{
	long at = sys_mmap(NULL, taken->pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(at)) {
		take_in_parts(taken);
		return;
	}
	taken->runs.n = 0;
	taken->all = (uint8_t *)at; /* NOLINT: the kernel's answer is an address */
	ledger_take_all(taken->addr, taken->pages, taken->all);
}

static void forget_copy(const struct map_taken *taken)
{
	if (taken->all)
		(void)sys_munmap(taken->all, taken->pages);
}

/* From page `from` of the copy on; taken as resident, the daemon's next look tells. */
static void uncharge_copy(struct map_taken *taken, uint64_t from)
{
	while (taken->all && from < taken->pages) {
		struct ledger_run run = { .value = taken->all[from] };

		run.pages = ledger_run_length(taken->all + from, taken->pages - from);
		uncharge_run(&run, run.pages, run.pages);
		memset(taken->all + from, 0, run.pages);
		from += run.pages;
	}
}

/* What the kernel refuses without a look at the pages. */
static bool is_sound(const void *addr, size_t size)
{
	return (uintptr_t)addr % MC_PAGE_SIZE == 0 && size <= ADDRESS_END && (uintptr_t)addr <= ADDRESS_END - size;
}

void map_take(struct map_taken *taken, void *addr, size_t size, uint64_t stays)
{
	taken->addr = addr;
	taken->pages = 0;
	taken->runs.n = 0;
	taken->all = NULL;
	if (!addr || !is_sound(addr, size))
		return;
	taken->pages = units_pages_up(size);
	ledger_read(taken->addr, taken->pages, &taken->runs);
	if (taken->runs.lost) {
		take_copy(taken);
		return;
	}
	ledger_take(taken->addr, taken->pages, &taken->runs);
	count_present(taken, stays);
}

void map_drop(struct map_taken *taken)
{
	for (unsigned i = 0; i < taken->runs.n; i++)
		uncharge_run(&taken->runs.run[i], taken->runs.run[i].pages, taken->present[i]);
	uncharge_copy(taken, 0);
	forget_copy(taken);
}

void map_undo_take(const struct map_taken *taken)
{
	ledger_put(taken->addr, &taken->runs);
	if (taken->all)
		ledger_put_all(taken->addr, taken->pages, taken->all);
	forget_copy(taken);
}

/* Cuts the runs to `pages`; what is behind is uncharged. */
static void cut(struct map_taken *taken, uint64_t pages)
{
	uncharge_copy(taken, pages);
	for (unsigned i = 0; i < taken->runs.n; i++) {
		struct ledger_run *run = &taken->runs.run[i];
		uint64_t stays = run->pages < pages ? run->pages : pages;

		uncharge_run(run, run->pages - stays, taken->present[i]);
		run->pages = stays;
		pages -= stays;
	}
}

uint8_t map_last_value(const struct map_taken *taken)
{
	if (taken->all)
		return taken->all[taken->pages - 1];
	return taken->runs.n ? taken->runs.run[taken->runs.n - 1].value : 0;
}

/* What comes on top is as the last page before it; large parts may be granted where that was charged. */
static void extend(char *at, uint64_t pages, uint8_t value, struct map_charge *charge)
{
	if (ledger_is_charged(value) || ledger_is_lazy(value))
		map_commit(charge, at, ledger_class(value));
	else if (value)
		(void)ledger_set(at, pages, value);
}

void map_move(struct map_taken *from, void *addr, uint64_t pages, bool keep, struct map_charge *charge)
{
	uint8_t value = map_last_value(from);
	uint64_t old = keep ? 0 : from->pages;

	if (keep) {
		map_undo_take(from);
	} else {
		cut(from, pages);
		from->addr = addr;
		map_undo_take(from);
	}
	if (pages > old)
		extend((char *)addr + (old << MC_PAGE_SHIFT), pages - old, value, charge);
}

static void discard_run(const struct self *self, const struct ledger_run *run, uint64_t present)
{
	uint32_t account = self_account(self, ledger_slot(run->value));

	if (ledger_class(run->value) == CLASS_SHMEM)
		return;
	if (ledger_is_lazy(run->value))
		charge_uncharge(&self->actor, account,
				account_take(&account_of(self->actor.seg, account)->surplus, present));
	else if (ledger_is_charged(run->value))
		ticket_discard(&self->actor, account, present);
}

void map_look(struct map_taken *seen, void *addr, size_t size)
{
	const struct self *self = self_get();
	const char *at = addr;

	seen->runs.n = 0;
	if (!self || !is_sound(addr, size) || !self_is_resident(self) ||
	    !charge_is_near(&self->actor, self_target(self).account))
		return;
	ledger_read(addr, units_pages_up(size), &seen->runs);
	for (unsigned i = 0; i < seen->runs.n; i++) {
		const struct ledger_run *run = &seen->runs.run[i];
		bool counts = ledger_is_lazy(run->value) || ledger_is_charged(run->value);

		seen->present[i] = counts ? residency_count(at, run->pages) : 0;
		at += run->pages << MC_PAGE_SHIFT;
	}
}

void map_discard(const struct map_taken *seen)
{
	const struct self *self = self_get();

	for (unsigned i = 0; self && i < seen->runs.n; i++)
		discard_run(self, &seen->runs.run[i], seen->present[i]);
}

/* Counts the reserved pages of a range, and gives them a value unless that is 0. */
static uint64_t for_reserved(void *addr, size_t size, uint8_t write)
{
	char *at = addr;
	uint64_t left = is_sound(addr, size) ? units_pages_up(size) : 0;
	uint64_t found = 0;

	while (left) {
		struct ledger_runs runs;

		ledger_read(at, left, &runs);
		for (unsigned i = 0; i < runs.n; i++) {
			if (runs.run[i].value == LEDGER_RESERVED) {
				found += runs.run[i].pages;
				if (write)
					(void)ledger_set(at, runs.run[i].pages, write);
			}
			at += runs.run[i].pages << MC_PAGE_SHIFT;
		}
		left = runs.lost;
	}
	return found;
}

uint64_t map_count_reserved(void *addr, size_t size)
{
	return for_reserved(addr, size, 0);
}

void map_open_reserved(struct map_charge *charge, void *addr, size_t size)
{
	(void)for_reserved(addr, size, value_for(charge, CLASS_ANON));
	commit_ticket(charge, CLASS_ANON);
	reclaim_after_mapping();
}
