/* SPDX-License-Identifier: MIT */
/* A process killed, and stopped, before every single instruction of every operation of the accounting.
 *
 *   stepper            some thousand trials, spread over all instructions (make check)
 *   stepper all [OP]   every trial at every instruction, of operations that have OP in their name (check-long)
 *
 * The operation runs under single step (stepping.h) on the objects that everybody links. Members have their
 * own mapping of the segment; a daemon's operation has a member beside it, and is followed by a new daemon.
 */
#include "tests/fault/stepping.h"
#include "tests/lib/tap.h"

#include "accounting/check.h"
#include "accounting/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIALS_IN_CHECK 150 /* of one operation at one depth */
#define PID 77777	    /* of nobody: nothing in accounting/ looks */

/* ---- the scene ---- */

static struct ground g;
static struct bystanders others;
static uint16_t top, leaf, beside; /* the victim joins leaf; beside is another child of top */

static struct shared {
	int result; /* of the operation */
	uint32_t checks_failed;
	uint64_t more; /* what the daemon's member has charged while the daemon was stopped */
} * shared;

static void on_check(const char *what, const char *file, int line)
{
	fprintf(stderr, "# %s:%d: %s\n", file, line, what);
	__atomic_add_fetch(&shared->checks_failed, 1, __ATOMIC_RELAXED);
}

/* ---- the victim: what it does before, and the operation itself ---- */

static struct segment own; /* a member's own mapping */
static struct party me;
static int beside_slot; /* of its second account, where it has one */

static void join(void)
{
	if (member_join(&own, PID, 1, leaf, MEMBER_LIVE, "victim", &me.member))
		_exit(91);
	me.account = member_account_at(&own, me.member, 0);
	me.by = (struct actor){ &own, &member_of(&own, me.member)->open, me.member, PID };
}

/* Held, and nothing else: the stock is gone. */
static void hold(uint64_t n)
{
	join();
	if (charge_try(&me.by, me.account, n, NULL))
		_exit(92);
}

static void hold_1(void)
{
	hold(1);
}

static void hold_30(void)
{
	hold(30);
}

static void hold_300(void)
{
	hold(300);
}

/* The limit of top is near: 20 pages are left, and the others' stock. */
static void make_tight(void)
{
	ground_set_max(&g, top, ground_usage(&g, top) + 20);
}

static void join_tightly(void)
{
	join();
	make_tight();
}

/* In an account beside; there is no room but what this gives. */
static void hold_300_beside(void)
{
	join();
	beside_slot = member_account(&own, me.member, RESOURCE_MEMORY, beside);
	if (beside_slot < 0 || charge_try(&me.by, member_account_at(&own, me.member, (unsigned)beside_slot), 300, NULL))
		_exit(93);
	make_tight();
}

static void hold_300_tightly(void)
{
	hold_300();
	make_tight();
}

static void hold_300_open(void)
{
	hold_300();
	mc_add_full(me.by.open, 1);
}

static void be_daemon_of_one(void)
{
	hold_300();
	me.by = ground_daemon(&g);
}

static void be_daemon_of_one_tightly(void)
{
	be_daemon_of_one();
	make_tight();
}

static void be_daemon_of_one_open(void)
{
	hold_300_open();
	me.by = ground_daemon(&g);
}

static void be_daemon_of_one_claimed(void)
{
	be_daemon_of_one();
	mc_store_full(&member_of(&own, me.member)->state, member_state_word(PID, MEMBER_CLAIMED));
}

static void be_daemon_after_a_crash(void)
{
	be_daemon_of_one();
	mc_add_full(me.by.open, 1);
}

static void nothing(void)
{
}

static int charge_1(void)
{
	return charge_try(&me.by, me.account, 1, NULL);
}

static int charge_10(void)
{
	return charge_try(&me.by, me.account, 10, NULL);
}

static int charge_50(void)
{
	uint16_t refused;

	return charge_try(&me.by, me.account, 50, &refused);
}

static int charge_500(void)
{
	uint16_t refused;

	return charge_try(&me.by, me.account, 500, &refused);
}

static int take_over(uint64_t n)
{
	uint32_t from = member_account_at(&own, me.member, (unsigned)beside_slot);

	return transfer_try(&me.by, from, mc_load_full(&account_of(&own, from)->meta), me.account, n);
}

static int take_over_200(void)
{
	return take_over(200);
}

static int take_over_500(void)
{
	return take_over(500);
}

static int force_100(void)
{
	charge_force(&me.by, me.account, 100, OVER_CREDIT);
	return 0;
}

static int uncharge_10(void)
{
	charge_uncharge(&me.by, me.account, 10);
	return 0;
}

