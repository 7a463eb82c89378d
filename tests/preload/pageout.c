/* SPDX-License-Identifier: MIT */
/* Paging out what a process does not use, with real swap (tests/lib/with_swap): a request that a
 * limit refuses is granted after it; what was paged out comes back as it was; what is in use stays;
 * swap is charged and limited. */
#include "accounting/account.h"
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define HALF (128 * MIB)
#define WANTED (96 * MIB)
#define LIMIT STAGE_MIB(300)
#define ASK_SECONDS 60

/* ---- the preloaded program ------------------------------------------------------------------------------- */

static char *hot;
static mc_word32 reading, rounds, brought_back;

static uint64_t pattern(const char *page)
{
	return (uintptr_t)page * 0x9e3779b97f4a7c15u;
}

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(2);
	return p;
}

/* An eighth of each page is random: it compresses, but not to nothing. There is no daemon that
 * would charge what was touched; the next large mapping does. */
static void fill(char *at, size_t size)
{
	uint64_t seed = 88172645463325252u;

	for (char *page = at; page < at + size; page += MC_PAGE_SIZE) {
		uint64_t *word = (uint64_t *)(void *)page;

		word[0] = pattern(page);
		for (unsigned i = 1; i < 64; i++)
			word[i] = ground_random(&seed);
	}
	(void)munmap(map(2 * MIB), 2 * MIB);
}

static unsigned count_wrong(const char *at, size_t size)
{
	unsigned wrong = 0;

	for (const char *page = at; page < at + size; page += MC_PAGE_SIZE)
		wrong += *(const uint64_t *)(const void *)page != pattern(page);
	return wrong;
}

/* Never swaps anything in. */
static unsigned count_swapped(const char *at, size_t size)
{
	static uint64_t entry[HALF / MC_PAGE_SIZE];
	size_t pages = size / MC_PAGE_SIZE;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned swapped = 0;

	if (pread(fd, entry, pages * 8, (off_t)((uintptr_t)at / MC_PAGE_SIZE * 8)) != (ssize_t)(pages * 8))
		pages = 0;
	(void)close(fd);
	for (size_t i = 0; i < pages; i++)
		swapped += entry[i] >> 62 & 1;
	return swapped;
}

