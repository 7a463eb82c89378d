/* SPDX-License-Identifier: MIT */
/* Charging an account and all pools above it. */
#include "accounting/charge.h"

#include "accounting/arm.h"
#include "accounting/check.h"
#include "accounting/effort.h"
#include "accounting/plea.h"
#include "accounting/reclaim.h"
#include "accounting/step.h"
#include "accounting/stock.h"

#include <errno.h>

/* One charge under way. */
struct attempt {
	const struct actor *by;
	struct account *account;
	unsigned resource;
	uint16_t leaf;
	uint64_t n;
	uint32_t epoch;
	unsigned how;			    /* enum charge_how */
	uint16_t refused;		    /* the group that said no */
	uint16_t over[GROUP_DEPTH_MAX + 1]; /* forced: the groups that are over their limit */
	unsigned overs;
};

void charge_down(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n, uint32_t epoch)
{
	uint16_t leaf = group;

	while (n && group != GROUP_NIL) {
		int err = pool_cancel(seg, resource, group, n, epoch);

		STEP(U4);
		if (err == -ESTALE)
			return;
		if (err == -EBUSY) {
			(void)recount_wait(seg, resource);
			continue;
		}
		reclaim_made_room(seg, resource, group);
		group = group_parent(seg, group);
	}
	arm_look(seg, resource, leaf);
}

static bool is_any_tight(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n)
{
	for (; group != GROUP_NIL; group = group_parent(seg, group))
		if (pool_is_tight(seg, resource, group, n) || arm_is_near(seg, resource, group, n))
			return true;
	return false;
}

/* C4r: gives back what the levels below `upto` got. -ESTALE: a recount wiped it. */
static int undo(const struct attempt *t, uint64_t b, uint16_t upto)
{
	uint16_t g = t->leaf;

	while (g != upto) {
		int err = pool_cancel(t->by->seg, t->resource, g, b, t->epoch);

		STEP(C4r);
		if (err)
			return -ESTALE;
		g = group_parent(t->by->seg, g);
	}
	arm_look(t->by->seg, t->resource, t->leaf); /* who looked meanwhile has seen too much */
	return -ENOMEM;
}

uint64_t charge_room_to_unwind(const struct segment *seg, unsigned resource, uint16_t group)
{
	uint64_t max = pool_max(seg, resource, group);

	if (max >= PAGES_MAX || max < UNWIND_MAX_LEAST || seg->limits->group[group].oom_policy != OOM_FAIL)
		return 0;
	return max / UNWIND_PART > UNWIND_LEAST ? max / UNWIND_PART : UNWIND_LEAST;
}

/* Not exact when others charge at this moment: it is a courtesy, not a limit. */
static bool would_take_the_last(const struct attempt *t, uint16_t group, uint64_t n)
{
	const struct segment *seg = t->by->seg;
	uint64_t room = t->how & CHARGE_LARGE ? charge_room_to_unwind(seg, t->resource, group) : 0;

	return room && pool_usage(mc_load_relaxed(&pool_of(seg, t->resource, group)->word)) + n + room >
			       pool_max(seg, t->resource, group);
}

/* C4. 0; -ESTALE: again from C3; -ENOMEM: t->refused says who. */
static int up(struct attempt *t, uint64_t b)
{
	for (uint16_t g = t->leaf; g != GROUP_NIL; g = group_parent(t->by->seg, g)) {
		int err = would_take_the_last(t, g, b) ? -ENOMEM
						       : pool_try_charge(t->by->seg, t->resource, g, b, t->epoch);

		STEP(C4);
		if (err == -ESTALE)
			return err;
		if (err) {
			t->refused = g;
			return undo(t, b, g);
		}
	}
	return 0;
}

/* C4 without limits. */
static int up_forced(struct attempt *t)
{
	t->overs = 0;
	for (uint16_t g = t->leaf; g != GROUP_NIL; g = group_parent(t->by->seg, g)) {
		int err = pool_charge(t->by->seg, t->resource, g, t->n, t->epoch);

		STEP(C4);
		if (err < 0)
			return err;
		if (err > 0 && t->overs < GROUP_DEPTH_MAX + 1)
			t->over[t->overs++] = g;
	}
	return 0;
}