static int uncharge_200(void)
{
	charge_uncharge(&me.by, me.account, 200);
	return 0;
}

static int drain(void)
{
	(void)stock_drain(&me.by, RESOURCE_MEMORY, GROUP_ROOT);
	return 0;
}

/* As those do it who recount: in a slow path. */
static int recount_now(void)
{
	mc_add_full(me.by.open, 1);
	recount_all(&own);
	mc_sub_full(me.by.open, 1);
	return 0;
}

static int join_now(void)
{
	return member_join(&own, PID, 1, leaf, MEMBER_LIVE, "victim", &me.member);
}

static int open_account(void)
{
	int slot = member_account(&own, me.member, RESOURCE_MEMORY, beside);

	return slot < 0 ? slot : 0;
}

static int leave(void)
{
	settle_leave(&own, me.member);
	return 0;
}

static int exec_here(void)
{
	return settle_exec(&own, me.member, leaf, "image");
}

static int exec_beside(void)
{
	return settle_exec(&own, me.member, beside, "image");
}

static int settle(void)
{
	(void)settle_dead(&me.by, me.member);
	return 0;
}

/* As the daemon does it to a live member: from what it saw. */
static int adjust_to(uint64_t to)
{
	struct account *a = account_of(&g.seg, me.account);

	return charge_adjust(&me.by, me.account, mc_load_full(&a->meta), 300, to, OVER_LAZY);
}

static int adjust_up(void)
{
	return adjust_to(420);
}

static int adjust_down(void)
{
	return adjust_to(120);
}

static int move_charges(void)
{
	mc_add_full(me.by.open, 1);
	recount_relabel(&g.seg, me.account, mc_load_full(&account_of(&g.seg, me.account)->meta), beside);
	mc_sub_full(me.by.open, 1);
	return 0;
}

static int settle_after_crash(void)
{
	(void)settle_daemon(&g.seg);
	return 0;
}

/* ---- the table ---- */

enum actor_kind { MEMBER, DAEMON };

static const struct operation {
	const char *name;
	void (*prepare)(void);
	int (*carry_out)(void);
	uint64_t held;	       /* by the victim afterwards */
	uint64_t held_refused; /* when the result is -ENOMEM */
	enum actor_kind by;
} operations[] = {
	{ "a charge from stock", hold_1, charge_1, 2, 0, MEMBER },
	{ "a charge that takes stock", join, charge_10, 10, 0, MEMBER },
	{ "a slow charge", join, charge_500, 500, 0, MEMBER },
	{ "a charge that needs a drain", join_tightly, charge_50, 50, 0, MEMBER },
	{ "a refused charge", join_tightly, charge_500, 500, 0, MEMBER },
	{ "a hand-over", hold_300_beside, take_over_200, 300, 0, MEMBER },
	{ "a hand-over that is refused", hold_300_beside, take_over_500, 500, 300, MEMBER },
	{ "a forced charge over the limit", join_tightly, force_100, 100, 0, MEMBER },
	{ "an uncharge into stock", hold_30, uncharge_10, 20, 0, MEMBER },
	{ "a slow uncharge", hold_300, uncharge_200, 100, 0, MEMBER },
	{ "an uncharge near the limit", hold_300_tightly, uncharge_10, 290, 0, MEMBER },
	{ "a drain", hold_30, drain, 30, 0, MEMBER },
	{ "a recount", hold_30, recount_now, 30, 0, MEMBER },
	{ "join", nothing, join_now, 0, 0, MEMBER },
	{ "one more account", hold_30, open_account, 30, 0, MEMBER },
	{ "leave", hold_300, leave, 0, 0, MEMBER },
	{ "leave with a slow path open", hold_300_open, leave, 300, 0, MEMBER },
	{ "exec", hold_300, exec_here, 0, 0, MEMBER },
	{ "exec into another group", hold_300, exec_beside, 0, 0, MEMBER },
	{ "exec with a slow path open", hold_300_open, exec_here, 0, 0, MEMBER },
	{ "a daemon's settling", be_daemon_of_one, settle, 0, 0, DAEMON },
	{ "a daemon's settling, slow path open", be_daemon_of_one_open, settle, 0, 0, DAEMON },
	{ "a daemon's settling, half joined", be_daemon_of_one_claimed, settle, 0, 0, DAEMON },
	{ "a daemon's adjustment upwards", be_daemon_of_one, adjust_up, 420, 300, DAEMON },
	{ "a daemon's adjustment over the limit", be_daemon_of_one_tightly, adjust_up, 420, 300, DAEMON },
	{ "a daemon's adjustment downwards", be_daemon_of_one, adjust_down, 120, 300, DAEMON },
	{ "a daemon's move of charges", be_daemon_of_one, move_charges, 300, 300, DAEMON },
	{ "a daemon's start after a crash", be_daemon_after_a_crash, settle_after_crash, 300, 0, DAEMON },
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void play(void *arg)
{
	const struct operation *op = arg;

	check_on_failure = on_check;
	if (segment_attach(g.dir, SEGMENT_MEMBER, &own))
		_exit(90);
	op->prepare();
	shared->result = -1;
	tracer_mark();
	shared->result = op->carry_out();
	tracer_mark();
}

/* ---- the end ---- */

static uint64_t held_by_victim(void)
{
	uint64_t held = 0;

	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_pid(mc_load_full(&member_of(&g.seg, m)->state)) == PID)
			held += member_held(&g.seg, m, RESOURCE_MEMORY);
	return held;
}

