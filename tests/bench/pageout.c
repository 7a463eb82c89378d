/* SPDX-License-Identifier: MIT */
/* Memory to be paged out: pageout HOT COLD, in MiB, two mappings; HOT is used all the time by a
 * thread, every page of it within a millisecond or a few. Half of each page is random. Prints
 * "ready"; for each line on stdin "COLD HOT", MiB of COLD that are in swap, and percent of HOT that
 * are, or that were and have been brought back. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

static char *hot;
static size_t hot_size;
static atomic_ulong rounds, brought_back;

static void fill(char *at, size_t size)
{
	uint64_t seed = 88172645463325252u;

	for (size_t i = 0; i < size; i += 8) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		*(uint64_t *)(void *)(at + i) = i % PAGE < PAGE / 2 ? seed : 0;
	}
}

static void *use(void *arg)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	struct rusage usage;

	(void)arg;
	for (;;) {
		for (size_t i = 0; i < hot_size; i += PAGE)
			((volatile char *)hot)[i]++;
		(void)getrusage(RUSAGE_THREAD, &usage);
		brought_back = (unsigned long)usage.ru_majflt;
		rounds++;
		(void)nanosleep(&ms, NULL);
	}
	return NULL;
}

static double count_swapped(const char *at, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long n = 0;
	uint64_t entry;

	for (size_t i = 0; i < size; i += PAGE)
		if (pread(fd, &entry, 8, (off_t)((uintptr_t)(at + i) / PAGE * 8)) == 8)
			n += entry >> 62 & 1;
	(void)close(fd);
	return (double)n;
}

int main(int argc, char **argv)
{
	size_t cold_size = argc > 2 ? (size_t)atol(argv[2]) << 20 : 0;
	pthread_t thread;
	char line[16], *cold;

	hot_size = argc > 2 ? (size_t)atol(argv[1]) << 20 : 0;
	hot = mmap(NULL, hot_size + PAGE + cold_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!hot_size || !cold_size || hot == MAP_FAILED)
		return 2;
	cold = hot + hot_size + PAGE;
	(void)mprotect(hot + hot_size, PAGE, PROT_NONE);
	fill(hot, hot_size);
	fill(cold, cold_size);
	if (pthread_create(&thread, NULL, use, NULL))
		return 1;
	while (rounds < 2)
		(void)usleep(1000);
	free(malloc((size_t)1 << 20)); /* where a helper starts */
	(void)puts("ready");
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		double taken = count_swapped(hot, hot_size) + (double)brought_back;

		(void)printf("%.1f %.2f\n", count_swapped(cold, cold_size) / 256,
			     100 * taken / (double)(hot_size / PAGE));
		(void)fflush(stdout);
	}
	return 0;
}
