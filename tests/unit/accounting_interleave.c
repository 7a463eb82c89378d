/* SPDX-License-Identifier: MIT */
/* Every operation, with every other one in the middle of it, and death at every step after that.
 *
 * One thread plays all parts. ACCOUNTING_STEPS: at the k-th step that an operation of P passes, Q does
 * something from beginning to end; at the j-th step P dies (the stack is thrown away), others go on, and the
 * daemon settles. Whatever k and j are, the pools must be what the accounts say, nobody may wait for the
 * dead, limits hold, and when all have gone nothing is left.
 */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

#include "accounting/check.h"
#include "accounting/clock.h"
#include "accounting/step.h"
#include "accounting/transfer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_OF_A 1000

void (*step_hook)(const char *name);

/* The scene: P and Q in /a/b, R in /a/r (about to die), S in /b. P acts, Q intrudes. */
static struct ground g;
static uint16_t a, ab, ar, b;
static struct party p, q, r, s;
static bool forced; /* somebody went over max on purpose */

/* The clock jumps, so that who waits for a recount takes over at once. */
int clock_read(clockid_t id, struct timespec *t)
{
	static uint64_t ns = 1000000000;

	(void)id;
	ns += RECOUNT_WAIT_NS / 2;
	t->tv_sec = (time_t)(ns / 1000000000);
	t->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

/* ---- what can be done; each by P or by Q ---- */

struct change {
	int held; /* of the actor */
	bool known;
};

static struct change charged(struct party *by, uint64_t n)
{
	int err = charge_try(&by->by, by->account, n, NULL);

	assert_true(err == 0 || err == -ENOMEM);
	return (struct change){ err ? 0 : (int)n, true };
}

static struct change charge_small(struct party *by)
{
	return charged(by, 5);
}

static struct change charge_big(struct party *by)
{
	return charged(by, 250);
}

/* Fits when the stocks of the others come back. */
static struct change charge_with_drain(struct party *by)
{
	return charged(by, 400);
}

static struct change charge_too_much(struct party *by)
{
	return charged(by, 900);
}

static struct change charge_forced(struct party *by)
{
	forced = true;
	charge_force(&by->by, by->account, 700, OVER_CREDIT);
	return (struct change){ 700, true };
}

static struct change uncharge_big(struct party *by)
{
	charge_uncharge(&by->by, by->account, 150);
	return (struct change){ -150, true };
}

static struct change uncharge_small(struct party *by)
{
	charge_uncharge(&by->by, by->account, 40);
	return (struct change){ -40, true };
}

static struct change drain(struct party *by)
{
	(void)stock_drain(&by->by, RESOURCE_MEMORY, GROUP_ROOT);
	return (struct change){ 0, true };
}

static struct change count_again(struct party *by)
{
	while (!recount(by->by.seg, RESOURCE_MEMORY))
		(void)recount_wait(by->by.seg, RESOURCE_MEMORY);
	return (struct change){ 0, true };
}

/* Room of R's changes hands. R may have gone meanwhile. */
static struct change take_over_from_r(struct party *by)
{
	uint64_t meta = mc_load_full(&account_of(&g.seg, r.account)->meta);
	int err = transfer_try(&by->by, r.account, meta, by->account, 40);

	assert_true(err == 0 || err == -ENOMEM || err == -EAGAIN);
	return (struct change){ err ? 0 : 40, true };
}

/* All of it, and more than that. */
static struct change take_over_too_much(struct party *by)
{
	uint64_t meta = mc_load_full(&account_of(&g.seg, r.account)->meta);
	int err = transfer_try(&by->by, r.account, meta, by->account, 90);

	return (struct change){ err ? 0 : 90, true };
}

static struct change exec_in_place(struct party *by)
{
	assert_int_equal(settle_exec(by->by.seg, by->member, ab, "exec"), 0);
	by->account = member_account_at(by->by.seg, by->member, 0);
	return (struct change){ 0, false };
}

static struct change exec_in_slow_path(struct party *by)
{
	mc_add_full(by->by.open, 1);
	return exec_in_place(by);
}

static struct change join_another(struct party *by)
{
	struct party t = ground_join(&g, ab);

	(void)by;
	(void)charge_try(&t.by, t.account, 1, NULL);
	return (struct change){ 0, true };
}

static struct change settle_r(struct party *by)
{
	struct actor daemon = ground_daemon(&g);

	(void)by;
	if (member_state(mc_load_full(&member_of(&g.seg, r.member)->state)) == MEMBER_LIVE)
		(void)settle_dead(&daemon, r.member);
	return (struct change){ 0, true };
}

/* R died after it had charged one level. */
static struct change settle_r_in_slow_path(struct party *by)
{
	if (mc_load_full(r.by.open) == 0 &&
	    member_state(mc_load_full(&member_of(&g.seg, r.member)->state)) == MEMBER_LIVE) {
		uint32_t e = (uint32_t)mc_load_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY]);

		mc_add_full(r.by.open, 1);
		(void)pool_try_charge(&g.seg, RESOURCE_MEMORY, ar, 33, e & EPOCH_MASK);
	}
	return settle_r(by);
}

