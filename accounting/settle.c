/* SPDX-License-Identifier: MIT */
/* Taking back what a dead process, or a replaced image, still holds. */
#include "accounting/settle.h"

#include "accounting/reclaim.h"
#include "accounting/step.h"

#include <errno.h>
#include <string.h>

/* S2: nothing held, nothing in stock any more; what was there, and in which epoch. */
static uint64_t take_all(struct account *a, uint32_t *ret_epoch)
{
	uint64_t word = mc_load_full(&a->word);

	while (!mc_cas_full(&a->word, &word, account_word(account_epoch(word), 0, 0)))
		;
	STEP(S2);
	for (unsigned i = 0; i < CLASSES; i++)
		mc_store_relaxed(&a->class[i], 0);
	mc_store_relaxed(&a->absent, 0);
	mc_store_relaxed(&a->surplus, 0);
	*ret_epoch = account_epoch(word);
	return account_held(word) + account_stock(word);
}

static uint64_t settle_account(const struct segment *seg, uint32_t account, bool counted)
{
	struct account *a = account_of(seg, account);
	uint32_t epoch = 0;
	uint64_t units = take_all(a, &epoch);
	uint64_t meta = mc_load_full(&a->meta); /* after the swap: as in charge.c's read_leaf */

	if (counted) {
		charge_down(seg, account_meta_resource(meta), account_meta_group(meta), units, epoch);
		STEP(S3);
	}
	return account_meta_resource(meta) == RESOURCE_MEMORY ? units : 0;
}

/* Entry i of a member's list; MEMBER_NIL: none. Who died while freeing may have left an account listed that
 * is somebody else's by now; only this member's settler frees for it, so the answer does not change. */
static uint32_t listed(const struct segment *seg, uint32_t member, unsigned i)
{
	uint32_t account = mc_load_full(&member_of(seg, member)->account[i]);

	if (account == 0 || mc_load_full(&account_of(seg, account - 1)->member) != member + 1)
		return MEMBER_NIL;
	return account - 1;
}

/* Its pools are not mapped here: most members map those of host memory alone. */
static bool is_beyond(const struct segment *seg, uint32_t account)
{
	return account_meta_resource(mc_load_full(&account_of(seg, account)->meta)) >= seg->resources;
}

static bool holds_beyond(const struct segment *seg, uint32_t member)
{
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = listed(seg, member, i);

		if (account != MEMBER_NIL && is_beyond(seg, account))
			return true;
	}
	return false;
}

/* `seg`, or all of the segment where the member needs it. Where that cannot be mapped, what lies beyond stays
 * charged and listed, for the daemon. */
static const struct segment *widen(const struct segment *seg, uint32_t member, struct segment *wide)
{
	wide->limits = NULL;
	if (!holds_beyond(seg, member) || segment_attach(seg->dir, SEGMENT_DEVICE, wide))
		return seg;
	if (wide->limits->header.instance == seg->limits->header.instance)
		return wide;
	segment_detach(wide);
	return seg;
}

static void narrow(struct segment *wide)
{
	if (wide->limits)
		segment_detach(wide);
}

static uint64_t settle_listed(const struct segment *seg, uint32_t member, bool counted)
{
	uint64_t units = 0;

	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = listed(seg, member, i);

		if (account != MEMBER_NIL && !is_beyond(seg, account))
			units += settle_account(seg, account, counted);
	}
	return units;
}

/* A process that died between claiming an account and listing it has one that only a scan finds. */
static void free_accounts(const struct segment *seg, uint32_t member, bool scan)
{
	uint32_t mark = account_mark(seg);
	struct member *m = member_of(seg, member);

	for (uint32_t i = 0; scan && i < mark; i++)
		if (mc_load_full(&account_of(seg, i)->member) == member + 1 && !is_beyond(seg, i))
			account_free(seg, i);
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = listed(seg, member, i);

		if (account != MEMBER_NIL && is_beyond(seg, account))
			continue;
		if (account != MEMBER_NIL)
			account_free(seg, account);
		mc_store_full(&m->account[i], 0);
	}
}

