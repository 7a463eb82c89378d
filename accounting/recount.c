/* SPDX-License-Identifier: MIT */
/* Recomputing pools from accounts. */
#include "accounting/recount.h"

#include "accounting/arm.h"
#include "accounting/clock.h"
#include "accounting/step.h"
#include "accounting/sys.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* One recount under way. */
struct pass {
	const struct segment *seg;
	unsigned resource;
	uint32_t epoch;
	uint32_t groups; /* the marks, read once: R2 and R4 must visit the same pools */
	uint32_t accounts;
	uint64_t *sum; /* by group */
	uint64_t wish; /* in place for header.epoch; 0: none */
};

/* An account shall be another group's: in header.epoch, so that who takes a recount over takes this over, too.
 * account + 1 (18) at 14 | group (16) at 32 | account.meta's generation as it was (15) at 48. */
#define WISH_MASK (~EPOCH_RECOUNTING & ~(uint64_t)EPOCH_MASK)

static uint64_t wish(uint32_t account, uint16_t group, uint64_t meta)
{
	return (uint64_t)(account + 1) << 14 | (uint64_t)group << 32 |
	       (uint64_t)(account_meta_generation(meta) & 0x7fff) << 48;
}

static bool begin(struct pass *p)
{
	mc_word *now = &p->seg->counters->header.epoch[p->resource];
	uint64_t seen = mc_load_full(now);
	uint64_t wish = p->wish;

	do {
		p->epoch = ((uint32_t)seen + 1) & EPOCH_MASK;
		p->wish = seen & WISH_MASK ? seen & WISH_MASK : wish;
	} while (!mc_cas_full(now, &seen, EPOCH_RECOUNTING | p->wish | p->epoch));
	STEP(R1);
	p->groups = mc_load_full(&p->seg->limits->header.groups_used); /* [O7] */
	return true;
}

/* A pool may be of this very epoch already and not busy: its group was made after R1. */
static bool hold_pools(struct pass *p)
{
	for (uint32_t g = 0; g < p->groups; g++) {
		mc_word *word = &pool_of(p->seg, p->resource, (uint16_t)g)->word;
		uint64_t seen = mc_load_full(word);

		do {
			if (epoch_is_older(p->epoch, pool_epoch(seen)))
				return false;
		} while (!mc_cas_full(word, &seen, POOL_BUSY | pool_word(p->epoch, 0)));
		STEP(R2);
	}
	return true;
}

/* While all pools are held nobody can charge or uncharge by what he read of the account before. The generation
 * is raised: who was overtaken here comes too late, and who has seen the old group sees that it has changed. */
static void carry_out_wish(const struct pass *p)
{
	struct account *a = account_of(p->seg, (uint32_t)(p->wish >> 14 & 0x3ffff) - 1);
	uint64_t meta = mc_load_full(&a->meta);
	uint64_t generation = account_meta_generation(meta);

	if ((generation & 0x7fff) == p->wish >> 48)
		(void)mc_cas_full(&a->meta, &meta,
				  (generation + 1) << 32 | (meta & 0xffff0000) | (p->wish >> 32 & 0xffff));
	STEP(L1);
}

/* The group is read before the word is swapped: afterwards the account may be somebody else's. */
static bool visit(struct pass *p, uint32_t account)
{
	struct account *a = account_of(p->seg, account);
	uint64_t meta, word, held;

	do {
		meta = mc_load_full(&a->meta);
		word = mc_load_full(&a->word);
		if (account_meta_resource(meta) != p->resource)
			return true;
		if (epoch_is_older(p->epoch, account_epoch(word)))
			return false;
		held = account_held(word);
		if (account_epoch(word) == p->epoch) {
			held += account_stock(word);
			break;
		}
	} while (!mc_cas_full(&a->word, &word, account_word(p->epoch, held, 0)));
	STEP(R3);
	p->sum[account_meta_group(meta)] += held;
	return true;
}

static bool visit_accounts(struct pass *p)
{
	p->accounts = account_mark(p->seg);
	for (uint32_t i = 0; i < p->accounts; i++)
		if (!visit(p, i))
			return false;
	return true;
}