static struct change make_and_remove_a_group(struct party *by)
{
	uint16_t group = 0;

	(void)by;
	assert_int_equal(tree_create(&g.seg, "/a/new", &group), 0);
	assert_int_equal(ground_remove_group(&g, group), 0);
	(void)tree_sweep(&g.seg);
	return (struct change){ 0, true };
}

/* R dies, its group goes, and the group's slot is a group elsewhere in which somebody charges. */
static struct change reuse_the_group_of_r(struct party *by)
{
	uint16_t group = 0;
	struct party t;

	(void)settle_r(by);
	if (ground_remove_group(&g, ar))
		return (struct change){ 0, true };
	for (int i = 0; i < 300 && group != ar; i++) {
		if (group)
			assert_int_equal(ground_remove_group(&g, group), 0);
		(void)tree_sweep(&g.seg);
		group = ground_group(&g, "/b/again", PAGES_MAX);
	}
	assert_int_equal(group, ar);
	t = ground_join(&g, group);
	assert_int_equal(charge_try(&t.by, t.account, 5, NULL), 0);
	return (struct change){ 0, true };
}

static struct change lower_max(struct party *by)
{
	(void)by;
	ground_set_max(&g, a, 700);
	forced = true; /* what was there may be above it */
	return (struct change){ 0, true };
}

struct deed {
	const char *name;
	struct change (*run)(struct party *by);
	bool daemons; /* done by the daemon, of which there is one */
	bool slow;    /* takes a thousand steps: death or an intruder, not both */
};

#define DEED(f) \
	{ \
#f, f, false, false \
	}
#define DAEMONS(f) \
	{ \
#f, f, true, false \
	}
static const struct deed deeds[] = {
	DEED(charge_small),
	DEED(charge_big),
	DEED(charge_with_drain),
	DEED(charge_too_much),
	DEED(charge_forced),
	DEED(uncharge_big),
	DEED(uncharge_small),
	DEED(drain),
	DEED(count_again),
	DEED(exec_in_place),
	DEED(exec_in_slow_path),
	DEED(join_another),
	DEED(take_over_from_r),
	DEED(take_over_too_much),
	DAEMONS(settle_r),
	DAEMONS(settle_r_in_slow_path),
	DAEMONS(make_and_remove_a_group),
	DAEMONS(lower_max),
	{ "reuse_the_group_of_r", reuse_the_group_of_r, true, true },
};
#define DEEDS (sizeof(deeds) / sizeof(deeds[0]))

/* ---- one run ---- */

static struct {
	const struct deed *deed, *intruder;
	unsigned intrude_at, die_at; /* 0 never */
	unsigned pass;
	bool intruded;
	unsigned plays;
	const char *step; /* the last one passed */
	struct change of_q;
	jmp_buf grave;
} run;

static void say_where(int sig)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "# hangs: %s, %s at step %u, death at %u, last step %s\n", run.deed->name,
			 run.intruder ? run.intruder->name : "nobody", run.intrude_at, run.die_at, run.step);

	(void)sig;
	(void)!write(STDOUT_FILENO, text, (size_t)n);
	_exit(1);
}

