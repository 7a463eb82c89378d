/* SPDX-License-Identifier: MIT */
/* A heap of 16 sites that differ in size and share, filled to 256 MiB with churn: profile -> "site bytes" a line, what is
 * live in truth (usable sizes), then it dies by SIGKILL, so that its picture is all that is left. profile time: how long
 * that took instead, in ns a block. */
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEAP (256ul << 20)
#define SLOTS 2000000u

struct block {
	void *p;
	unsigned site;
};

static struct block slot[SLOTS];
static uint64_t live[16];
static uint64_t state = 88172645463325252ull;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

/* Each its own function, so that each is a site. */
#define SITE(n, low, high) \
	__attribute__((noinline)) static void *site_##n(void) \
	{ \
		size_t size = (low) + draw() % ((high) - (low) + 1); \
		char *p = malloc(size); \
\
		if (!p) \
			abort(); \
		memset(p, n, size); \
		return p; \
	}
SITE(0, 16, 1024)
SITE(1, 64, 64)
SITE(2, 1000, 9000)
SITE(3, 24, 200)
SITE(4, 100, 100)
SITE(5, 4096, 4096)
SITE(6, 16, 64)
SITE(7, 300, 700)
SITE(8, 20000, 60000)
SITE(9, 48, 4000)
SITE(10, 100000, 300000)
SITE(11, 16, 2048)
SITE(12, 80, 80)
SITE(13, 500, 500)
SITE(14, 16, 16)
SITE(15, 1, 3000)

static void *(*const sites[16])(void) = { site_0, site_1, site_2,  site_3,  site_4,  site_5,  site_6,  site_7,
					  site_8, site_9, site_10, site_11, site_12, site_13, site_14, site_15 };
/* Of 1000 bytes. */
static const unsigned share[16] = { 190, 60, 120, 100, 50, 80, 40, 70, 60, 60, 50, 40, 30, 20, 10, 20 };

static unsigned neediest(uint64_t heap)
{
	unsigned best = 0;
	double most = -1e18;

	for (unsigned i = 0; i < 16; i++) {
		double lacks = (double)heap * share[i] / 1000 - (double)live[i];

		if (lacks > most) {
			most = lacks;
			best = i;
		}
	}
	return best;
}

static void drop(struct block *b)
{
	if (b->p)
		live[b->site] -= malloc_usable_size(b->p);
	free(b->p);
	b->p = NULL;
}

static uint64_t fill(void)
{
	uint64_t total = 0, blocks = 0;

	while (total < HEAP) {
		struct block *b = &slot[draw() % SLOTS];
		size_t had = b->p ? malloc_usable_size(b->p) : 0;

		drop(b);
		b->site = neediest(HEAP);
		b->p = sites[b->site]();
		total += malloc_usable_size(b->p) - had;
		live[b->site] += malloc_usable_size(b->p);
		blocks++;
	}
	return blocks;
}

int main(int argc, char **argv)
{
	struct timespec a, b;
	uint64_t blocks;

	clock_gettime(CLOCK_MONOTONIC, &a);
	blocks = fill();
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (argc > 1 && strcmp(argv[1], "time") == 0) {
		printf("%.3f\n",
		       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)blocks);
		return 0;
	}
	for (unsigned i = 0; i < 16; i++)
		printf("site_%u %llu\n", i, (unsigned long long)live[i]);
	fflush(stdout);
	return raise(SIGKILL);
}
