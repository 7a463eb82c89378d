/* SPDX-License-Identifier: MIT */
/* How fast free heap is given back: purge MIB BLOCK TIMES -> "PLAIN OURS", GiB/s, medians.
 *
 * Run in a group. Plain: MIB in blocks, touched, are dropped block by block by madvise, which is the least that anybody
 * could do. Ours: the same blocks, touched again, are freed, and the process asks itself for as much, as a relative
 * would; it is over when the answer is there. */
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static uint32_t own_slot(const struct segment *seg)
{
	for (uint32_t i = 0; i < member_mark(seg); i++)
		if (member_is_present(seg, i) &&
		    member_pid(mc_load_full(&member_of(seg, i)->state)) == (uint32_t)getpid())
			return i;
	return MEMBER_NIL;
}

/* GiB/s */
static double drop(char **block, size_t n, size_t size)
{
	double begin = now();

	for (size_t i = 0; i < n; i++)
		(void)sys_madvise(block[i], size, MADV_DONTNEED);
	return (double)(n * size) / (now() - begin) / (1 << 30);
}

/* GiB/s */
static double reclaim(const struct segment *seg, uint32_t member, uint64_t pages)
{
	struct member *m = member_of(seg, member);
	uint64_t before = mc_load_relaxed(&m->reclaimed);
	double begin = now();

	reclaim_ask(seg, member, pages, reclaim_now());
	while (mc_load_full(&m->ask) != mc_load_full(&m->answered))
		reclaim_wait(seg, reclaim_gave(seg), 1);
	return (double)((mc_load_relaxed(&m->reclaimed) - before) << MC_PAGE_SHIFT) / (now() - begin) / (1 << 30);
}

static void fill(char **block, size_t n, size_t size, int fresh)
{
	for (size_t i = 0; i < n; i++) {
		if (fresh && !(block[i] = aligned_alloc(4096, size)))
			exit(1);
		memset(block[i], 1, size);
	}
}

static void settle(char **block, size_t n, const struct member *m)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (size_t i = 0; i < n; i++)
		free(block[i]);
	for (int i = 0; i < 1000 && !mc_load_full(&m->answers); i++) {
		void *volatile p = malloc(1 << 20); /* a slow path, in which the helper may start */

		free(p);
		(void)nanosleep(&ms, NULL);
	}
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 3 ? (size_t)atol(argv[1]) << 20 : 0;
	size_t size = argc > 3 ? (size_t)atol(argv[2]) : 1, n = bytes / size;
	int times = argc > 3 ? atoi(argv[3]) : 0;
	double *plain = calloc((size_t)times + 1, sizeof(*plain)), *ours = calloc((size_t)times + 1, sizeof(*ours));
	char **block = calloc(n + 1, sizeof(*block));
	struct segment seg;
	uint32_t member;

	if (times < 1 || !n || !block || !plain || !ours ||
	    segment_attach(getenv("MEMCTL_DIR"), SEGMENT_MEMBER, &seg) || (member = own_slot(&seg)) == MEMBER_NIL) {
		fputs("usage, in a group: purge MIB BLOCK TIMES\n", stderr);
		return 2;
	}
	for (int i = 0; i < times; i++) {
		fill(block, n, size, 1);
		plain[i] = drop(block, n, size);
		fill(block, n, size, 0);
		settle(block, n, member_of(&seg, member));
		ours[i] = reclaim(&seg, member, bytes >> MC_PAGE_SHIFT);
	}
	qsort(plain, (size_t)times, sizeof(*plain), compare);
	qsort(ours, (size_t)times, sizeof(*ours), compare);
	printf("%.3f %.3f\n", plain[times / 2], ours[times / 2]);
	return 0;
}
