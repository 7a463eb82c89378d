/* SPDX-License-Identifier: MIT */
/* From exceeding a limit to memory given back by an idle relative: giveback MIB TIMES [BLOCK] -> "P50 P99 REFUSED", ms
 * and how often it was refused. Run in a group whose limit is a third more than MIB: a child fills MIB in blocks,
 * frees them and waits; then malloc(MIB) is timed. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What the other side still has is on its way. */
static void *get(size_t size)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	void *p;

	while ((p = malloc(size)) == NULL)
		(void)nanosleep(&ms, NULL);
	return p;
}

static void idle(int from, int to, size_t bytes, size_t size)
{
	const struct timespec a_while = { .tv_nsec = 20000000 };
	size_t n = bytes / size;
	char **block = get(n * sizeof(*block));
	char c;

	while (read(from, &c, 1) == 1) {
		for (size_t i = 0; i < n; i++)
			block[i] = memset(get(size), 1, size);
		for (size_t i = 0; i < n; i++)
			free(block[i]);
		(void)nanosleep(&a_while, NULL);
		if (write(to, &c, 1) != 1)
			break;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 2 ? (size_t)atol(argv[1]) << 20 : 0;
	int times = argc > 2 ? atoi(argv[2]) : 0;
	double *took = calloc((size_t)times + 1, sizeof(*took));
	int go[2], ready[2];
	int refused = 0;
	char c = 'g';

	if (times < 1 || !took || pipe(go) || pipe(ready))
		return 2;
	if (fork() == 0) {
		close(go[1]);
		idle(go[0], ready[1], bytes, argc > 3 ? (size_t)atol(argv[3]) : 65536);
	}
	for (int i = 0; i < times; i++) {
		double begin;
		void *p;

		if (write(go[1], &c, 1) != 1 || read(ready[0], &c, 1) != 1)
			return 1;
		begin = now();
		p = malloc(bytes);
		took[i] = now() - begin;
		refused += p == NULL;
		free(p);
		(void)malloc_trim(0);
	}
	qsort(took, (size_t)times, sizeof(*took), compare);
	printf("%.2f %.2f %d\n", took[times / 2], took[times * 99 / 100], refused);
	return 0;
}