static void *use(void *arg)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct rusage usage;

	(void)arg;
	(void)setpriority(PRIO_PROCESS, 0, -15); /* others may have the processors for longer than a page may rest */
	for (;;) {
		for (size_t i = 0; i < HALF; i += MC_PAGE_SIZE) {
			volatile char *p = hot + i + 2048;

			if (mc_load_relaxed(&reading))
				(void)*p;
			else
				*p = (char)i;
		}
		(void)getrusage(RUSAGE_THREAD, &usage);
		mc_store_relaxed(&brought_back, (uint32_t)usage.ru_majflt);
		mc_add_relaxed(&rounds, 1);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

static bool has_used_all(void *arg)
{
	return mc_load_relaxed(&rounds) > *(uint32_t *)arg;
}

/* Two mappings for the kernel too: next to each other it makes them one. */
static char *map_apart(void)
{
	char *p = map(2 * HALF + MC_PAGE_SIZE);

	(void)mprotect(p + HALF, MC_PAGE_SIZE, PROT_NONE);
	return p;
}

/* A refused request may come too soon after another one, or the machine be very busy. */
static char *ask_for(size_t size)
{
	struct timespec t, pause = { .tv_nsec = 20000000 };
	time_t end;
	char *p;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = t.tv_sec + ASK_SECONDS;
	while ((p = malloc(size)) == NULL && t.tv_sec < end) {
		nanosleep(&pause, NULL);
		clock_gettime(CLOCK_MONOTONIC, &t);
	}
	if (p)
		memset(p, 1, size);
	return p;
}

static uint32_t own_slot(void)
{
	const struct segment *seg = stage_segment();
	uint32_t i = 0;

	while (member_pid(mc_load_full(&member_of(seg, i)->state)) != (uint32_t)getpid())
		i++;
	return i;
}

static void start_using(void)
{
	static uint32_t seen;
	pthread_t thread;

	expect(pthread_create(&thread, NULL, use, NULL) == 0);
	expect(stage_until(has_used_all, &seen));
}

/* What is `cold` of two halves goes, so that WANTED fits; the other half stays. */
static int make_room(char *cold, const char *how)
{
	unsigned gone, taken;
	char *p;

	fill(cold, HALF);
	fill(hot, HALF);
	start_using();
	p = ask_for(WANTED);
	expect(p != NULL);
	gone = count_swapped(cold, HALF);
	taken = count_swapped(hot, HALF) + mc_load_relaxed(&brought_back);
	fprintf(stderr, "# %s: %u pages of the cold half were paged out, %u (%.2f %%) of the hot half\n", how, gone,
		taken, 100.0 * taken / (double)(HALF / MC_PAGE_SIZE));
	expect(gone >= STAGE_MIB(50));
	expect(taken <= HALF / MC_PAGE_SIZE / 20);
	expect(member_held(stage_segment(), own_slot(), RESOURCE_SWAP) >= gone);
	expect(member_held(stage_segment(), own_slot(), RESOURCE_MEMORY) <= LIMIT);
	expect(mc_load_full(&member_of(stage_segment(), own_slot())->reclaimed) >= gone);
	free(p);
	expect_equal(count_wrong(cold, HALF), 0);
	expect_equal(count_wrong(hot, HALF), 0);
	return stage_verdict();
}

static int two_mappings(void)
{
	char *p = map_apart();

	hot = p + HALF + MC_PAGE_SIZE;
	return make_room(p, "two mappings");
}

static int one_mapping(void)
{
	char *p = map(2 * HALF);

	hot = p;
	return make_room(p + HALF, "one mapping");
}

static int one_mapping_read(void)
{
	mc_store_relaxed(&reading, 1);
	return one_mapping();
}

/* Given up by the program, it goes without going to swap. */
static int gives_up(void)
{
	char *p = map(HALF), *q = map(HALF);

	fill(p, HALF);
	fill(q, HALF);
	expect(madvise(p, HALF, MADV_FREE) == 0);
	hot = q;
	start_using();
	expect(ask_for(WANTED) != NULL);
	expect_equal(count_swapped(p, HALF), 0);
	expect(member_held(stage_segment(), own_slot(), RESOURCE_SWAP) <= STAGE_MIB(16)); /* of other mappings */
	return stage_verdict();
}

/* Nothing of it may go: refused, and all where it was. */
static int is_refused(void)
{
	char *p = map(2 * HALF);

	fill(p, 2 * HALF);
	expect(malloc(WANTED) == NULL);
	expect(malloc(WANTED) == NULL);
	expect_equal(count_swapped(p, HALF) + count_swapped(p + HALF, HALF), 0);
	expect_equal(member_held(stage_segment(), own_slot(), RESOURCE_SWAP), 0);
	return stage_verdict();
}

/* A part may go: as much, and not a page more. */
static int is_limited(void)
{
	uint64_t max = STAGE_MIB(16);
	char *p = map(2 * HALF);

	fill(p, 2 * HALF);
	expect(ask_for(48 * MIB) != NULL); /* 300 - 256, and 16 */
	expect(malloc(WANTED) == NULL);
	expect(count_swapped(p, HALF) + count_swapped(p + HALF, HALF) <= max);
	expect(member_held(stage_segment(), own_slot(), RESOURCE_SWAP) <= max);
	expect_equal(count_wrong(p, 2 * HALF), 0);
	return stage_verdict();
}

/* A child that fork makes while its parent is paging out has no helper, and all its memory. */
static int forks_meanwhile(void)
{
	char *p = map(2 * HALF);

	fill(p, 2 * HALF);
	for (unsigned i = 0; i < 8; i++) {
		pid_t pid;
		int status = 0;

		free(ask_for(WANTED));
		pid = fork();
		if (pid == 0)
			_exit(count_wrong(p, 2 * HALF) ? 1 : 0);
		expect(waitpid(pid, &status, 0) == pid && status == 0);
	}
	return stage_verdict();
}

/* ---- backstage ------------------------------------------------------------------------------------------- */

enum hindrance { NO_HINDRANCE, NO_SWAP_MAX, NO_SWAPPINESS, ALL_CHARGED, SOME_SWAP_MAX, SWITCHED_OFF };

static const struct play {
	struct scene scene;
	enum hindrance hindrance;
} plays[] = {
	{ { "two_mappings", "a mapping that is not used goes, one in use stays", two_mappings, LIMIT }, NO_HINDRANCE },
	{ { "one_mapping", "the unused part of a mapping goes", one_mapping, LIMIT }, NO_HINDRANCE },
	{ { "one_mapping_read", "what is only read is in use", one_mapping_read, LIMIT }, NO_HINDRANCE },
	{ { "gives_up", "what MADV_FREE gave up goes, not to swap", gives_up, LIMIT }, NO_HINDRANCE },
	{ { "forks_meanwhile", "fork while memory is paged out", forks_meanwhile, LIMIT }, NO_HINDRANCE },
	{ { "is_limited", "memory.swap.max: no page more", is_limited, LIMIT }, SOME_SWAP_MAX },
	{ { "is_refused", "memory.swap.max=0: nothing goes", is_refused, LIMIT }, NO_SWAP_MAX },
	{ { "is_refused", "memory.swappiness=0: nothing goes", is_refused, LIMIT }, NO_SWAPPINESS },
	{ { "is_refused", "memory.charge=commit: nothing goes, for it would not count", is_refused, LIMIT },
	  ALL_CHARGED },
	{ { "is_refused", "MEMCTL_PAGEOUT=off: nothing goes", is_refused, LIMIT }, SWITCHED_OFF },
};

static void hinder(struct stage *s, enum hindrance h)
{
	struct segment *seg = &s->ground.seg;

	seg->limits->group[s->group].charge_mode = h == ALL_CHARGED ? CHARGE_COMMIT : CHARGE_RESIDENT;
	if (h == NO_SWAPPINESS)
		seg->limits->group[s->group].swappiness = 0;
	if (h == NO_SWAP_MAX)
		mc_store_full(&seg->limits->limits[RESOURCE_SWAP][s->group].max, 0);
	if (h == SOME_SWAP_MAX)
		mc_store_full(&seg->limits->limits[RESOURCE_SWAP][s->group].max, STAGE_MIB(16));
	if (h == SWITCHED_OFF)
		(void)setenv("MEMCTL_PAGEOUT", "off", 1);
	else
		(void)unsetenv("MEMCTL_PAGEOUT");
}

static void play(const struct play *p)
{
	char *argv[] = { (char *)(uintptr_t)stage_self(), (char *)(uintptr_t)p->scene.name, NULL };
	struct stage s;
	bool good;

	stage_up(&s, p->scene.max);
	hinder(&s, p->hindrance);
	good = stage_wait(stage_start(&s, argv, NULL)) == 0;
	good = stage_is_empty(&s) && good;
	good = pool_usage(mc_load_full(&pool_of(&s.ground.seg, RESOURCE_SWAP, GROUP_ROOT)->word)) == 0 && good;
	tap_ok(good, "%s", p->scene.sentence);
	stage_down(&s);
}

/* Again, with swap. */
static void start_with_swap(void)
{
	char *again[] = { (char *)(uintptr_t)WITH_SWAP, (char *)(uintptr_t)stage_self(), NULL };

	execv(WITH_SWAP, again);
	ground_bail("%s: %s", WITH_SWAP, strerror(errno));
}

int main(int argc, char *argv[])
{
	const unsigned n = sizeof(plays) / sizeof(plays[0]);

	for (unsigned i = 0; argc > 1 && i < n; i++)
		if (strcmp(argv[1], plays[i].scene.name) == 0)
			return plays[i].scene.play();
	if (!getenv("MEMCTL_TEST_SWAP"))
		start_with_swap();
	for (unsigned i = 0; i < n; i++)
		if (*getenv("MEMCTL_TEST_SWAP"))
			play(&plays[i]);
		else
			tap_skip(getenv("MEMCTL_TEST_NO_SWAP"), "%s", plays[i].scene.sentence);
	return tap_end();
}
