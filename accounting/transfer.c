/* SPDX-License-Identifier: MIT */
/* Charging an account with what another one holds. */
#include "accounting/transfer.h"

#include "accounting/arm.h"
#include "accounting/reclaim.h"
#include "accounting/step.h"

#include <errno.h>

/* One transfer under way. */
struct transfer {
	const struct actor *by;
	const struct segment *seg;
	unsigned resource;
	uint32_t from, to;
	uint64_t meta;	 /* from's */
	uint16_t source; /* from's group */
	uint16_t leaf;	 /* to's group */
	uint16_t common; /* the lowest above both */
	uint64_t n, part;
	uint32_t epoch;
	bool is_lost; /* a recount has set `part` free: it is charged as anything else, if it still can be */
};

static uint16_t group_common(const struct segment *seg, uint16_t a, uint16_t b)
{
	while (!group_is_within(seg, b, a))
		a = group_parent(seg, a);
	return a;
}

static uint64_t held(const struct segment *seg, uint32_t account)
{
	return account_held(mc_load_full(&account_of(seg, account)->word));
}

/* What a pool above `to` gets; common_seen: it is common, or above. */
static uint64_t share(const struct transfer *t, bool common_seen)
{
	return common_seen ? t->n - t->part : t->n;
}

static struct transfer begin(const struct actor *by, uint32_t from, uint64_t meta, uint32_t to, uint64_t n)
{
	return (struct transfer){
		.by = by,
		.seg = by->seg,
		.resource = account_meta_resource(meta),
		.from = from,
		.to = to,
		.meta = meta,
		.n = n,
	};
}

/* Where both belong now, which holds as long as the epoch does. */
static void look(struct transfer *t)
{
	uint64_t kept = held(t->seg, t->from);

	t->source = account_meta_group(t->meta);
	t->leaf = account_meta_group(mc_load_full(&account_of(t->seg, t->to)->meta));
	t->common = group_common(t->seg, t->source, t->leaf);
	t->part = t->is_lost ? 0 : kept < t->n ? kept : t->n;
}

/* T3 again, downwards. Where a recount was on, it has wiped it. */
static void undo(const struct transfer *t, uint16_t upto)
{
	bool common_seen = false;

	for (uint16_t g = t->leaf; g != upto; g = group_parent(t->seg, g)) {
		common_seen |= g == t->common;
		if (share(t, common_seen) && pool_cancel(t->seg, t->resource, g, share(t, common_seen), t->epoch))
			return;
		STEP(T3r);
	}
	arm_look(t->seg, t->resource, t->leaf);
}

/* T3. -ESTALE: a recount; -ENOMEM. */
static int up(const struct transfer *t)
{
	bool common_seen = false;

	for (uint16_t g = t->leaf; g != GROUP_NIL; g = group_parent(t->seg, g)) {
		int err = 0;

		common_seen |= g == t->common;
		if (share(t, common_seen))
			err = pool_try_charge(t->seg, t->resource, g, share(t, common_seen), t->epoch);
		STEP(T3);
		if (err) {
			undo(t, g);
			return err;
		}
	}
	return 0;
}

static bool is_the_same(const struct transfer *t)
{
	return account_meta_generation(mc_load_full(&account_of(t->seg, t->from)->meta)) ==
	       account_meta_generation(t->meta);
}

/* T4. -EAGAIN: it holds less by now, or is somebody else's: seen after the word that is to be swapped, so that another's
 * would have to be the same word. -ESTALE. */
static int take_off(const struct transfer *t)
{
	mc_word *at = &account_of(t->seg, t->from)->word;
	uint64_t word = mc_load_full(at);

	do {
		if (account_held(word) < t->part || !is_the_same(t))
			return -EAGAIN;
		if (account_epoch(word) != t->epoch)
			return -ESTALE;
	} while (!mc_cas_full(at, &word, account_word(t->epoch, account_held(word) - t->part, account_stock(word))));
	STEP(T4);
	return 0;
}

/* T4 again, backwards. False: a recount has looked at it already. */
static bool put_back(const struct transfer *t)
{
	mc_word *at = &account_of(t->seg, t->from)->word;
	uint64_t word = mc_load_full(at);

	do {
		if (account_epoch(word) != t->epoch || !is_the_same(t))
			return false;
	} while (!mc_cas_full(at, &word, account_word(t->epoch, account_held(word) + t->part, account_stock(word))));
	return true;
}

/* T5. */
static int add(const struct transfer *t)
{
	mc_word *at = &account_of(t->seg, t->to)->word;
	uint64_t word = mc_load_full(at);

	do {
		if (!account_counts_in(word, t->epoch))
			return -ESTALE;
	} while (!mc_cas_full(at, &word, account_word(t->epoch, account_held(word) + t->n, account_stock(word))));
	STEP(T5);
	return 0;
}

/* T6. */
static void down(const struct transfer *t)
{
	for (uint16_t g = t->source; g != t->common; g = group_parent(t->seg, g)) {
		int err = pool_cancel(t->seg, t->resource, g, t->part, t->epoch);

		STEP(T6);
		if (err)
			return; /* a recount has found both accounts as they are */
		reclaim_made_room(t->seg, t->resource, g);
	}
}

/* -ESTALE: again. */
static int carry_out(struct transfer *t)
{
	int err;

	t->epoch = recount_wait(t->seg, t->resource);
	look(t);
	if (!is_the_same(t))
		return -EAGAIN;
	err = up(t);
	if (err)
		return err;
	err = t->part ? take_off(t) : 0;
	if (err) {
		undo(t, GROUP_NIL);
		return -ESTALE; /* as it is now */
	}
	if (t->part && !is_the_same(t)) { /* freed, or relabelled: which pools it was counted in only a recount knows */
		recount_all(t->seg);
		return -EAGAIN;
	}
	err = add(t);
	if (err)
		t->is_lost = t->part && !put_back(t);
	else
		down(t);
	return err;
}

/* True: once more. Where what was lost is somebody else's now, there may still be more to hand over. */
static bool is_worth_another_try(struct transfer *t, int err)
{
	bool was_lost = t->is_lost;

	if (err == -ENOMEM)
		t->is_lost = false;
	return err == -ESTALE || (err == -ENOMEM && was_lost);
}

int transfer_try(const struct actor *by, uint32_t from, uint64_t meta, uint32_t to, uint64_t n)
{
	struct transfer t = begin(by, from, meta, to, n);
	int err;

	if (!held(t.seg, from))
		return -EAGAIN;
	if (n > ACCOUNT_HELD_MAX || held(t.seg, to) > ACCOUNT_HELD_MAX - n)
		return -ENOMEM;
	mc_add_full(by->open, 1); /* T2 */
	STEP(T2);
	do
		err = carry_out(&t);
	while (is_worth_another_try(&t, err));
	if (!err)
		arm_look(t.seg, t.resource, t.leaf);
	mc_sub_full(by->open, 1); /* T7 */
	return err;
}

bool transfer_has_room(const struct actor *by, uint32_t from, uint32_t to, uint64_t n)
{
	struct transfer t = begin(by, from, mc_load_full(&account_of(by->seg, from)->meta), to, n);
	bool common_seen = false;

	look(&t);
	if (!t.part)
		return false;
	for (uint16_t g = t.leaf; g != GROUP_NIL; g = group_parent(t.seg, g)) {
		common_seen |= g == t.common;
		if (share(&t, common_seen) &&
		    pool_usage(mc_load_full(&pool_of(t.seg, t.resource, g)->word)) + share(&t, common_seen) >
			    pool_max(t.seg, t.resource, g))
			return false;
	}
	return true;
}