/* Children into parents. A parent's depth is one less, so going by depth from below adds each once. */
static void sum_up(struct pass *p)
{
	for (int depth = GROUP_DEPTH_MAX; depth > 0; depth--)
		for (uint32_t g = 1; g < p->groups; g++)
			if (p->sum[g] && p->seg->limits->group[g].depth == depth)
				p->sum[group_parent(p->seg, (uint16_t)g)] += p->sum[g];
}

static bool release_pools(struct pass *p)
{
	for (uint32_t g = 0; g < p->groups; g++) {
		mc_word *word = &pool_of(p->seg, p->resource, (uint16_t)g)->word;
		uint64_t seen = POOL_BUSY | pool_word(p->epoch, 0);

		if (!mc_cas_full(word, &seen, pool_word(p->epoch, p->sum[g])))
			return false;
		STEP(R4);
	}
	return true;
}

static bool end(struct pass *p)
{
	uint64_t seen = EPOCH_RECOUNTING | p->wish | p->epoch;

	return mc_cas_full(&p->seg->counters->header.epoch[p->resource], &seen, p->epoch);
}

/* Sums by group. A process at its limit of address space must be able to recount too. */
static uint64_t spare_sums[GROUPS_MAX + 1];
static mc_word32 spare_is_taken;

static uint64_t *take_sums(void)
{
	long at = sys_mmap(NULL, sizeof(spare_sums), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!sys_is_error(at))
		return (uint64_t *)at; /* NOLINT: the kernel's answer is an address */
	if (mc_exchange_full(&spare_is_taken, 1))
		return NULL;
	memset(spare_sums, 0, sizeof(spare_sums));
	return spare_sums;
}

static void give_sums(uint64_t *sum)
{
	if (sum == spare_sums)
		mc_store_full(&spare_is_taken, 0);
	else
		(void)sys_munmap(sum, sizeof(spare_sums));
}

static bool go(const struct segment *seg, unsigned resource, uint64_t wish)
{
	struct pass p = { .seg = seg, .resource = resource, .wish = wish };
	bool done;

	p.sum = take_sums();
	if (!p.sum)
		return false;
	done = begin(&p) && hold_pools(&p);
	if (done && p.wish)
		carry_out_wish(&p);
	done = done && visit_accounts(&p);
	if (done) {
		sum_up(&p);
		done = release_pools(&p) && end(&p);
	}
	if (done && mark_is_wanted(seg, MARK_CROSSED))
		arm_look_all(seg, resource, p.groups);
	give_sums(p.sum);
	return done;
}

bool recount(const struct segment *seg, unsigned resource)
{
	return go(seg, resource, 0);
}

/* Until it has another label, or is somebody else's. */
void recount_relabel(const struct segment *seg, uint32_t account, uint64_t meta, uint16_t group)
{
	mc_word *now = &account_of(seg, account)->meta;
	unsigned resource = account_meta_resource(meta);

	while (mc_load_full(now) == meta && account_meta_group(meta) != group)
		if (!go(seg, resource, wish(account, group, meta)))
			(void)recount_wait(seg, resource);
}

/* The time runs from the last change: otherwise several waiters would supersede each other for ever. */
uint32_t recount_wait(const struct segment *seg, unsigned resource)
{
	mc_word *now = &seg->counters->header.epoch[resource];
	uint64_t seen = mc_load_full(now);
	uint64_t since = 0;

	while (seen & EPOCH_RECOUNTING) {
		uint64_t again;

		if (since == 0)
			since = clock_now_ns();
		else if (clock_now_ns() - since > RECOUNT_WAIT_NS)
			(void)recount(seg, resource);
		(void)sys_call3(SYS_sched_yield, 0, 0, 0);
		again = mc_load_full(now);
		if (again != seen)
			since = 0;
		seen = again;
	}
	return (uint32_t)seen & EPOCH_MASK;
}

void recount_all(const struct segment *seg)
{
	for (unsigned r = 0; r < seg->resources; r++)
		while (mc_load_relaxed(&seg->limits->header.region[r].used) && !recount(seg, r))
			(void)recount_wait(seg, r);
}