/* C5: the point at which the charge happens. */
static int commit(const struct attempt *t, uint64_t b)
{
	uint64_t word = mc_load_full(&t->account->word);
	uint64_t stock;

	do {
		if (!account_counts_in(word, t->epoch))
			return -ESTALE;
		stock = account_stock(word) + (b - t->n);
		if (!CHECK(stock <= ACCOUNT_STOCK_MAX))
			stock = ACCOUNT_STOCK_MAX;
	} while (!mc_cas_full(&t->account->word, &word, account_word(t->epoch, account_held(word) + t->n, stock)));
	STEP(C5);
	return 0;
}

/* A stock is only added where there is little of one, and where no limit is near. */
static uint64_t batch_for(const struct attempt *t)
{
	const struct segment *seg = t->by->seg;

	if (t->n >= CHARGE_BATCH || account_stock(mc_load_relaxed(&t->account->word)) >= CHARGE_BATCH ||
	    is_any_tight(seg, t->resource, t->leaf, t->n + CHARGE_BATCH))
		return t->n;
	stock_announce(seg, t->resource, t->leaf);
	return t->n + CHARGE_BATCH;
}

/* Where the account belongs may change while an epoch ends (recount_relabel): who read the epoch first finds
 * the group that goes with it, or fails by it. */
static void read_leaf(struct attempt *t)
{
	t->leaf = account_meta_group(mc_load_full(&t->account->meta));
}

static int try_slowly(struct attempt *t)
{
	const struct segment *seg = t->by->seg;
	uint64_t b = batch_for(t);
	int drains = 0;

	for (;;) {
		int err;

		t->epoch = recount_wait(seg, t->resource); /* C3 */
		read_leaf(t);
		err = up(t, b);
		if (!err)
			err = commit(t, b);
		if (!err)
			break;
		if (err == -ESTALE)
			continue;
		if (b > t->n)
			b = t->n;
		else if (drains++ < 2 && stock_may_be_below(seg, t->resource, t->refused) &&
			 stock_drain(t->by, t->resource, t->refused))
			continue; /* C4d */
		else
			return -ENOMEM;
	}
	if (b > t->n)
		stock_announce(seg, t->resource, t->leaf);
	arm_look(seg, t->resource, t->leaf);
	return 0;
}

static struct attempt begin(const struct actor *by, uint32_t account, uint64_t n)
{
	struct account *a = account_of(by->seg, account);
	uint64_t meta = mc_load_relaxed(&a->meta);

	return (struct attempt){
		.by = by,
		.account = a,
		.resource = account_meta_resource(meta),
		.leaf = account_meta_group(meta),
		.n = n,
	};
}

/* More than the field counts, 256 TiB, is refused by the account's own group. */
static bool fits_word(struct attempt *t)
{
	t->refused = t->leaf;
	return t->n <= ACCOUNT_HELD_MAX && account_held(mc_load_relaxed(&t->account->word)) <= ACCOUNT_HELD_MAX - t->n;
}

void charge_refuse(const struct actor *by, uint32_t account, uint64_t n, uint16_t group)
{
	unsigned resource = begin(by, account, n).resource;

	pool_count_refusal(by->seg, resource, group, by->member, by->pid, n);
	effort_book_last(by->seg, resource, group);
	if (by->member != MEMBER_NIL)
		mc_add_relaxed(&by->seg->counters->member[by->member].refused, 1);
}

int charge_try_as(const struct actor *by, uint32_t account, uint64_t n, unsigned how, uint16_t *ret_refused)
{
	struct attempt t = begin(by, account, n);
	int err;

	if (charge_from_stock(t.account, n))
		return 0;
	t.how = how;
	mc_add_full(by->open, 1); /* C2 */
	STEP(C2);
	err = fits_word(&t) ? try_slowly(&t) : -ENOMEM;
	mc_sub_full(by->open, 1); /* C6 */
	if (!err)
		return 0;
	pool_count_hit(by->seg, t.resource, t.refused);
	if (leave_covers(by, t.resource, t.leaf, t.refused, n)) {
		charge_force(by, account, n, OVER_DEADLOCK);
		return 0;
	}
	if (!(how & CHARGE_FIRST))
		charge_refuse(by, account, n, t.refused);
	if (ret_refused)
		*ret_refused = t.refused;
	return err;
}

