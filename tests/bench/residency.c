/* SPDX-License-Identifier: MIT */
/* residency SIZE_MIB SECONDS [forked]: a busy process, for the price of looking at it. Two threads: one touches
 * and drops pages all over SIZE_MIB, one maps and unmaps a page and times each pair. Forked: a child shares the
 * memory, and each page that is written is copied. Prints the longest pair, the 99.9th percentile in us, and how
 * many there were. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ull
#define BUCKETS 20000 /* us */

static char *memory;
static size_t pages;
static atomic_bool stop;
static unsigned count[BUCKETS]; /* the last: all that took longer */
static unsigned long long longest_ns;

static unsigned long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec;
}

static void *be_busy(void *arg)
{
	unsigned long long seed = 1;

	(void)arg;
	while (!stop) {
		size_t at;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		at = (size_t)(seed >> 33) % (pages - 64);
		if (seed >> 32 & 1)
			(void)madvise(memory + at * PAGE, 64 * PAGE, MADV_DONTNEED);
		for (size_t i = 0; i < 64; i++)
			memory[(at + i) * PAGE]++;
	}
	return NULL;
}

static void time_pairs(unsigned long long until)
{
	unsigned long long begin = now_ns();

	while (begin < until) {
		char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		unsigned long long end;

		if (p == MAP_FAILED)
			abort();
		munmap(p, PAGE);
		end = now_ns();
		longest_ns = end - begin > longest_ns ? end - begin : longest_ns;
		count[(end - begin) / 1000 < BUCKETS ? (end - begin) / 1000 : BUCKETS - 1]++;
		begin = end;
		usleep(20);
		begin = now_ns();
	}
}

static void print(void)
{
	unsigned long long all = 0, seen = 0;
	unsigned p999 = 0;

	for (unsigned i = 0; i < BUCKETS; i++)
		all += count[i];
	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += count[i];
		if (!p999 && seen * 1000 >= all * 999)
			p999 = i + 1;
	}
	printf("%llu %u %llu\n", longest_ns / 1000, p999, all);
}

int main(int argc, char *argv[])
{
	pthread_t busy;
	pid_t child = 0;

	if (argc < 3)
		return 2;
	pages = (size_t)atol(argv[1]) << 8;
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	memset(memory, 1, pages * PAGE);
	if (argc > 3 && (child = fork()) == 0)
		for (;;)
			pause();
	pthread_create(&busy, NULL, be_busy, NULL);
	time_pairs(now_ns() + (unsigned long long)atol(argv[2]) * 1000000000u);
	stop = true;
	pthread_join(busy, NULL);
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	print();
	return 0;
}