static const struct operation *now_trying;

static const char *at_end(void)
{
	bool refused = shared->result == -ENOMEM || shared->result == -EAGAIN;

	if (shared->result && !refused)
		return "the stopped one's operation failed";
	if (held_by_victim() != (refused ? now_trying->held_refused : now_trying->held) + shared->more)
		return "the stopped one does not hold what it should";
	return shared->checks_failed ? "a check failed" : NULL;
}

/* A live member goes on while its daemon is stopped. */
static void let_member_go_on(void)
{
	for (uint32_t m = 0; m < member_mark(&g.seg); m++) {
		struct member *member = member_of(&g.seg, m);
		struct actor by = { &g.seg, &member->open, m, PID };

		if (mc_load_full(&member->state) != member_state_word(PID, MEMBER_LIVE))
			continue;
		if (charge_try(&by, member_account_at(&g.seg, m, 0), 200, NULL) == 0)
			shared->more += 200;
		charge_uncharge(&by, member_account_at(&g.seg, m, 0), 90);
		shared->more -= 90;
	}
}

static struct stepping begin(const struct operation *op, bool all)
{
	now_trying = op;
	return (struct stepping){
		.name = op->name,
		.ground = &g,
		.others = &others,
		.is_daemon = op->by == DAEMON,
		.shared = shared,
		.shared_size = sizeof(*shared),
		.trials_max = all ? 0 : TRIALS_IN_CHECK,
		.meanwhile = op->held && op->by == DAEMON ? let_member_go_on : NULL,
		.at_end = at_end,
	};
}

/* ---- the scene again: groups of a depth ---- */

static struct stepping all_seen;

static void set_up(int depth)
{
	char path[64] = "/t";

	ground_up(&g);
	top = ground_group(&g, path, 100000);
	for (int i = 1; i < depth; i++)
		leaf = ground_group(&g, strcat(path, "/d"), 50000);
	if (depth == 1)
		leaf = top;
	beside = ground_group(&g, "/t/beside", 50000);
	bystanders_join(&others, &g, leaf, top);
}

static bool go_through(const struct operation *op, int depth, struct stepping *s,
		       enum tracer_at (*step)(struct stepping *, const struct tracee *))
{
	struct tracee victim;
	bool ok;

	set_up(depth);
	ok = tracer_start(&victim, play, (void *)(uintptr_t)op) && step(s, &victim) == TRACER_MARK;
	tracer_kill(&victim);
	ground_down(&g);
	return ok;
}

static void try_operation(const struct operation *op, int depth, bool all)
{
	struct stepping s = begin(op, all);
	bool ok = go_through(op, depth, &s, stepping_count) && go_through(op, depth, &s, stepping_try);

	all_seen.instructions += s.instructions;
	all_seen.trials += s.trials;
	all_seen.drift += s.drift;
	tap_ok(ok && s.wrong == 0, "%s, depth %d: %s", op->name, depth, stepping_report(&s));
}

static void try_all(bool all, const char *only)
{
	static const int depths[] = { 1, 4 };

	for (size_t i = 0; i < OPERATIONS; i++)
		for (int d = 0; d < 2; d++)
			if (strstr(operations[i].name, only))
				try_operation(&operations[i], depths[d], all);
}

int main(int argc, char *argv[])
{
	const char *why;

	if (!tracer_works(&why)) {
		tap_skip(why, "every instruction");
		return tap_end();
	}
	shared = ground_shared(sizeof(*shared));
	check_on_failure = on_check;
	try_all(argc > 1 && strcmp(argv[1], "all") == 0, argc > 2 ? argv[2] : "");
	tap_note("all: %s", stepping_report(&all_seen));
	return tap_end();
}
