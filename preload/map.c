/* SPDX-License-Identifier: MIT */
/* Charging ranges of address space. */
#include "preload/map.h"

#include "accounting/sys.h"
#include "accounting/units.h"
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

/* Only where there is no memory for a copy: uncharges in parts at once, and should the real call fail, the
 * pages are no longer recorded. */
static void take_in_parts(struct map_taken *taken)
{
	ledger_take(taken->addr, taken->pages, &taken->runs);
	while (taken->runs.lost) {
		uint64_t left = taken->runs.lost;

		map_drop(taken);
		taken->addr += (taken->pages - left) << MC_PAGE_SHIFT;
		taken->pages = left;
		ledger_take(taken->addr, left, &taken->runs);
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

/* From page `from` of the copy on. */
static void uncharge_copy(struct map_taken *taken, uint64_t from)
{
	while (taken->all && from < taken->pages) {
		struct ledger_run run = { .value = taken->all[from] };

		run.pages = ledger_run_length(taken->all + from, taken->pages - from);
		uncharge_run(&run, run.pages);
		memset(taken->all + from, 0, run.pages);
		from += run.pages;
	}
}

/* What the kernel refuses without a look at the pages. */
static bool is_sound(const void *addr, size_t size)
{
	return (uintptr_t)addr % MC_PAGE_SIZE == 0 && size <= ADDRESS_END &&
	       (uintptr_t)addr <= ADDRESS_END - size;
}

void map_take(struct map_taken *taken, void *addr, size_t size)
{
	taken->addr = addr;
	taken->pages = 0;
	taken->runs.n = 0;
	taken->all = NULL;
	if (!addr || !is_sound(addr, size))
		return;
	taken->pages = units_pages_up(size);
	ledger_read(taken->addr, taken->pages, &taken->runs);
	if (taken->runs.lost)
		take_copy(taken);
	else
		ledger_take(taken->addr, taken->pages, &taken->runs);
}

void map_drop(struct map_taken *taken)
{
	for (unsigned i = 0; i < taken->runs.n; i++)
		uncharge_run(&taken->runs.run[i], taken->runs.run[i].pages);
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

		uncharge_run(run, run->pages - stays);
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
	(void)for_reserved(addr, size, ledger_value(slot_of(charge), CLASS_ANON));
	commit_ticket(charge, CLASS_ANON);
}
