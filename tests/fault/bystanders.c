/* SPDX-License-Identifier: MIT */
/* Two members who go on whatever becomes of a third. */
#include "tests/fault/bystanders.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool charge(struct bystanders *b, int i, uint64_t n)
{
	int err = charge_try(&b->party[i].by, b->party[i].account, n, NULL);

	if (!err)
		b->held[i] += n;
	else if (err != -ENOMEM)
		fprintf(stderr, "# a charge ended with %d\n", err);
	return !err || err == -ENOMEM;
}

static void uncharge(struct bystanders *b, int i, uint64_t n)
{
	charge_uncharge(&b->party[i].by, b->party[i].account, n);
	b->held[i] -= n;
}

void bystanders_join(struct bystanders *b, struct ground *g, uint16_t leaf, uint16_t top)
{
	memset(b, 0, sizeof(*b));
	b->group[0] = leaf;
	b->group[1] = top;
	for (int i = 0; i < BYSTANDERS; i++)
		b->party[i] = ground_join(g, b->group[i]);
	if (!charge(b, 1, 300) || !charge(b, 0, 30) || ground_stock(g, b->party[0].account) == 0)
		ground_bail("the bystanders cannot be prepared");
}

static const char *hangs_where;

static void on_alarm(int signal)
{
	static const char text[] = "Bail out! the others are held up: ";

	(void)signal;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
	(void)!write(STDOUT_FILENO, hangs_where, strlen(hangs_where));
	(void)!write(STDOUT_FILENO, "\n", 1);
	_exit(99);
}

/* Fast ones and slow ones; what is charged is uncharged, so that a tight limit stays as tight. */
static bool take_turns(struct bystanders *b, const struct ground *g)
{
	bool ok = charge(b, 0, 5) && charge(b, 1, 1) && charge(b, 0, 150) && charge(b, 1, 200);

	for (int i = 0; i < BYSTANDERS; i++)
		uncharge(b, i, 3);
	(void)stock_drain(&b->party[1].by, g->resource, GROUP_ROOT);
	ok = charge(b, 0, 2) && charge(b, 1, 4) && ok;
	for (int i = 0; i < BYSTANDERS; i++)
		if (b->held[i] > 150)
			uncharge(b, i, 140);
	return ok;
}

bool bystanders_go_on(struct bystanders *b, struct ground *g, bool recounting, const char *where)
{
	bool ok;

	hangs_where = where;
	signal(SIGALRM, on_alarm);
	(void)alarm(BYSTANDERS_HANG_AFTER);
	if (recounting)
		recount_all(&g->seg);
	ok = take_turns(b, g);
	(void)alarm(0);
	return ok;
}

static bool is_one_of_them(const struct bystanders *b, uint32_t member)
{
	for (int i = 0; i < BYSTANDERS; i++)
		if (b->party[i].member == member)
			return true;
	return false;
}

void bystanders_settle(const struct bystanders *b, struct ground *g)
{
	struct actor daemon = ground_daemon(g);

	for (uint32_t m = 0; m < member_mark(&g->seg); m++)
		if (!is_one_of_them(b, m) && mc_load_full(&member_of(&g->seg, m)->state))
			(void)settle_dead(&daemon, m);
}

static bool say(bool good, const char *what, uint64_t is, uint64_t should_be)
{
	if (!good)
		fprintf(stderr, "# %s: %llu, should be %llu\n", what, (unsigned long long)is,
			(unsigned long long)should_be);
	return good;
}

static bool equal(const char *what, uint64_t is, uint64_t should_be)
{
	return say(is == should_be, what, is, should_be);
}

/* Slots and accounts of the dead are free again; nobody is in a slow path; no recount was left. */
static bool nothing_leaks(const struct ground *g)
{
	struct counters_header *h = &g->seg.counters->header;
	uint64_t accounts = 0, members = 0, open = mc_load_full(&h->daemon_open);
	bool ok = true;

	for (uint32_t i = 0; i < mc_load_full(&h->accounts_used); i++)
		accounts += mc_load_full(&account_of(&g->seg, i)->member) != 0;
	for (uint32_t i = 0; i < member_mark(&g->seg); i++) {
		members += mc_load_full(&member_of(&g->seg, i)->state) != 0;
		open += mc_load_full(&member_of(&g->seg, i)->open);
	}
	ok &= equal("members", members, BYSTANDERS);
	ok &= equal("accounts", accounts, g->resource == RESOURCE_MEMORY ? BYSTANDERS : 2 * BYSTANDERS);
	ok &= equal("open slow paths", open, 0);
	ok &= equal("a recount is on", mc_load_full(&h->epoch[g->resource]) & EPOCH_RECOUNTING, 0);
	return ok;
}

static bool is_as_they_know(const struct bystanders *b, const struct ground *g, uint16_t group, uint64_t *drift)
{
	uint64_t usage = ground_usage(g, group);
	uint64_t known = 0;

	for (int i = 0; i < BYSTANDERS; i++)
		if (group_is_within(&g->seg, b->group[i], group))
			known += b->held[i];
	*drift += usage > known ? usage - known : known - usage;
	return equal("usage of a group", usage, known);
}

/* They hold nothing there. */
static bool has_no_memory(const struct ground *g)
{
	struct ground memory = *g;

	memory.resource = RESOURCE_MEMORY;
	return g->resource == RESOURCE_MEMORY || ground_empty(&memory);
}

bool bystanders_alone(struct bystanders *b, struct ground *g, uint64_t *drift)
{
	bool ok = ground_consistent(g);

	ok &= nothing_leaks(g);
	ok &= has_no_memory(g);

	for (int i = 0; i < BYSTANDERS; i++)
		ok &= equal("held by a bystander", ground_held(g, b->party[i].account), b->held[i]);
	(void)stock_drain(&b->party[0].by, g->resource, GROUP_ROOT);
	for (uint32_t i = 0; i < mc_load_full(&g->seg.limits->header.groups_used); i++)
		ok &= is_as_they_know(b, g, (uint16_t)i, drift);
	return ok;
}