static void at_step(const char *name)
{
	unsigned pass = ++run.pass;

	run.step = name;
	if (pass == run.intrude_at && run.intruder) {
		step_hook = NULL;
		run.intruded = true;
		run.of_q = run.intruder->run(&q);
		step_hook = at_step;
	}
	if (pass == run.die_at)
		longjmp(run.grave, 1);
}

static void set_the_scene(void)
{
	ground_set_max(&g, a, MAX_OF_A);
	forced = false;
	ar = ground_group(&g, "/a/r", PAGES_MAX);
	p = ground_join(&g, ab);
	q = ground_join(&g, ab);
	r = ground_join(&g, ar);
	s = ground_join(&g, b);
	assert_int_equal(charge_try(&p.by, p.account, 200, NULL), 0);
	assert_int_equal(charge_try(&q.by, q.account, 300, NULL), 0);
	assert_int_equal(charge_try(&q.by, q.account, 1, NULL), 0);
	assert_int_equal(charge_try(&r.by, r.account, 50, NULL), 0);
	assert_int_equal(charge_try(&s.by, s.account, 10, NULL), 0);
	assert_int_equal(ground_stock(&g, q.account), CHARGE_BATCH);
	assert_int_equal(ground_stock(&g, r.account), CHARGE_BATCH);
}

static void settle_all_but_the_living(bool all)
{
	struct actor daemon = ground_daemon(&g);

	(void)settle_daemon(&g.seg);
	if (run.deed->slow)
		tree_repair(&g.seg);
	for (uint32_t m = 0; m < member_mark(&g.seg); m++) {
		enum member_state state = member_state(mc_load_full(&member_of(&g.seg, m)->state));
		bool living = m == q.member || m == s.member;

		if (state != MEMBER_FREE && (all || !living))
			(void)settle_dead(&daemon, m);
	}
}

static void tidy_groups(void)
{
	uint16_t group;

	if (group_find(&g.seg, "/b/again", &group) == 0)
		assert_int_equal(ground_remove_group(&g, group), 0);
	(void)tree_sweep(&g.seg);
}

static const char *in_order(void)
{
	if (!ground_consistent(&g))
		return "not consistent";
	if (!forced && ground_usage(&g, a) > MAX_OF_A)
		return "above max";
	if (mc_load_full(q.by.open) || mc_load_full(s.by.open))
		return "open left up";
	if (mc_load_full(&g.seg.counters->header.epoch[RESOURCE_MEMORY]) & EPOCH_RECOUNTING)
		return "a recount left on";
	return check_failures() ? "a check failed" : NULL;
}

/* The others, while the dead is dead and not yet settled: nobody waits for him. */
static const char *others_go_on(uint64_t held_by_q)
{
	(void)charge_try(&s.by, s.account, 200, NULL);
	if (ground_held(&g, s.account) != 210)
		return "others cannot charge";
	charge_uncharge(&s.by, s.account, 200);
	if (charge_try(&q.by, q.account, 3, NULL) == 0)
		charge_uncharge(&q.by, q.account, 3);
	return ground_held(&g, q.account) == held_by_q ? NULL : "Q does not hold what it should";
}

static const char *after_death(uint64_t held_by_q)
{
	const char *wrong = others_go_on(held_by_q);

	settle_all_but_the_living(false);
	if (!wrong && ground_held(&g, q.account) != held_by_q)
		wrong = "settling took from Q";
	return wrong;
}

static const char *after_life(struct change of_p, uint64_t held_by_p, uint64_t held_by_q)
{
	if (of_p.known && ground_held(&g, p.account) != held_by_p + (uint64_t)(int64_t)of_p.held)
		return "P does not hold what it should";
	if (mc_load_full(p.by.open) || mc_load_full(&g.seg.counters->header.daemon_open))
		return "open left up";
	if (!of_p.known && ground_held(&g, p.account) != 0)
		return "P holds something after exec";
	return ground_held(&g, q.account) == held_by_q ? NULL : "Q does not hold what it should";
}

