/* SPDX-License-Identifier: MIT */
/* Room that is kept: against others, for descendants, and given back however its keeper ends. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

#include "accounting/check.h"
#include "accounting/keep.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX 1000u

static struct ground g;
static uint16_t a, ab;
static struct actor self; /* the daemon */
static struct keep keep;

static int up(void **state)
{
	struct stat st;

	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", MAX);
	ab = ground_group(&g, "/a/b", PAGES_MAX);
	self = ground_daemon(&g);
	assert_int_equal(stat("/proc/self/ns/pid", &st), 0);
	g.seg.limits->header.daemon_pid_ns = (uint32_t)st.st_ino;
	assert_int_equal(keep_open(&g.seg, ab, &keep), 0);
	return 0;
}

static int down(void **state)
{
	(void)state;
	assert_true(ground_consistent(&g));
	assert_int_equal(check_failures(), 0);
	ground_down(&g);
	return 0;
}

static void take(uint64_t pages)
{
	uint16_t refused = GROUP_NIL;

	assert_int_equal(keep_take(&keep, pages, &refused), 0);
	assert_int_equal(keep_held(&keep), pages);
}

/* ---- the keeper ----------------------------------------------------------------------------------------------- */

static void what_is_kept_is_in_the_way_of_others(void **state)
{
	struct party p = ground_join(&g, a);
	uint16_t refused = GROUP_NIL;

	(void)state;
	take(600);
	assert_int_equal(charge_try(&p.by, p.account, 500, &refused), -ENOMEM);
	assert_int_equal(refused, a);
	keep_shrink(&keep, 400);
	assert_int_equal(keep_held(&keep), 400);
	assert_int_equal(charge_try(&p.by, p.account, 500, &refused), 0);
	keep_shrink(&keep, 900); /* never more */
	assert_int_equal(keep_held(&keep), 400);
	(void)settle_dead(&self, p.member);
	keep_close(&keep);
	assert_true(ground_empty(&g));
}

static void without_room_nothing_is_kept(void **state)
{
	struct party p = ground_join(&g, a);
	uint64_t hits = mc_load_relaxed(&ground_pool(&g, a)->failcnt);
	uint16_t refused = GROUP_NIL;

	(void)state;
	assert_int_equal(charge_try(&p.by, p.account, 500, NULL), 0);
	assert_int_equal(keep_take(&keep, 600, &refused), -ENOMEM);
	assert_int_equal(refused, a);
	assert_int_equal(keep_held(&keep), 0);
	assert_int_equal(mc_load_relaxed(&ground_pool(&g, a)->failcnt), hits); /* it waits, it was not refused */
	(void)settle_dead(&self, p.member);
	keep_close(&keep);
	assert_true(ground_empty(&g));
}

static void its_slot_is_no_member(void **state)
{
	struct member *m = member_of(&g.seg, keep.member);
	uint32_t found;

	(void)state;
	take(10);
	assert_int_equal(member_state(mc_load_full(&m->state)), MEMBER_CLAIMED);
	assert_int_equal(member_find(&g.seg, (uint32_t)getpid(), mc_load_relaxed(&m->start_time), &found), -ESRCH);
	assert_true(member_any_in(&g.seg, ab)); /* but its group is not removed under it */
	keep_close(&keep);
	assert_false(member_any_in(&g.seg, ab));
	assert_int_equal(mc_load_full(&m->state), 0);
	assert_true(ground_empty(&g));
}

static void its_death_gives_it_back(void **state)
{
	(void)state;
	take(600);
	(void)settle_dead(&self, keep.member); /* as the daemon does for a CLAIMED slot whose process is gone */
	assert_true(ground_empty(&g));
}

/* ---- for whom -------------------------------------------------------------------------------------------------- */

