/* SPDX-License-Identifier: MIT */
/* At a limit: what a refused malloc costs, and how far the resident heap goes over. Fills the group from
 * THREADS threads, then: refused THREADS -> "NS KIB", ns a refused malloc and resident anonymous KiB. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REFUSALS 200000
#define THREADS_MAX 64

/* Without stdio: there is no memory left for its buffer. */
static long resident_anonymous(void)
{
	static char text[8192];
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	char *at;

	close(fd);
	text[n > 0 ? n : 0] = 0;
	at = strstr(text, "RssAnon:");
	return at ? strtol(at + 8, NULL, 10) : -1;
}

static void *fill(void *arg)
{
	unsigned x = (unsigned)(size_t)arg * 77 + 1;
	int refused = 0;

	while (refused < 1000) {
		size_t size;
		char *p;

		x = x * 1664525u + 1013904223u;
		size = (size_t)16 << (x >> 8) % 12;
		p = malloc(size);
		if (p)
			memset(p, 1, size);
		else
			refused++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t thread[THREADS_MAX];
	struct timespec a, b;
	char line[100];
	long refused = 0;

	for (int i = 0; i < threads && i < THREADS_MAX; i++)
		if (pthread_create(&thread[i], NULL, fill, (void *)(size_t)i))
			return 1;
	for (int i = 0; i < threads && i < THREADS_MAX; i++)
		pthread_join(thread[i], NULL);
	while (malloc(65536)) /* what the ended threads' caches gave back */
		;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < REFUSALS; i++)
		refused += malloc(65536) == NULL;
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (refused < REFUSALS / 100 * 99)
		return 3;
	(void)snprintf(line, sizeof(line), "%.0f %ld\n",
		       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / REFUSALS,
		       resident_anonymous());
	return write(1, line, strlen(line)) > 0 ? 0 : 1;
}
