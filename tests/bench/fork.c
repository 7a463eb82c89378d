/* SPDX-License-Identifier: MIT */
/* What a fork costs a process that has free heap, and so perhaps a helper: fork MIB TIMES -> microseconds, the median of
 * fork, the child's _exit and waitpid. Between two of them it allocates, so that what was ended comes again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK ((size_t)64 << 10)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void churn(size_t n)
{
	char **block = malloc((n + 1) * sizeof(*block));

	for (size_t i = 0; block && i < n; i++)
		if ((block[i] = malloc(BLOCK)) != NULL)
			memset(block[i], 1, BLOCK);
	for (size_t i = 0; block && i < n; i++)
		free(block[i]);
	free(block);
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? ((size_t)atol(argv[1]) << 20) / BLOCK : 0;
	int times = argc > 2 ? atoi(argv[2]) : 0;
	double *took = calloc((size_t)times + 1, sizeof(*took));

	if (times < 1 || !took)
		return 2;
	churn(n);
	for (int i = 0; i < times; i++) {
		double begin = now();
		pid_t pid = fork();
		void *volatile p;

		if (pid == 0)
			_exit(0);
		if (waitpid(pid, NULL, 0) != pid)
			return 1;
		took[i] = now() - begin;
		p = malloc(100 << 10);
		free(p);
	}
	qsort(took, (size_t)times, sizeof(*took), compare);
	printf("%.1f\n", took[times / 2]);
	return 0;
}
