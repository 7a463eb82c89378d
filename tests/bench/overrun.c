/* SPDX-License-Identifier: MIT */
/* overrun LIMIT_MIB: how far, and for how long, a program that only touches what it was granted gets over its
 * memory.max before that is noticed. Starts itself as a member of $MEMCTL_GROUP (with LD_PRELOAD=$OVERRUN_PRELOAD)
 * and watches the counter of the group in the segment. Prints ms and MiB. */
#include "accounting/group.h"
#include "accounting/pool.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define GIVE_UP 8 /* limits */

static unsigned long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec;
}

/* Half of the limit at once, a rest, then as fast as it goes until the other end of standard input closes. Tells
 * when it passed the limit, and how much it had when it was stopped. */
static int touch(unsigned long long limit)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	char *memory =
		mmap(NULL, GIVE_UP * limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned long long at = 0, passed = 0;

	if (memory == MAP_FAILED)
		return 1;
	for (; at < limit / 2; at += 4096)
		memory[at] = 1;
	sleep(3);
	for (; at < GIVE_UP * limit; at += 4096) {
		memory[at] = 1;
		if (!passed && at >= limit)
			passed = now_ns();
		if (at % MIB == 0 && poll(&p, 1, 0) > 0)
			break;
	}
	printf("%llu %llu\n", passed, (at - limit) / MIB);
	return 0;
}

static unsigned long long wait_until_noticed(const struct segment *seg, uint16_t group)
{
	const struct timespec rest = { .tv_nsec = 100000 };
	uint64_t max = pool_max(seg, RESOURCE_MEMORY, group);
	unsigned long long give_up = now_ns() + 60000000000u;

	while (pool_usage(mc_load_full(&pool_of(seg, RESOURCE_MEMORY, group)->word)) <= max && now_ns() < give_up)
		(void)nanosleep(&rest, NULL);
	return now_ns();
}

int main(int argc, char *argv[])
{
	unsigned long long limit = argc > 1 ? strtoull(argv[1], NULL, 10) * MIB : 0;
	unsigned long long noticed, passed = 0, over = 0;
	struct segment seg;
	uint16_t group;
	int in[2], out[2];
	FILE *answer;

	if (argc > 2)
		return touch(limit);
	if (!limit || segment_attach(getenv("MEMCTL_DIR"), SEGMENT_READER, &seg) ||
	    group_find(&seg, getenv("MEMCTL_GROUP"), &group) || pipe(in) || pipe(out))
		return 1;
	if (fork() == 0) {
		setenv("LD_PRELOAD", getenv("OVERRUN_PRELOAD"), 1);
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execl(argv[0], argv[0], argv[1], "touch", (char *)NULL);
		_exit(1);
	}
	close(in[0]);
	close(out[1]);
	noticed = wait_until_noticed(&seg, group);
	close(in[1]);
	answer = fdopen(out[0], "r");
	if (!answer || fscanf(answer, "%llu %llu", &passed, &over) != 2)
		return 1;
	(void)wait(NULL);
	printf("%.1f %llu\n", ((double)noticed - (double)passed) / 1e6, over);
	return 0;
}