int charge_try(const struct actor *by, uint32_t account, uint64_t n, uint16_t *ret_refused)
{
	return charge_try_as(by, account, n, 0, ret_refused);
}

static bool has_room(const struct attempt *t)
{
	const struct segment *seg = t->by->seg;

	for (uint16_t g = t->leaf; g != GROUP_NIL; g = group_parent(seg, g))
		if (pool_usage(mc_load_relaxed(&pool_of(seg, t->resource, g)->word)) + t->n >
			    pool_max(seg, t->resource, g) ||
		    would_take_the_last(t, g, t->n))
			return false;
	return true;
}

bool charge_has_room(const struct actor *by, uint32_t account, uint64_t n)
{
	struct attempt t = begin(by, account, n);

	return has_room(&t);
}

bool charge_has_room_large(const struct actor *by, uint32_t account, uint64_t n)
{
	struct attempt t = begin(by, account, n);

	t.how = CHARGE_LARGE;
	return has_room(&t);
}

bool charge_is_near(const struct actor *by, uint32_t account)
{
	struct attempt t = begin(by, account, 0);

	for (uint16_t g = t.leaf; g != GROUP_NIL; g = group_parent(by->seg, g)) {
		uint64_t max = pool_max(by->seg, t.resource, g);

		if (max < PAGES_MAX && pool_usage(mc_load_relaxed(&pool_of(by->seg, t.resource, g)->word)) > max / 2)
			return true;
	}
	return false;
}

uint64_t charge_least_max(const struct actor *by, uint32_t account)
{
	struct attempt t = begin(by, account, 0);
	uint64_t least = PAGES_MAX;

	for (uint16_t g = t.leaf; g != GROUP_NIL; g = group_parent(by->seg, g))
		if (pool_max(by->seg, t.resource, g) < least)
			least = pool_max(by->seg, t.resource, g);
	return least;
}

static void count_overs(struct attempt *t, enum over cause)
{
	while (t->overs)
		pool_count_over(t->by->seg, t->resource, t->over[--t->overs], cause);
}

void charge_force(const struct actor *by, uint32_t account, uint64_t n, enum over cause)
{
	struct attempt t = begin(by, account, n);

	if (charge_from_stock(t.account, n))
		return;
	mc_add_full(by->open, 1);
	do {
		t.epoch = recount_wait(by->seg, t.resource);
		read_leaf(&t);
	} while (up_forced(&t) || commit(&t, n));
	arm_look(by->seg, t.resource, t.leaf);
	count_overs(&t, cause);
	mc_sub_full(by->open, 1);
}

/* U1. Near a limit nothing is kept: what is given back must be there for others at once. */
static bool put_into_stock(const struct attempt *t, uint64_t most)
{
	const struct segment *seg = t->by->seg;
	uint64_t word = mc_load_full(&t->account->word);

	if (t->n + account_stock(word) > most || is_any_tight(seg, t->resource, t->leaf, 0))
		return false;
	stock_announce(seg, t->resource, t->leaf);
	do {
		if (account_stock(word) + t->n > most || account_held(word) < t->n)
			return false;
	} while (
		!mc_cas_full(&t->account->word, &word,
			     account_word(account_epoch(word), account_held(word) - t->n, account_stock(word) + t->n)));
	STEP(U1);
	stock_announce(seg, t->resource, t->leaf);
	return true;
}

