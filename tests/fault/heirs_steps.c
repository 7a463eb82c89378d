/* SPDX-License-Identifier: MIT */
/* A daemon that is killed at any named step of a hand-over of device memory: what the next one finds
 * is put right.
 *
 * Each row is done by a child that is killed at the n-th step it comes by, for every n until it comes
 * through. Then another daemon takes over, and the row is done once more, as by a member that does
 * not know how far the first one came: one heir pays, once, and nothing is left when he has gone.
 * ACCOUNTING_STEPS.
 */
#include "tests/lib/ground.h"
#include "tests/lib/tap.h"

#include "accounting/region.h"
#include "accounting/step.h"
#include "controld/heirs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME 5000000000ull
#define UNITS 1000u
#define STEPS_MAX 1000

void (*step_hook)(const char *name);

static struct ground ground;
static struct served served;
static unsigned region;
static uint16_t group[3];

/* Who made it, and two who have opened it. */
static struct party maker, first, second;

static struct party join(uint16_t in)
{
	return ground_join(&ground, in);
}

static void take_over(void)
{
	(void)settle_daemon(&ground.seg);
	served.actor = ground_daemon(&ground);
	if (heirs_open(&served))
		ground_bail("no memory");
}

static void die(const struct party *p)
{
	heirs_lose(&served, p->member);
	(void)settle_dead(&served.actor, p->member);
}

/* ---- rows ------------------------------------------------------------------------------------------------- */

static void gives_back(void)
{
	heirs_leave(&served, NAME, maker.member);
}

static bool is_there(const struct party *p)
{
	return member_state(mc_load_full(&member_of(&ground.seg, p->member)->state)) != MEMBER_FREE;
}

static void dies(void)
{
	if (is_there(&maker))
		die(&maker);
}

static void heir_leaves(void)
{
	heirs_leave(&served, NAME, first.member);
}

static void heir_dies(void)
{
	if (is_there(&first))
		die(&first);
}

/* As one who sees that nothing came of it. */
static void is_opened_late(void)
{
	uint64_t name = NAME;

	if (member_held(&ground.seg, second.member, region) == 0)
		(void)heirs_borrow(&served, &name, second.member);
}

static void nothing(void)
{
}

static void has_gone(void)
{
	gives_back();
}

static void all_have_gone(void)
{
	gives_back();
	heir_leaves();
	heirs_leave(&served, NAME, second.member);
}

static const struct row {
	const char *sentence;
	void (*before)(void);
	void (*act)(void);
	const struct party *heir; /* who pays then */
} rows[] = {
	{ "its maker gives it back", nothing, gives_back, &first },
	{ "its maker dies", nothing, dies, &first },
	{ "its heir closes it", has_gone, heir_leaves, &second },
	{ "its heir dies", has_gone, heir_dies, &second },
	{ "it is opened when all have gone", all_have_gone, is_opened_late, &second },
};

/* ---- trials ----------------------------------------------------------------------------------------------- */

static int steps_left;

static void count(const char *name)
{
	(void)name;
	if (--steps_left == 0)
		(void)kill(getpid(), SIGKILL);
}

/* True: it was killed on the way. */
static bool is_killed(const struct row *row, int at)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		steps_left = at;
		step_hook = count;
		row->act();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		ground_bail("no child");
	return WIFSIGNALED(status);
}

static uint64_t held(const struct party *p)
{
	return member_is_present(&ground.seg, p->member) ? member_held(&ground.seg, p->member, region) : 0;
}

static bool is_right(const struct row *row, const struct party *heir, int at)
{
	uint64_t usage;

	(void)stock_drain(&served.actor, region, GROUP_ROOT);
	usage = pool_usage(mc_load_full(&pool_of(&ground.seg, region, GROUP_ROOT)->word));
	if (usage == (heir ? UNITS : 0) && (!heir || held(heir) == UNITS) && ground_consistent(&ground))
		return true;
	tap_note("%s, killed at step %d: %llu units are charged, %llu to the heir", row->sentence, at,
		 (unsigned long long)usage, (unsigned long long)(heir ? held(heir) : 0));
	return false;
}

static void begin(const struct row *row)
{
	uint64_t name = NAME;

	maker = join(group[0]);
	first = join(group[1]);
	second = join(group[2]);
	if (heirs_lend(&served, NAME, maker.member, region, UNITS) || heirs_borrow(&served, &name, first.member) ||
	    heirs_borrow(&served, &name, second.member))
		ground_bail("cannot share");
	row->before();
}

static void finish(const struct party *p)
{
	if (is_there(p))
		die(p);
}

static int try(const struct row *row, int at, bool *ret_killed)
{
	bool right;

	begin(row);
	heirs_close(&served);
	take_over();
	*ret_killed = is_killed(row, at);
	heirs_close(&served);
	take_over();
	row->act();
	right = is_right(row, row->heir, at);
	finish(&maker);
	finish(&first);
	finish(&second);
	return right && is_right(row, NULL, at);
}

static void play(const struct row *row)
{
	bool killed = true, right = true;
	int at = 0;

	while (killed && ++at < STEPS_MAX)
		right &= try(row, at, &killed);
	tap_ok(right && at > 3, "%s: %d steps", row->sentence, at - 1);
}

int main(void)
{
	char path[sizeof(ground.dir) + 16];

	ground_up(&ground);
	if (region_register(&ground.seg, "cuda/GPU-1/vram", "", 0, &region))
		ground_bail("no region");
	ground.resource = region;
	group[0] = ground_group(&ground, "/a", PAGES_MAX);
	group[1] = ground_group(&ground, "/b", PAGES_MAX);
	group[2] = ground_group(&ground, "/c", PAGES_MAX);
	served.seg = ground.seg;
	take_over();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		play(&rows[i]);
	heirs_close(&served);
	(void)snprintf(path, sizeof(path), "%s/" HEIRS_NAME, ground.dir);
	(void)unlink(path);
	ground_down(&ground);
	return tap_end();
}
