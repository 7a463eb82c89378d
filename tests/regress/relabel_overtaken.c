/* SPDX-License-Identifier: MIT */
/* A daemon is stopped in a move of charges, somebody else recounts, and the member goes on before the daemon has
 * noticed.
 *
 * The label was stored by a pass that was over: the member uncharged from a group whose pools had never had it.
 */
#include "tests/lib/ground.h"
#include "tests/lib/intrude.h"
#include "tests/lib/tap.h"

#include "accounting/check.h"

static struct ground g;
static struct party member;

static void uncharge(void *arg)
{
	(void)arg;
	charge_uncharge(&member.by, member.account, 200);
}

/* Just before the label is stored; the daemon's next step writes to the header. */
static void recount_meanwhile(void *arg)
{
	recount_all(&g.seg);
	intrude_before_write(&g.seg.counters->header, uncharge, arg);
}

/* The account is the new owner's when its old one has become a new image. */
static void exec_meanwhile(void *arg)
{
	uint16_t other = *(uint16_t *)arg;

	if (settle_exec(&g.seg, member.member, other, "image"))
		ground_bail("settle_exec");
}

static void move_to(uint16_t group, void (*meanwhile)(void *), void *arg)
{
	mc_add_full(&g.seg.counters->header.daemon_open, 1);
	intrude_before_write(account_of(&g.seg, member.account), meanwhile, arg);
	recount_relabel(&g.seg, member.account, mc_load_full(&account_of(&g.seg, member.account)->meta), group);
	mc_sub_full(&g.seg.counters->header.daemon_open, 1);
	(void)intrude_has_run();
}

int main(void)
{
	uint16_t from, to, other;

	ground_up(&g);
	from = ground_group(&g, "/from", PAGES_MAX);
	to = ground_group(&g, "/to", PAGES_MAX);
	other = ground_group(&g, "/other", PAGES_MAX);
	member = ground_join(&g, from);
	charge_force(&member.by, member.account, 300, OVER_START);
	move_to(to, recount_meanwhile, NULL);
	tap_ok(check_failures() == 0, "no pool goes below 0");
	tap_ok(ground_usage(&g, to) == 100 && ground_usage(&g, from) == 0 && ground_consistent(&g),
	       "what is left has moved");
	move_to(from, exec_meanwhile, &other);
	tap_ok(account_meta_group(
		       mc_load_full(&account_of(&g.seg, member_account_at(&g.seg, member.member, 0))->meta)) == other,
	       "an account that was claimed anew is left alone");
	ground_down(&g);
	return tap_end();
}