/* U3: takes n off what is held; returns what must go down, in the epoch of the word. */
static uint64_t give(struct attempt *t)
{
	bool tight = is_any_tight(t->by->seg, t->resource, t->leaf, 0);
	uint64_t word = mc_load_full(&t->account->word);
	uint64_t n, all, keep;

	do {
		n = t->n;
		if (account_held(word) < n) /* I3; what was found untouched is no longer held */
			n = account_held(word);
		all = account_stock(word) + n;
		keep = tight ? 0 : account_stock(word) < CHARGE_BATCH ? account_stock(word) : CHARGE_BATCH;
	} while (!mc_cas_full(&t->account->word, &word,
			      account_word(account_epoch(word), account_held(word) - n, keep)));
	STEP(U3);
	t->epoch = account_epoch(word);
	read_leaf(t);
	return all - keep;
}

void charge_uncharge(const struct actor *by, uint32_t account, uint64_t n)
{
	charge_uncharge_keeping(by, account, n, 2 * CHARGE_BATCH);
}

void charge_uncharge_keeping(const struct actor *by, uint32_t account, uint64_t n, uint64_t most)
{
	struct attempt t = begin(by, account, n);
	uint64_t down;

	if (n == 0 || put_into_stock(&t, most))
		return;
	mc_add_full(by->open, 1); /* U2 */
	STEP(U2);
	down = give(&t);
	charge_down(by->seg, t.resource, t.leaf, down, t.epoch);
	mc_sub_full(by->open, 1); /* U5 */
}

/* C5 and U3 of an adjustment: only from what the caller saw. */
static int swap_held(struct attempt *t, uint64_t from, uint64_t to)
{
	uint64_t word = mc_load_full(&t->account->word);

	do {
		if (to > from && !account_counts_in(word, t->epoch))
			return -ESTALE;
		if (account_held(word) != from)
			return -EAGAIN;
		if (to < from)
			t->epoch = account_epoch(word);
	} while (!mc_cas_full(&t->account->word, &word, account_word(t->epoch, to, account_stock(word))));
	STEP(A1);
	return 0;
}

static int adjust_up(struct attempt *t, uint64_t from, enum over cause)
{
	int err;

	do {
		t->epoch = recount_wait(t->by->seg, t->resource);
		read_leaf(t);
		err = up_forced(t);
		if (!err)
			err = swap_held(t, from, from + t->n);
	} while (err == -ESTALE);
	if (err) {
		(void)undo(t, t->n, GROUP_NIL);
	} else {
		arm_look(t->by->seg, t->resource, t->leaf);
		count_overs(t, cause);
	}
	return err;
}

static bool is_the_same(const struct attempt *t, uint64_t meta)
{
	return account_meta_generation(mc_load_full(&t->account->meta)) == account_meta_generation(meta);
}

/* Another's by now, it may be of another group, whose pools never had what was taken off. */
static int adjust_down(struct attempt *t, uint64_t from, uint64_t meta)
{
	int err = swap_held(t, from, from - t->n);

	if (err || !is_the_same(t, meta))
		return err;
	read_leaf(t);
	charge_down(t->by->seg, t->resource, t->leaf, t->n, t->epoch);
	return 0;
}

/* The account was freed, claimed by somebody else or relabelled meanwhile: as in a drain, its generation then
 * differs, and only a recount puts the pools right. What a raise has put there is nobody's: taken back. */
static int come_too_late(struct attempt *t, uint64_t from, uint64_t to)
{
	if (to > from)
		(void)swap_held(t, to, from);
	recount_all(t->by->seg);
	return to > from ? -EAGAIN : 0;
}

int charge_adjust(const struct actor *by, uint32_t account, uint64_t meta, uint64_t from, uint64_t to, enum over cause)
{
	struct attempt t = begin(by, account, to > from ? to - from : from - to);
	int err;

	if (t.n == 0 || to > ACCOUNT_HELD_MAX)
		return t.n ? -EAGAIN : 0;
	mc_add_full(by->open, 1);
	err = to > from ? adjust_up(&t, from, cause) : adjust_down(&t, from, meta);
	if (!err && !is_the_same(&t, meta))
		err = come_too_late(&t, from, to);
	mc_sub_full(by->open, 1);
	return err;
}
