/* SPDX-License-Identifier: MIT */
/* Room that is kept: against others, for descendants, and given back however its keeper ends. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

#include "accounting/check.h"
#include "accounting/keep.h"

#include <errno.h>
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

/* In a child: 0 when it got room after a refusal, 1 when nobody kept any for it. */
static int be_refused(struct party *p, uint64_t pages)
{
	uint16_t refused;

	if (charge_try(&p->by, p->account, pages, &refused) == 0)
		return 2;
	if (!keep_release_for(&p->by, pages))
		return 1;
	return charge_try(&p->by, p->account, pages, &refused) == 0 ? 0 : 3;
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
	assert_in_range(keep_held(&keep), 1, 600);
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
		cmocka_unit_test_setup_teardown(descent_is_read_from_proc, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