uint64_t settle_dead(const struct actor *by, uint32_t member)
{
	const struct segment *seg = by->seg;
	struct member *m = member_of(seg, member);
	uint64_t state = mc_load_full(&m->state);
	bool was_live = member_state(state) == MEMBER_LIVE || member_state(state) == MEMBER_OBSERVED;
	bool was_open;
	uint64_t units;

	mc_store_full(&m->state, member_state_word(member_pid(state), MEMBER_DEAD));
	STEP(S0);
	mc_add_full(by->open, 1); /* S1 */
	STEP(S1);
	was_open = mc_load_full(&m->open) != 0;
	units = settle_listed(seg, member, !was_open);
	if (was_open)
		recount_all(seg);
	STEP(S4);
	mc_store_full(&m->open, 0);
	free_accounts(seg, member, was_open || !was_live); /* S5 */
	STEP(S5);
	member_free(seg, member);
	mc_sub_full(by->open, 1);
	return units;
}

/* The daemon may have taken a slow exec for one without preload. */
static bool make_live(struct member *m)
{
	uint64_t state = mc_load_full(&m->state);

	do {
		if (member_state(state) != MEMBER_LIVE && member_state(state) != MEMBER_OBSERVED)
			return false;
	} while (!mc_cas_full(&m->state, &state, member_state_word(member_pid(state), MEMBER_LIVE)));
	return true;
}

/* The own open counter serves as S1: it is raised above what the old image left, so it is never 0 on the
 * way, and a death in between is settled with a recount. */
int settle_exec(const struct segment *seg, uint32_t member, uint16_t asked, const char *comm)
{
	struct member *m = member_of(seg, member);
	const struct segment *all;
	struct segment wide;
	bool was_open;
	int err;

	if (!make_live(m))
		return -ESRCH;
	was_open = mc_add_full(&m->open, 1) != 0;
	STEP(S1);
	all = widen(seg, member, &wide);
	(void)settle_listed(all, member, !was_open);
	if (was_open)
		recount_all(all);
	STEP(S4);
	free_accounts(all, member, was_open);
	narrow(&wide);
	memset(m->comm, 0, sizeof(m->comm));
	strncpy(m->comm, comm, sizeof(m->comm) - 1);
	mc_store_relaxed(&m->family, member_new_family(seg));
	mc_store_relaxed(&m->offset, 0);
	mc_store_relaxed(&m->purgeable, 0);
	reclaim_forget(m);
	if (mc_load_relaxed(&m->asked) != asked) {
		mc_store_relaxed(&m->asked, asked);
		mc_store_full(&m->group, asked);
	}
	err = member_account(seg, member, RESOURCE_MEMORY, mc_load_full(&m->group));
	member_set_flags(seg, member, 0,
			 MEMBER_EXECING | MEMBER_PARTIAL | MEMBER_SHARES | MEMBER_FORKED | MEMBER_LEAVES |
				 MEMBER_PARTIAL_HIP | MEMBER_PARTIAL_ZE);
	mc_store_full(&m->open, 0);
	return err < 0 ? err : 0;
}

void settle_leave(const struct segment *seg, uint32_t member)
{
	struct member *m = member_of(seg, member);
	struct segment wide;

	member_set_flags(seg, member, MEMBER_LEAVES, 0);
	if (mc_add_full(&m->open, 1) == 0) {
		(void)settle_listed(widen(seg, member, &wide), member, true);
		narrow(&wide);
	}
	mc_sub_full(&m->open, 1);
}

unsigned settle_daemon(const struct segment *seg)
{
	struct counters_header *h = &seg->counters->header;
	bool was_open = mc_load_full(&h->daemon_open) != 0;
	unsigned n = 0;

	for (unsigned r = 0; r < seg->resources; r++) {
		if (!mc_load_relaxed(&seg->limits->header.region[r].used))
			continue;
		if (!was_open && !(mc_load_full(&h->epoch[r]) & EPOCH_RECOUNTING))
			continue;
		while (!recount(seg, r))
			(void)recount_wait(seg, r);
		n++;
	}
	mc_store_full(&h->daemon_open, 0);
	return n;
}
