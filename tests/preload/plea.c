/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=kill, seen from the member: who is told that nobody may be killed fails at once, who got nothing of
 * what a kill freed asks again. The daemon's part is played here. */
#include "accounting/plea.h"
#include "accounting/reclaim.h"
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#define REFUSALS 40 /* 5 s each would be longer than STAGE_DEADLINE */

static int is_refused(void)
{
	unsigned refused = 0;

	while (refused < REFUSALS)
		refused += malloc((size_t)1 << 20) == NULL;
	return 0;
}

static struct stage stage;
static pid_t pid;
static unsigned pleas;

static mc_word *plea(void)
{
	return &ground_pool(&stage.ground, stage.group)->oom;
}

static void start(void)
{
	char *const child[] = { (char *)(uintptr_t)stage_self(), (char[]){ "is_refused" }, NULL };

	pleas = 0;
	stage_up(&stage, STAGE_MIB(16));
	stage.ground.seg.limits->group[stage.group].oom_policy = OOM_KILL;
	pid = stage_start(&stage, child, NULL);
}

/* True when there was one; `keep` is what is left of it. */
static bool answer(uint64_t keep)
{
	uint64_t word = mc_load_full(plea());

	if (!(word & UINT32_MAX))
		return false;
	mc_store_full(plea(), word & keep);
	reclaim_wake(&stage.ground.seg);
	pleas++;
	return true;
}

static bool denies_all(void *arg)
{
	int *status = arg;

	(void)answer(~(uint64_t)UINT32_MAX);
	return waitpid(pid, status, WNOHANG) == pid;
}

/* As if somebody had been killed, and others had taken the room. */
static bool drops_many(void *arg)
{
	(void)arg;
	(void)answer(0);
	return pleas >= 10;
}

int main(int argc, char *argv[])
{
	int status = -1;
	bool good;

	(void)argv;
	if (argc > 1)
		return is_refused();
	start();
	good = stage_until(denies_all, &status);
	if (!good)
		(void)kill(pid, SIGKILL);
	(void)tap_ok(good && status == 0 && pleas >= 1 && stage_is_empty(&stage),
		     "who is told that nobody may be killed fails at once");
	stage_down(&stage);

	start();
	good = stage_until(drops_many, NULL) && waitpid(pid, &status, WNOHANG) == 0;
	(void)kill(pid, SIGKILL);
	(void)stage_wait(pid);
	(void)tap_ok(good && stage_is_empty(&stage), "who got nothing of what was freed asks again, and does not fail");
	stage_down(&stage);
	return tap_end();
}
