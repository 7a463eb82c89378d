/* SPDX-License-Identifier: MIT */
/* The page layer under jemalloc: heap pages are charged where they become usable.
 *
 * contract      called with jemalloc's extent locks held, from any thread, before any constructor; must
 *               not allocate. true means failure, as jemalloc has it.
 * refusal       jemalloc answers a refused commit by mapping another region, 16 MiB of address space and
 *               some metadata, and trying there. So once an allocation has been refused it gets no new
 *               region, and one that has no chance from the start does not get as far as that.
 * credit        what sets up a thread's cache at its first allocation is charged by force, up to 64 KiB:
 *               jemalloc crashes when that fails. A thread that ends pays back: what it frees would
 *               otherwise be taken by others, and ever more threads bring ever more memory.
 * huge pages    where they are always on, a touched page makes 2 MiB resident and the charge would be
 *               a lie: heap extents then take small pages.
 */
#include "preload/jemalloc_joined.h"

#include "accounting/sys.h"
#include "accounting/ticket.h"
#include "preload/helper.h"
#include "preload/ledger.h"
#include "preload/metadata.h"
#include "preload/purgeable.h"
#include "preload/reclaim.h"
#include "preload/residency.h"
#include "preload/self.h"

#define CREDIT_PAGES 16
#define SMALL_PAGES 17 /* 64 KiB and the page by which jemalloc shifts what is large */

/* Within one allocation: a commit was refused. volatile: a signal handler may allocate. */
static __thread volatile bool refused;
static __thread unsigned credit_used;
static __thread bool in_setup;

/* As glibc: realloc(p, 0) frees. */
#define CONF "oversize_threshold:0,retain:true,dss:disabled,muzzy_decay_ms:0,hpa:false,zero_realloc:free,"
const char *malloc_conf_2_conf_harder = CONF "prof:false";
const char jemalloc_conf_profile[] =
	CONF "prof:true,prof_active:true,prof_thread_active_init:true,prof_final:false,prof_leak:false,"
	     "prof_gdump:false,prof_accum:false,prof_unbias:false,lg_prof_interval:-1";

static uint64_t pages_of(size_t size)
{
	return size >> MC_PAGE_SHIFT;
}

static bool charge_on_credit(struct self *self, uint32_t account, uint64_t pages)
{
	if (!in_setup || credit_used + pages > CREDIT_PAGES)
		return false;
	credit_used += (unsigned)pages;
	account_class_add(self->actor.seg, account, CLASS_HEAP, (int64_t)pages);
	charge_force(&self->actor, account, pages, OVER_CREDIT);
	return true;
}

static bool charge_as_member(struct self *self, uint32_t account, uint64_t pages)
{
	uint16_t by = GROUP_ROOT;
	struct ticket t;

	if (ticket_reserve_first(&self->actor, account, pages, &t, &by) == 0) {
		ticket_commit(&self->actor, &t, pages, CLASS_HEAP);
		reclaim_note_charged(self, pages);
		return true;
	}
	if (charge_on_credit(self, account, pages))
		return true;
	refused = true;
	reclaim_note_refused(by, pages, false);
	return false;
}

/* True when so much is refused in any case; then the refusal is counted. */
static bool is_hopeless(uint64_t pages)
{
	struct self *self = self_get();
	uint32_t account = self ? self_target(self).account : 0;
	bool large = pages > SMALL_PAGES;
	uint16_t by = GROUP_ROOT;

	if (!self || in_setup || (large ? charge_has_room_large : charge_has_room)(&self->actor, account, pages) ||
	    keep_has_room(&self->actor, account, pages))
		return false;
	if (charge_try_as(&self->actor, account, pages, CHARGE_FIRST | (large ? CHARGE_LARGE : 0), &by)) {
		reclaim_note_refused(by, pages, large);
		return true;
	}
	charge_uncharge(&self->actor, account, pages);
	return false;
}

/* Charges and records; false: refused. */
static bool take(void *addr, size_t size)
{
	struct self *self = self_get();
	struct self_target target = self ? self_target(self) : (struct self_target){ 0 };

	if (self_is_off())
		return true;
	if (self && !charge_as_member(self, target.account, pages_of(size)))
		return false;
	if (!self)
		self_pend((int64_t)pages_of(size));
	if (!ledger_set(addr, pages_of(size), ledger_value(target.slot, CLASS_HEAP)))
		self_mark_partial();
	metadata_measure(false);
	return true;
}

