/* SPDX-License-Identifier: MIT */
/* How fast free heap is given back: purge MIB BLOCK TIMES -> a line for each of TIMES turns, "OWN BESIDE TRIMMED ASKED", GiB/s, and
 * the same four by the process's CPU time.
 *
 * Run in a group. Own: MIB in blocks, touched, are dropped block by block by madvise in the thread that touched them,
 * which is the least that anybody could do. Beside: the same pages, touched again, by another thread that sleeps until
 * it is asked, which is the least that anybody could do for an idle process. The same pages, touched again,
 * are freed, and given back by malloc_trim in this thread; or the process asks itself for as much, as a relative would, and
 * its helper gives it; that is over when the answer is there. */
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct clocks {
	double wall, cpu;
};

static struct {
	char **block;
	size_t n, size;
	sem_t go, done;
} set;

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct clocks now(void)
{
	return (struct clocks){ seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID) };
}

static struct clocks speed(size_t bytes, struct clocks since)
{
	struct clocks t = now();
	double gib = (double)bytes / (1 << 30);

	return (struct clocks){ gib / (t.wall - since.wall), gib / (t.cpu - since.cpu) };
}

static uint32_t own_slot(const struct segment *seg)
{
	for (uint32_t i = 0; i < member_mark(seg); i++)
		if (member_is_present(seg, i) &&
		    member_pid(mc_load_full(&member_of(seg, i)->state)) == (uint32_t)getpid())
			return i;
	return MEMBER_NIL;
}

static void drop(void)
{
	for (size_t i = 0; i < set.n; i++)
		(void)sys_madvise(set.block[i], set.size, MADV_DONTNEED);
}

static void *drop_when_asked(void *unused)
{
	while (sem_wait(&set.go) == 0) {
		drop();
		sem_post(&set.done);
	}
	return unused;
}

static struct clocks drop_beside(void)
{
	struct clocks begin = now();

	sem_post(&set.go);
	while (sem_wait(&set.done))
		;
	return speed(set.n * set.size, begin);
}

static struct clocks drop_own(void)
{
	struct clocks begin = now();

	drop();
	return speed(set.n * set.size, begin);
}

static struct clocks reclaim(const struct segment *seg, uint32_t member)
{
	struct member *m = member_of(seg, member);
	uint64_t before = mc_load_relaxed(&m->reclaimed);
	struct clocks begin = now();

	reclaim_ask(seg, member, (set.n * set.size) >> MC_PAGE_SHIFT, reclaim_now());
	for (;;) {
		uint32_t gave = reclaim_gave(seg);

		if (mc_load_full(&m->ask) == mc_load_full(&m->answered))
			break;
		reclaim_wait(seg, gave, 1000);
	}
	return speed((mc_load_relaxed(&m->reclaimed) - before) << MC_PAGE_SHIFT, begin);
}

static struct clocks trim(const struct segment *seg, uint32_t member)
{
	struct member *m = member_of(seg, member);
	uint64_t before = mc_load_relaxed(&m->purgeable);
	struct clocks begin = now();

	(void)malloc_trim(0);
	return speed((before - mc_load_relaxed(&m->purgeable)) << MC_PAGE_SHIFT, begin);
}

static void fill(int fresh)
{
	for (size_t i = 0; i < set.n; i++) {
		if (fresh && !(set.block[i] = aligned_alloc(4096, set.size)))
			exit(1);
		memset(set.block[i], 1, set.size);
	}
}

static void release(const struct member *m)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (size_t i = 0; i < set.n; i++)
		free(set.block[i]);
	for (int i = 0; i < 1000 && !mc_load_full(&m->answers); i++) {
		void *volatile p = malloc(1 << 20); /* a slow path, in which the helper may start */

		free(p);
		(void)nanosleep(&ms, NULL);
	}
}

static void turn(const struct segment *seg, uint32_t member, int i)
{
	struct clocks own, beside, trimmed, asked;

	fill(1);
	if (i % 2) {
		own = drop_own();
		fill(0);
		beside = drop_beside();
	} else {
		beside = drop_beside();
		fill(0);
		own = drop_own();
	}
	fill(0);
	release(member_of(seg, member));
	asked = reclaim(seg, member);
	fill(1);
	release(member_of(seg, member));
	trimmed = trim(seg, member);
	if (i)
		printf("%.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f\n", own.wall, beside.wall, trimmed.wall, asked.wall,
		       own.cpu, beside.cpu, trimmed.cpu, asked.cpu);
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 3 ? (size_t)atol(argv[1]) << 20 : 0;
	int times = argc > 3 ? atoi(argv[3]) : 0;
	struct segment seg;
	uint32_t member;
	pthread_t thread;

	set.size = argc > 3 ? (size_t)atol(argv[2]) : 1;
	set.n = bytes / set.size;
	set.block = calloc(set.n + 1, sizeof(*set.block));
	if (times < 1 || !set.n || !set.block || segment_attach(getenv("MEMCTL_DIR"), SEGMENT_MEMBER, &seg) ||
	    (member = own_slot(&seg)) == MEMBER_NIL || sem_init(&set.go, 0, 0) || sem_init(&set.done, 0, 0) ||
	    pthread_create(&thread, NULL, drop_when_asked, NULL)) {
		fputs("usage, in a group: purge MIB BLOCK TIMES\n", stderr);
		return 2;
	}
	for (int i = 0; i <= times; i++) /* the first is a warm-up */
		turn(&seg, member, i);
	return 0;
}
