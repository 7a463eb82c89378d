/* SPDX-License-Identifier: MIT */
/* malloc and free of 16 to 1024 bytes in a window of 4096 blocks: pairs THREADS PAIRS -> ns a pair. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WINDOW 4096
#define THREADS_MAX 64

static long pairs;

static void *work(void *arg)
{
	static __thread char *slot[WINDOW];
	unsigned x = 12345;

	(void)arg;
	for (long i = 0; i < pairs; i++) {
		unsigned k, size;

		x = x * 1664525u + 1013904223u;
		k = (x >> 8) % WINDOW;
		size = 16 + (x >> 4) % 1009;
		free(slot[k]);
		slot[k] = malloc(size);
		if (!slot[k])
			abort();
		slot[k][0] = slot[k][size - 1] = 1;
	}
	for (int i = 0; i < WINDOW; i++)
		free(slot[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 2 ? atoi(argv[1]) : 1;
	pthread_t thread[THREADS_MAX];
	struct timespec a, b;

	pairs = argc > 2 ? atol(argv[2]) : 1000000;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < threads && i < THREADS_MAX; i++)
		if (pthread_create(&thread[i], NULL, work, NULL))
			return 1;
	for (int i = 0; i < threads && i < THREADS_MAX; i++)
		pthread_join(thread[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.3f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)pairs);
	return 0;
}
