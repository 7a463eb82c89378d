/* SPDX-License-Identifier: MIT */
/* How long what a killed member held stays charged: reap ALIVE DEATHS, in the groups /alive and /reaped.
 * Prints the median, the 99th percentile and the most, in microseconds: from the kill on, and from the death on,
 * which comes late where processors are scarce. */
#include "tests/lib/ground.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELD (1u << 20)
#define HELD_PAGES (HELD >> MC_PAGE_SHIFT)
#define DEADLINE 60 /* seconds */
#define LOOK_NS 20000
#define DEATHS_MAX 10000

static struct segment seg;

static void *volatile held; /* volatile: it is not optimized away */

static _Noreturn void be_a_member(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	held = malloc(HELD);
	if (held)
		memset(held, 1, HELD);
	for (;;)
		(void)pause();
}

static pid_t start(const char *group)
{
	pid_t pid = fork();

	if (pid < 0)
		ground_bail("fork: %s", strerror(errno));
	if (pid)
		return pid;
	setenv("LD_PRELOAD", getenv("MEMCTL_PRELOAD"), 1);
	setenv("MEMCTL_GROUP", group, 1);
	execl("/proc/self/exe", "reap", "member", (char *)NULL);
	_exit(127);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint16_t group_of(const char *path)
{
	uint16_t group = 0;

	if (group_find(&seg, path, &group))
		ground_bail("no group %s", path);
	return group;
}

static uint64_t usage(uint16_t group)
{
	return pool_usage(mc_load_full(&pool_of(&seg, RESOURCE_MEMORY, group)->word));
}

static void nap(long ns)
{
	struct timespec t = { 0, ns };

	nanosleep(&t, NULL);
}

/* `at_least` 0: until there is none. */
static void wait_for_usage(uint16_t group, uint64_t at_least)
{
	uint64_t end = now_ns() + DEADLINE * 1000000000ull;

	while (at_least ? usage(group) < at_least : usage(group) != 0) {
		if (now_ns() > end)
			ground_bail("usage stays at %llu", (unsigned long long)usage(group));
		nap(LOOK_NS);
	}
}

struct took {
	uint64_t since_kill, since_death; /* ns */
};

static struct took one_death(uint16_t group, uint64_t *dice)
{
	pid_t pid = start("/reaped");
	struct pollfd dead = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	uint64_t killed, died, back;

	wait_for_usage(group, HELD_PAGES);
	nap((long)(ground_random(dice) % 20000000)); /* not in step with the daemon's own looks */
	killed = now_ns();
	(void)kill(pid, SIGKILL);
	(void)poll(&dead, 1, -1);
	died = now_ns();
	wait_for_usage(group, 0);
	back = now_ns();
	(void)close(dead.fd);
	(void)waitpid(pid, NULL, 0);
	return (struct took){ back - killed, back - died };
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print(uint64_t *ns, unsigned n)
{
	qsort(ns, n, sizeof(*ns), by_size);
	printf("%llu %llu %llu\n", (unsigned long long)ns[n / 2] / 1000, (unsigned long long)ns[n * 99 / 100] / 1000,
	       (unsigned long long)ns[n - 1] / 1000);
}

int main(int argc, char *argv[])
{
	static uint64_t since_kill[DEATHS_MAX], since_death[DEATHS_MAX];
	unsigned alive, deaths;
	uint64_t dice = 5;

	if (argc == 2)
		be_a_member();
	if (argc != 3 || segment_attach(getenv("MEMCTL_DIR"), SEGMENT_READER, &seg))
		ground_bail("usage: reap ALIVE DEATHS, with a daemon in $MEMCTL_DIR");
	alive = (unsigned)atoi(argv[1]);
	deaths = (unsigned)atoi(argv[2]) % (DEATHS_MAX + 1);
	for (unsigned i = 0; i < alive; i++)
		(void)start("/alive");
	wait_for_usage(group_of("/alive"), (uint64_t)alive * HELD_PAGES);
	for (unsigned i = 0; i < deaths; i++) {
		struct took t = one_death(group_of("/reaped"), &dice);

		since_kill[i] = t.since_kill;
		since_death[i] = t.since_death;
	}
	print(since_kill, deaths);
	print(since_death, deaths);
	return 0;
}
