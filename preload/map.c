/* SPDX-License-Identifier: MIT */
/* Charging ranges of address space. */
#include "preload/map.h"

#include "accounting/units.h"
#include "preload/self.h"

bool map_is_on(void)
{
	return self_get() || !self_is_off();
}

void map_mark_partial(void)
{
	self_mark_partial();
}

bool map_reserve(struct map_charge *charge, uint64_t pages)
{
	charge->self = self_get();
	charge->pages = pages;
	if (pages && charge->self)
		return ticket_reserve(&charge->self->actor, charge->self->account, pages,
				      &charge->ticket, NULL) == 0;
	if (pages)
		self_pend((int64_t)pages);
	return true;
}

void map_cancel(struct map_charge *charge)
{
	if (charge->pages && charge->self)
		ticket_cancel(&charge->self->actor, &charge->ticket);
	else if (charge->pages)
		self_pend(-(int64_t)charge->pages);
}

static void commit_ticket(struct map_charge *charge, enum class class)
{
	if (charge->pages && charge->self)
		ticket_commit(&charge->self->actor, &charge->ticket, charge->pages, class);
}

static unsigned slot_of(const struct map_charge *charge)
{
	return charge->self ? charge->self->slot : 0;
}

void map_commit(struct map_charge *charge, void *addr, enum class class)
{
	if (charge->pages == 0)
		return;
	if (!ledger_set(addr, charge->pages, ledger_value(slot_of(charge), class))) {
		self_mark_partial(); /* it could never be uncharged */
		map_cancel(charge);
		return;
	}
	commit_ticket(charge, class);
}

static void uncharge_run(const struct ledger_run *run, uint64_t pages)
{
	struct self *self = self_get();

	if (!ledger_is_charged(run->value) || pages == 0)
		return;
	if (self)
		ticket_return(&self->actor, self_account(self, ledger_slot(run->value)), pages,
			      ledger_class(run->value));
	else
		self_pend(-(int64_t)pages);
}

/* Ranges of more runs than fit are uncharged in parts at once: should the real call fail, which for such
 * a range it does not but for want of memory, their pages are no longer recorded. */
void map_take(struct map_taken *taken, void *addr, size_t size)
{
	taken->addr = (char *)((uintptr_t)addr & ~(uintptr_t)(MC_PAGE_SIZE - 1));
	taken->pages = addr ? units_pages_up(size) : 0;
	taken->runs.n = 0;
	if (!addr)
		return;
	ledger_take(taken->addr, taken->pages, &taken->runs);
	while (taken->runs.lost) {
		uint64_t left = taken->runs.lost;

		map_drop(taken);
		taken->addr += (taken->pages - left) << MC_PAGE_SHIFT;
		taken->pages = left;
		ledger_take(taken->addr, left, &taken->runs);
	}
}

void map_drop(struct map_taken *taken)
{
	for (unsigned i = 0; i < taken->runs.n; i++)
		uncharge_run(&taken->runs.run[i], taken->runs.run[i].pages);
}

void map_undo_take(const struct map_taken *taken)
{
	ledger_put(taken->addr, &taken->runs);
}

/* Cuts the runs to `pages`; what is behind is uncharged. */
static void cut(struct map_taken *taken, uint64_t pages)
{
	for (unsigned i = 0; i < taken->runs.n; i++) {
		struct ledger_run *run = &taken->runs.run[i];
		uint64_t stays = run->pages < pages ? run->pages : pages;

		uncharge_run(run, run->pages - stays);
		run->pages = stays;
		pages -= stays;
	}
}

static uint8_t value_behind(const struct map_taken *from)
{
	return from->runs.n ? from->runs.run[from->runs.n - 1].value : 0;
}

void map_move(struct map_taken *from, void *addr, uint64_t pages, bool keep, struct map_charge *charge)
{
	uint8_t value = value_behind(from);
	uint64_t old = keep ? 0 : from->pages;

	if (keep) {
		map_undo_take(from);
	} else {
		cut(from, pages);
		from->addr = addr;
		map_undo_take(from);
	}
	if (pages <= old)
		return;
	if (ledger_is_charged(value))
		map_commit(charge, (char *)addr + (old << MC_PAGE_SHIFT), ledger_class(value));
	else if (value)
		(void)ledger_set((char *)addr + (old << MC_PAGE_SHIFT), pages - old, value);
}

/* Counts the reserved pages of a range, and gives them a value unless that is 0. */
static uint64_t for_reserved(void *addr, size_t size, uint8_t write)
{
	char *at = (char *)((uintptr_t)addr & ~(uintptr_t)(MC_PAGE_SIZE - 1));
	uint64_t left = units_pages_up(size);
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
	(void)for_reserved(addr, size, ledger_value(slot_of(charge), CLASS_ANON));
	commit_ticket(charge, CLASS_ANON);
}