/* In a child: 0 when room was handed over after a refusal, 1 when nobody kept any for it. */
static int be_refused(struct party *p, uint64_t pages)
{
	uint16_t refused;

	if (charge_try(&p->by, p->account, pages, &refused) == 0)
		return 2;
	if (keep_has_room(&p->by, p->account, pages) != keep_hand_over(&p->by, p->account, pages))
		return 3;
	return ground_held(&g, p->account) == pages ? 0 : 1;
}

static int status_of(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void descendants_are_given_of_it(void **state)
{
	struct party p = ground_join(&g, a);
	pid_t pid;

	(void)state;
	take(900);
	pid = fork();
	if (pid == 0) {
		pid_t grandchild = fork();
		int status = 9;

		if (grandchild == 0)
			_exit(be_refused(&p, 300));
		(void)waitpid(grandchild, &status, 0);
		_exit(WEXITSTATUS(status));
	}
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(ground_held(&g, p.account), 300);
	assert_int_equal(keep_held(&keep), 600);
	assert_int_equal(ground_usage(&g, a), 900);
	assert_int_equal(ground_usage(&g, ab), 600);
	(void)settle_dead(&self, p.member);
	keep_close(&keep);
	assert_true(ground_empty(&g));
}

/* The keeper is a child of ours here, and who is refused another one. */
static void others_are_not(void **state)
{
	struct party p = ground_join(&g, a);
	int ready[2];
	char byte;
	pid_t keeper, other;

	(void)state;
	keep_close(&keep);
	assert_int_equal(pipe(ready), 0);
	keeper = fork();
	if (keeper == 0) {
		uint16_t refused;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (keep_open(&g.seg, ab, &keep) || keep_take(&keep, 900, &refused))
			_exit(1);
		(void)!write(ready[1], "", 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	other = fork();
	if (other == 0)
		_exit(be_refused(&p, 300));
	assert_int_equal(status_of(other), 1);
	assert_int_equal(kill(keeper, SIGKILL), 0);
	assert_int_equal(status_of(keeper), -1);
	for (uint32_t i = 0; i < member_mark(&g.seg); i++)
		if (member_is_present(&g.seg, i))
			(void)settle_dead(&self, i);
	(void)close(ready[0]);
	(void)close(ready[1]);
	assert_true(ground_empty(&g));
}

/* The keeper's pid is somebody else's there. */
static void nobody_in_another_pid_namespace_is(void **state)
{
	struct party p = ground_join(&g, a);
	pid_t pid;

	(void)state;
	take(MAX);
	member_set_flags(&g.seg, p.member, MEMBER_FOREIGN, 0);
	pid = fork();
	if (pid == 0)
		_exit(be_refused(&p, 300));
	assert_int_equal(status_of(pid), 1);
	(void)settle_dead(&self, p.member);
	keep_close(&keep);
	assert_true(ground_empty(&g));
}

/* 100 are free, and 300 are kept. */
static void what_is_lacking_beyond_is_charged_as_usual(void **state)
{
	struct party p = ground_join(&g, a), beside = ground_join(&g, a);
	pid_t pid;

	(void)state;
	assert_int_equal(charge_try(&beside.by, beside.account, 600, NULL), 0);
	take(300);
	pid = fork();
	if (pid == 0)
		_exit(be_refused(&p, 401));
	assert_int_equal(status_of(pid), 1);
	assert_int_equal(keep_held(&keep), 300);
	pid = fork();
	if (pid == 0)
		_exit(be_refused(&p, 400));
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(keep_held(&keep), 0);
	assert_int_equal(ground_usage(&g, a), MAX);
	assert_int_equal(mc_load_relaxed(&ground_pool(&g, a)->peak), MAX);
	(void)settle_dead(&self, p.member);
	(void)settle_dead(&self, beside.member);
	keep_close(&keep);
	assert_true(ground_empty(&g));
}

/* What is kept above a group is no room below that group's own limit. */
static void a_limit_of_the_descendants_own_holds(void **state)
{
	uint16_t below = ground_group(&g, "/a/b/c", 100);
	struct party p = ground_join(&g, below);
	pid_t pid;

	(void)state;
	take(MAX);
	for (uint64_t pages = 100; pages < 102; pages++) {
		pid = fork();
		if (pid == 0)
			_exit(be_refused(&p, pages));
		assert_int_equal(status_of(pid), pages == 100 ? 0 : 1);
		(void)settle_dead(&self, p.member);
		p = ground_join(&g, below);
	}
	assert_int_equal(mc_load_relaxed(&ground_pool(&g, below)->peak), 100);
	(void)settle_dead(&self, p.member);
	keep_close(&keep);
	assert_int_equal(ground_remove_group(&g, below), 0);
	assert_true(ground_empty(&g));
}

/* A keeper below a keeper is given of it, and what it has is its own descendants' next. */
static void a_keeper_of_its_own_takes_it_from_above(void **state)
{
	struct party p = ground_join(&g, a);
	pid_t pid;

	(void)state;
	take(MAX);
	pid = fork();
	if (pid == 0) {
		struct keep mine;
		uint16_t refused;
		int status = 9;

		if (keep_open(&g.seg, ab, &mine) || keep_take(&mine, 400, &refused) || keep_held(&mine) != 400)
			_exit(4);
		if (fork() == 0)
			_exit(be_refused(&p, 300));
		(void)wait(&status);
		keep_close(&mine);
		_exit(WEXITSTATUS(status));
	}
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(ground_held(&g, p.account), 300);
	(void)settle_dead(&self, p.member);
	keep_close(&keep);
	assert_true(ground_empty(&g));
}

static void who_keeps_no_more_gives_no_more(void **state)
{
	struct party p = ground_join(&g, a);
	int go[2], looked[2];
	pid_t pid;
	char byte;

	(void)state;
	take(MAX);
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(looked), 0);
	pid = fork();
	if (pid == 0) {
		bool had = keep_has_room(&p.by, p.account, 10);

		(void)!write(looked[1], "", 1);
		(void)!read(go[0], &byte, 1);
		_exit(had ? be_refused(&p, 10) : 4);
	}
	assert_int_equal(read(looked[0], &byte, 1), 1);
	keep_close(&keep);
	p = ground_join(&g, a); /* it has the slot that was the keeper's, or another */
	assert_int_equal(charge_try(&p.by, p.account, MAX, NULL), 0);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(status_of(pid), 1);
	for (uint32_t i = 0; i < member_mark(&g.seg); i++)
		if (member_is_present(&g.seg, i))
			(void)settle_dead(&self, i);
	for (int i = 0; i < 2; i++) {
		(void)close(go[i]);
		(void)close(looked[i]);
	}
	assert_true(ground_empty(&g));
}

/* ---- against others, at the limit -------------------------------------------------------------------------------- */

#define RACE_HAND_OVERS 5000u
#define RACE_PAGES 4u
#define RACERS 3

static struct race {
	mc_word32 over;
	mc_word32 tries, got; /* of those who are not descendants */
} * race;

/* Not of the keeper: takes whatever is free at any moment. */
static void hammer(struct party *p)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	while (!mc_load_full(&race->over)) {
		if (mc_add_full(&race->tries, 1) % 32 == 0)
			(void)sched_yield(); /* or the hand-overs wait for a time slice each */
		if (charge_try(&p->by, p->account, 1, NULL) == 0) {
			mc_add_full(&race->got, 1);
			charge_uncharge(&p->by, p->account, 1);
		}
	}
	_exit(0);
}

/* How many hand-overs failed; each begins when the others have tried since the last one. */
static int be_handed_over(struct party *p)
{
	int lost = 0;

	for (unsigned i = 0; i < RACE_HAND_OVERS; i++) {
		uint32_t seen = mc_load_full(&race->tries);

		while (mc_load_full(&race->tries) == seen)
			(void)sched_yield();
		lost += charge_try(&p->by, p->account, RACE_PAGES, NULL) == 0 ||
			!keep_hand_over(&p->by, p->account, RACE_PAGES);
	}
	return lost ? 1 : 0;
}

static void nobody_else_gets_what_changes_hands(void **state)
{
	struct party worker, others[RACERS];
	pid_t keeper, racer[RACERS];
	int status;

	(void)state;
	keep_close(&keep);
	race = ground_shared(sizeof(*race));
	ground_set_max(&g, a, RACE_HAND_OVERS * RACE_PAGES);
	worker = ground_join(&g, ab);
	keeper = fork();
	if (keeper == 0) {
		uint16_t refused;
		int child = 9;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (keep_open(&g.seg, a, &keep) || keep_take(&keep, RACE_HAND_OVERS * RACE_PAGES, &refused))
			_exit(2);
		if (fork() == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
			while (!mc_load_full(&race->tries))
				(void)sched_yield();
			_exit(be_handed_over(&worker));
		}
		(void)wait(&child);
		_exit(keep_held(&keep) ? 3 : WEXITSTATUS(child));
	}
	while (ground_usage(&g, a) < RACE_HAND_OVERS * RACE_PAGES)
		assert_int_equal(waitpid(keeper, &status, WNOHANG), 0);
	for (int i = 0; i < RACERS; i++) {
		others[i] = ground_join(&g, a);
		racer[i] = fork();
		if (racer[i] == 0)
			hammer(&others[i]);
	}
	status = status_of(keeper);
	mc_store_full(&race->over, 1);
	for (int i = 0; i < RACERS; i++)
		assert_int_equal(status_of(racer[i]), 0);
	assert_int_equal(status, 0);
	print_message("%u hand-overs, %u tries of others meanwhile\n", RACE_HAND_OVERS, mc_load_full(&race->tries));
	assert_int_equal(mc_load_full(&race->got), 0);
	assert_int_equal(ground_held(&g, worker.account), RACE_HAND_OVERS * RACE_PAGES);
	assert_int_equal(mc_load_relaxed(&ground_pool(&g, a)->peak), RACE_HAND_OVERS * RACE_PAGES);
	for (uint32_t i = 0; i < member_mark(&g.seg); i++)
		if (member_state(mc_load_full(&member_of(&g.seg, i)->state)) != MEMBER_FREE)
			(void)settle_dead(&self, i);
	assert_true(ground_empty(&g));
}

static void descent_is_read_from_proc(void **state)
{
	(void)state;
	assert_true(keep_is_descendant((uint32_t)getpid(), (uint32_t)getppid()));
	assert_false(keep_is_descendant((uint32_t)getpid(), (uint32_t)getpid()));
	assert_false(keep_is_descendant(0x7ffffff0, 1));
	keep_close(&keep);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_kept_is_in_the_way_of_others, up, down),
		cmocka_unit_test_setup_teardown(without_room_nothing_is_kept, up, down),
		cmocka_unit_test_setup_teardown(its_slot_is_no_member, up, down),
		cmocka_unit_test_setup_teardown(its_death_gives_it_back, up, down),
		cmocka_unit_test_setup_teardown(descendants_are_given_of_it, up, down),
		cmocka_unit_test_setup_teardown(others_are_not, up, down),
		cmocka_unit_test_setup_teardown(nobody_in_another_pid_namespace_is, up, down),
		cmocka_unit_test_setup_teardown(what_is_lacking_beyond_is_charged_as_usual, up, down),
		cmocka_unit_test_setup_teardown(a_limit_of_the_descendants_own_holds, up, down),
		cmocka_unit_test_setup_teardown(a_keeper_of_its_own_takes_it_from_above, up, down),
		cmocka_unit_test_setup_teardown(who_keeps_no_more_gives_no_more, up, down),
		cmocka_unit_test_setup_teardown(nobody_else_gets_what_changes_hands, up, down),
		cmocka_unit_test_setup_teardown(descent_is_read_from_proc, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