/* `present`: how many of the pages still to be returned were resident. */
static void return_run(struct self *self, const struct ledger_run *run, uint64_t *present)
{
	uint64_t here = run->pages < *present ? run->pages : *present;

	if (!ledger_is_charged(run->value))
		return;
	*present -= here;
	if (self)
		ticket_return_part(&self->actor, self_account(self, ledger_slot(run->value)), run->pages, here,
				   ledger_class(run->value));
	else
		self_pend(-(int64_t)run->pages);
}

static void give_back(void *addr, size_t size, uint64_t present)
{
	struct self *self = self_get();
	uint64_t left = pages_of(size);
	struct ledger_runs runs;
	char *at = addr;

	while (left) {
		ledger_take(at, left, &runs);
		for (unsigned i = 0; i < runs.n; i++)
			return_run(self, &runs.run[i], &present);
		at += (left - runs.lost) << MC_PAGE_SHIFT;
		left = runs.lost;
	}
}

bool mc_thread_setup(void *tsd)
{
	bool failed;

	in_setup = true;
	failed = je_tsd_tcache_enabled_data_init(tsd);
	in_setup = false;
	return failed;
}

/* Some limit is exceeded, not only reached. */
static bool is_over(void)
{
	struct self *self = self_get();

	return self && !charge_has_room(&self->actor, self_target(self).account, 0);
}

/* Arena 0 has the memory of all caches; what another thread took of it before the purge, any arena may
 * give back instead. */
void mc_thread_cleanup(void *tsd)
{
	helper_thread_ends();
	je_tcache_cleanup(tsd);
	if (credit_used == 0)
		return;
	credit_used = 0;
	(void)mallctl("arena.0.purge", NULL, NULL, NULL, 0);
	if (is_over())
		(void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
}

void *mc_ecache_alloc_grow(void *tsdn, void *pac, void *ehooks, void *ecache, void *expand, size_t size,
			   size_t alignment, bool zero, bool guarded)
{
	bool outer = refused;
	void *p;

	if (is_hopeless(pages_of(size)))
		return NULL;
	refused = false;
	p = je_ecache_alloc_grow(tsdn, pac, ehooks, ecache, expand, size, alignment, zero, guarded);
	refused = outer;
	return p;
}

void *mc_pages_map(void *addr, size_t size, size_t alignment, bool *commit)
{
	bool wanted = *commit;
	bool usable = wanted;
	void *p;

	if (refused)
		return NULL;
	p = je_pages_map(addr, size, alignment, &usable);
	if (!p)
		return NULL;
	if (je_init_system_thp_mode == JE_THP_ALWAYS)
		(void)sys_madvise(p, size, MADV_NOHUGEPAGE);
	if (wanted && !take(p, size)) {
		je_pages_unmap(p, size);
		return NULL;
	}
	*commit = wanted;
	return p;
}

void mc_pages_unmap(void *addr, size_t size)
{
	give_back(addr, size, residency_of_heap(addr, pages_of(size)));
	je_pages_unmap(addr, size);
}

bool mc_pages_commit(void *addr, size_t size)
{
	if (!take(addr, size))
		return true;
	if (je_os_overcommits || !je_pages_commit(addr, size))
		return false;
	give_back(addr, size, pages_of(size));
	return true;
}

/* The contents go before the charge: in between the charge is too high, never too low. */
bool mc_pages_decommit(void *addr, size_t size)
{
	uint64_t present = residency_of_heap(addr, pages_of(size));

	if (je_os_overcommits ? sys_madvise(addr, size, MADV_DONTNEED) != 0 : je_pages_decommit(addr, size))
		return true;
	give_back(addr, size, present);
	purgeable_gone(pages_of(size));
	return false;
}

bool mc_pages_purge_forced(void *addr, size_t size)
{
	return je_pages_purge_forced(addr, size);
}

/* MADV_FREE pages stay charged until the kernel takes them; decommit is what gives back. */
bool mc_pages_purge_lazy(void *addr, size_t size)
{
	(void)addr;
	(void)size;
	return true;
}

void *mc_base_map(void *addr, size_t size, size_t alignment, bool *zero, bool *commit)
{
	bool usable = *commit;
	void *p = je_pages_map(addr, size, alignment, &usable);

	if (!p)
		return NULL;
	*zero = true;
	*commit = usable;
	metadata_add(p, size);
	return p;
}

bool mc_base_unmap(void *addr, size_t size)
{
	(void)addr;
	(void)size;
	return true; /* kept: only arena.<i>.destroy asks, and jemalloc then purges it */
}
