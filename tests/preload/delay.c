/* SPDX-License-Identifier: MIT */
/* The kernel's table of delays above memory.high, measured in a member: high = 100 MiB, and a batch of 64 pages brings
 * the group's usage to so many MiB. What counts is the time that the member says it stood still; a loaded machine may
 * make that longer, so the shortest of some tries is taken. */
#include "accounting/throttle.h"
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH STAGE_MIB(100)
#define TRIES 20

struct row {
	uint64_t usage; /* MiB */
	uint64_t ms;	/* the kernel's delay */
};

/* Each time it is let go on: a batch more. */
static int charges(void)
{
	for (;;) {
		(void)raise(SIGSTOP);
		if (mmap(NULL, THROTTLE_BATCH * MC_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0) == MAP_FAILED)
			return 1;
	}
}

static struct stage stage;
static struct party ballast;
static pid_t pid;

static bool stops(void)
{
	int status = 0;

	return waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status);
}

static struct member *slot(void)
{
	for (uint32_t i = 0; i < member_mark(&stage.ground.seg); i++)
		if (member_pid(mc_load_full(&member_of(&stage.ground.seg, i)->state)) == (uint32_t)pid)
			return member_of(&stage.ground.seg, i);
	return NULL;
}

/* So that the next batch makes the group's usage what it shall be. */
static void set_ballast(uint64_t usage)
{
	struct account *a = account_of(&stage.ground.seg, ballast.account);
	uint64_t held = ground_held(&stage.ground, ballast.account);
	uint64_t others = ground_usage(&stage.ground, stage.group) - held;

	(void)charge_adjust(&ballast.by, ballast.account, mc_load_full(&a->meta), held, usage - THROTTLE_BATCH - others,
			    OVER_START);
}

/* Nanoseconds that one batch stood still; 0 in *ret_good: it came out of the stock, or the member has ended. */
static uint64_t stall_of_batch(uint64_t usage, bool *ret_good)
{
	uint64_t before;

	set_ballast(usage);
	before = mc_load_relaxed(&slot()->stall_ns);
	*ret_good = kill(pid, SIGCONT) == 0 && stops() && ground_usage(&stage.ground, stage.group) == usage;
	return slot() ? mc_load_relaxed(&slot()->stall_ns) - before : 0;
}

static uint64_t shortest_stall_ms(const struct row *r, unsigned *ret_tries)
{
	uint64_t enough = (r->ms + r->ms / 20 + 2) * 1000000, shortest = UINT64_MAX;

	*ret_tries = 0;
	for (int i = 0; i < TRIES && shortest > enough; i++) {
		bool good;
		uint64_t stall_ns = stall_of_batch(STAGE_MIB(r->usage), &good);

		*ret_tries += good;
		if (good && stall_ns < shortest)
			shortest = stall_ns;
	}
	return shortest == UINT64_MAX ? shortest : (shortest + 500000) / 1000000;
}

static void measure(const struct row *r)
{
	const mc_word *event = &ground_pool(&stage.ground, stage.group)->event[EVENT_HIGH];
	uint64_t slept = r->ms > THROTTLE_IGNORED_MS ? r->ms : 0;
	uint64_t events = mc_load_relaxed(event);
	uint64_t formula = throttle_delay_ms(throttle_overage(STAGE_MIB(r->usage), HIGH), 0, THROTTLE_BATCH);
	const struct row wanted = { r->usage, slept };
	unsigned tries;
	uint64_t ms = shortest_stall_ms(&wanted, &tries);

	tap_note("%llu MiB: stood still for %llu ms, the kernel's table has %llu", (unsigned long long)r->usage,
		 (unsigned long long)ms, (unsigned long long)r->ms);
	events = mc_load_relaxed(event) - events;
	(void)tap_ok(formula == r->ms && tries && ms >= slept && ms <= slept + slept / 10 + 5 && events >= tries,
		     "memory.high = 100 MiB, usage %llu MiB: %llu ms%s", (unsigned long long)r->usage,
		     (unsigned long long)r->ms, slept ? "" : ", which is not worth sleeping");
}

int main(int argc, char *argv[])
{
	static const struct row table[] = { { 101, 6 },	   { 102, 25 },	  { 105, 159 }, { 110, 639 },
					    { 115, 1439 }, { 118, 2000 }, { 150, 2000 } };
	char *const child[] = { (char *)(uintptr_t)stage_self(), (char[]){ "charges" }, NULL };

	(void)argv;
	if (argc > 1)
		return charges();
	stage_up(&stage, 0);
	ballast = ground_join(&stage.ground, stage.group);
	pid = stage_start(&stage, child, NULL);
	if (!stops() || !slot())
		ground_bail("the member does not start");
	mc_store_full(&ground_limits(&stage.ground, stage.group)->high, HIGH);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		measure(&table[i]);
	(void)kill(pid, SIGKILL);
	(void)stage_wait(pid);
	stage_down(&stage);
	return tap_end();
}