static uint64_t expected_of_q(uint64_t before)
{
	if (!run.intruded)
		return before;
	return run.of_q.known ? before + (uint64_t)(int64_t)run.of_q.held : 0;
}

/* True when P got through: there is no step die_at any more. */
static bool play(void)
{
	static struct change of_p;
	volatile bool died = true;
	const char *wrong;
	uint64_t by_p, by_q;

	run.plays++;
	set_the_scene();
	by_p = ground_held(&g, p.account);
	by_q = ground_held(&g, q.account);
	run.pass = 0;
	run.intruded = false;
	if (setjmp(run.grave) == 0) {
		step_hook = at_step;
		of_p = run.deed->run(&p);
		died = false;
	}
	step_hook = NULL;
	by_q = expected_of_q(by_q);
	wrong = died ? after_death(by_q) : after_life(of_p, by_p, by_q);
	if (!wrong)
		wrong = in_order();
	settle_all_but_the_living(true);
	tidy_groups();
	if (!wrong && !ground_empty(&g))
		wrong = "not empty when all have gone";
	if (wrong)
		fail_msg("%s; %s at step %u; death at step %u (%s): %s", run.deed->name,
			 run.intruder ? run.intruder->name : "nobody", run.intrude_at, run.die_at, run.step, wrong);
	return !died;
}

static bool can_meet(const struct deed *one, const struct deed *other)
{
	return !(one->daemons && other->daemons);
}

/* All deaths after the k-th step, then none. False when the deed has no k-th step. */
static bool play_intrusion(const struct deed *intruder, unsigned k)
{
	run.intruder = intruder;
	run.intrude_at = k;
	run.die_at = 0;
	if (intruder->slow)
		(void)play();
	else
		for (run.die_at = k; !play(); run.die_at++)
			;
	return run.intruded;
}

static void play_all(const struct deed *deed)
{
	run.deed = deed;
	run.intruder = NULL;
	run.intrude_at = 0;
	for (run.die_at = 1; !play(); run.die_at++)
		;
	for (size_t i = 0; i < DEEDS && !deed->slow; i++)
		for (unsigned k = 1; can_meet(deed, &deeds[i]) && play_intrusion(&deeds[i], k); k++)
			;
}

static int up(void **state)
{
	(void)state;
	signal(SIGALRM, say_where);
	alarm(120);
	ground_up(&g);
	mc_store_full(&g.seg.limits->header.region[RESOURCE_SWAP].used, 0); /* recounts half as long */
	a = ground_group(&g, "/a", MAX_OF_A);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	b = ground_group(&g, "/b", PAGES_MAX);
	return 0;
}

static int down(void **state)
{
	(void)state;
	step_hook = NULL;
	alarm(0);
	ground_down(&g);
	return 0;
}

/* [O4], and more: the group is removed and its slot is another group before the join can say where it is. */
static void replace_the_group(const char *step)
{
	if (strcmp(step, "J1") != 0)
		return;
	step_hook = NULL;
	(void)reuse_the_group_of_r(&q);
}

static void a_join_meets_another_group_in_its_slot(void **state)
{
	uint32_t member = 77;

	(void)state;
	set_the_scene();
	step_hook = replace_the_group;
	assert_int_equal(member_join(&g.seg, 5, 5, ar, MEMBER_LIVE, "late", &member), -ENOENT);
	assert_int_equal(group_state(&g.seg, ar), GROUP_LIVE);
	assert_int_equal(member_find(&g.seg, 5, 5, &member), -ESRCH);
	assert_int_equal(member, 77);
}

static void interleave(void **state)
{
	run.plays = 0;
	play_all(*state);
	print_message("# %u plays\n", run.plays);
}

int main(void)
{
	struct CMUnitTest tests[DEEDS + 1] = {
		[DEEDS] = cmocka_unit_test_setup_teardown(a_join_meets_another_group_in_its_slot, up, down),
	};

	for (size_t i = 0; i < DEEDS; i++)
		tests[i] = (struct CMUnitTest){ deeds[i].name, interleave, up, down, (void *)&deeds[i] };
	return cmocka_run_group_tests_name("accounting_interleave", tests, NULL, NULL);
}
