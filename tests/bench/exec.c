/* SPDX-License-Identifier: MIT */
/* Start and end of PROGRAM, median: exec COUNT PROGRAM [NAME=VALUE...] -> us. The values are its whole
 * environment, so that this process itself is not preloaded. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double once(char *program, char **env)
{
	char *argv[] = { program, NULL };
	struct timespec a, b;
	int status;
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &a);
	if (posix_spawn(&pid, program, NULL, NULL, argv, env) || waitpid(pid, &status, 0) != pid)
		exit(1);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[1]) : 0;
	double *took = calloc((size_t)n + 1, sizeof(*took));

	if (n < 1 || !took)
		return 2;
	for (int i = 0; i < n; i++)
		took[i] = once(argv[2], argv + 3);
	qsort(took, (size_t)n, sizeof(*took), compare);
	printf("%.1f\n", took[n / 2]);
	return 0;
}
