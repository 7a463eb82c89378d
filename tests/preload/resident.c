/* SPDX-License-Identifier: MIT */
/* memory.charge=resident: what is mapped counts when it is touched, whatever is done to it afterwards. */
#include "tests/preload/live.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define CURRENT "memory.current"

/* The kernel may count resident pages per processor, in batches. */
#define SLACK (64 * PAGE)

static uint64_t base;

static void touch(char *at, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		at[i] = 1;
}

static char *map(size_t size, int prot, int flags)
{
	char *at = mmap(NULL, size, prot, ANON | flags, -1, 0);

	expect(at != MAP_FAILED);
	return at;
}

/* Not left out by a compiler that knows malloc. */
static void give_back(void *block)
{
	void *volatile seen = block;

	free(seen);
}

/* After a first allocation, so that the allocator's own beginnings are in it. */
static void begin(void)
{
	give_back(malloc(1));
	expect_true_within(SLACK);
	base = live_get(CURRENT);
}

/* As much more than in the beginning, and what the kernel says. */
static void holds_at(uint64_t bytes, int line)
{
	expect_at(live_settles(CURRENT, base + bytes, SLACK), line, "what is held");
	expect_at(live_is_true(SLACK), line, "as the kernel counts");
}
#define holds(bytes) holds_at((bytes), __LINE__)

/* What is asked for, by class: exact, and known at once. */
#define asked(class, pages) expect_equal(stage_class(class), (pages))

/* ---- mappings ----------------------------------------------------------------------------------------------- */

static int touched(void)
{
	char *p;

	begin();
	p = map(64 * MIB, RW, 0);
	asked(CLASS_ANON, 64 * MIB / PAGE);
	holds(0);
	touch(p + 8 * MIB, 10 * MIB);
	holds(10 * MIB);
	munmap(p + 2 * MIB, 4 * MIB); /* never touched */
	holds(10 * MIB);
	munmap(p + 10 * MIB, 4 * MIB); /* out of the middle */
	holds(6 * MIB);
	asked(CLASS_ANON, 56 * MIB / PAGE);
	munmap(p, 12 * MIB); /* a hole, touched, untouched */
	holds(4 * MIB);
	munmap(p, 64 * MIB);
	holds(0);
	asked(CLASS_ANON, 0);
	return stage_verdict();
}

/* A program that touches and gives back before anybody has looked. */
static int unseen(void)
{
	begin();
	for (int i = 0; i < 50; i++) {
		char *p = map(8 * MIB, RW, 0);

		touch(p, (size_t)(i % 9) * MIB / 2);
		munmap(p + (size_t)(i % 3) * MIB, 4 * MIB);
		munmap(p, 8 * MIB);
	}
	asked(CLASS_ANON, 0);
	holds(0);
	return stage_verdict();
}

static int remaps(void)
{
	char *p;
	char *q;
	char *to;

	begin();
	p = map(16 * MIB, RW, 0);
	touch(p, 6 * MIB);
	holds(6 * MIB);
	p = mremap(p, 16 * MIB, 48 * MIB, MREMAP_MAYMOVE);
	expect(p != MAP_FAILED);
	holds(6 * MIB);
	touch(p + 40 * MIB, 4 * MIB);
	holds(10 * MIB);
	expect(mremap(p, 48 * MIB, 42 * MIB, 0) == p);
	holds(8 * MIB);
	to = map(64 * MIB, RW, 0);
	touch(to + 10 * MIB, 5 * MIB);
	holds(13 * MIB);
	q = mremap(p, 42 * MIB, 42 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to); /* onto what is touched */
	expect(q == to);
	holds(8 * MIB);
	q = mremap(to, 8 * MIB, 8 * MIB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (q != MAP_FAILED) { /* moved, and the old range is empty */
		holds(8 * MIB);
		touch(to, MIB);
		holds(9 * MIB);
		munmap(q, 8 * MIB);
		holds(3 * MIB);
	}
	munmap(to, 64 * MIB);
	holds(0);
	p = map(128 * PAGE, RW, 0); /* charged at once, and grows into what is only granted */
	p = mremap(p, 128 * PAGE, 8 * MIB, MREMAP_MAYMOVE);
	touch(p, 2 * MIB);
	holds(2 * MIB);
	p = mremap(p, 8 * MIB, 64 * PAGE, 0);
	holds(64 * PAGE);
	munmap(p, 64 * PAGE);
	holds(0);
	asked(CLASS_ANON, 0);
	return stage_verdict();
}

static int advice(void)
{
	char *p;

	begin();
	p = map(32 * MIB, RW, 0);
	touch(p, 16 * MIB);
	holds(16 * MIB);
	expect(madvise(p, 8 * MIB, MADV_DONTNEED) == 0);
	holds(8 * MIB);
	touch(p, 2 * MIB);
	holds(10 * MIB);
	expect(madvise(p, 32 * MIB, MADV_FREE) == 0); /* the kernel takes them when it wants to */
	expect_true_within(SLACK);
	touch(p, 10 * MIB);
	expect_true_within(SLACK);
	expect(madvise(p, 32 * MIB, MADV_DONTNEED) == 0);
	holds(0);
	asked(CLASS_ANON, 32 * MIB / PAGE);
	touch(p, 3 * MIB);
	munmap(p, 32 * MIB);
	holds(0);
	p = map(128 * PAGE, RW, 0); /* charged at once */
	touch(p, 128 * PAGE);
	for (int i = 0; i < 10; i++) {
		expect(madvise(p, 128 * PAGE, MADV_DONTNEED) == 0);
		touch(p, 64 * PAGE);
	}
	munmap(p, 128 * PAGE);
	holds(0);
	return stage_verdict();
}

static int reserved(void)
{
	char *p;

	begin();
	p = map(256 * MIB, PROT_NONE, MAP_NORESERVE);
	asked(CLASS_ANON, 0);
	holds(0);
	expect(mprotect(p + 100 * MIB, 64 * MIB, RW) == 0);
	asked(CLASS_ANON, 64 * MIB / PAGE);
	holds(0);
	touch(p + 120 * MIB, 12 * MIB);
	holds(12 * MIB);
	expect(mprotect(p + 100 * MIB, 64 * MIB, PROT_NONE) == 0); /* they are still there */
	holds(12 * MIB);
	expect(mmap(p + 124 * MIB, 4 * MIB, PROT_NONE, ANON | MAP_FIXED, -1, 0) == p + 124 * MIB);
	holds(8 * MIB);
	munmap(p, 256 * MIB);
	holds(0);
	asked(CLASS_ANON, 0);
	return stage_verdict();
}

static int fixed(void)
{
	char *p;

	begin();
	p = map(32 * MIB, RW, 0);
	touch(p, 16 * MIB);
	holds(16 * MIB);
	expect(mmap(p + 8 * MIB, 16 * MIB, RW, ANON | MAP_FIXED, -1, 0) == p + 8 * MIB);
	holds(8 * MIB);
	expect(mmap(p, 4 * MIB, PROT_READ, MAP_PRIVATE | MAP_FIXED, 0, 0) == MAP_FAILED ||
	       true); /* standard input may be anything */
	expect_true_within(SLACK);
	expect(mmap(p, 64 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p); /* charged at once, over what was granted */
	touch(p, 32 * MIB);
	holds(32 * MIB);
	munmap(p, 32 * MIB);
	holds(0);
	asked(CLASS_ANON, 0);
	return stage_verdict();
}

static int flags(void)
{
	struct rlimit lock = { 0, 0 };
	char *p;

	begin();
	p = map(8 * MIB, RW, MAP_POPULATE);
	holds(8 * MIB);
	munmap(p, 8 * MIB);
	p = map(8 * MIB, RW, MAP_NORESERVE);
	holds(0);
	touch(p, MIB);
	holds(MIB);
	munmap(p, 8 * MIB);
	p = map(8 * MIB, RW, MAP_GROWSDOWN | MAP_STACK);
	asked(CLASS_STACK, 8 * MIB / PAGE);
	holds(0);
	touch(p + 6 * MIB, 2 * MIB);
	holds(2 * MIB);
	munmap(p, 8 * MIB);
	holds(0);
	(void)getrlimit(RLIMIT_MEMLOCK, &lock);
	if (lock.rlim_cur >= 4 * MIB) {
		p = map(2 * MIB, RW, MAP_LOCKED);
		holds(2 * MIB);
		munmap(p, 2 * MIB);
	}
	holds(0);
	return stage_verdict();
}

/* Where the administrator has set none aside, asking for one fails and leaves nothing behind. */
static int without_huge(void)
{
	begin();
	expect(mmap(NULL, 4 * MIB, RW, ANON | MAP_HUGETLB, -1, 0) == MAP_FAILED);
	asked(CLASS_ANON, 0);
	holds(0);
	return stage_verdict();
}

/* Not counted, as by the kernel's controller: huge pages are no one's to give but the administrator's. */
static int huge(void)
{
	char *p = mmap(NULL, 4 * MIB, RW, ANON | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		return without_huge();
	begin();
	asked(CLASS_ANON, 0);
	touch(p, 4 * MIB);
	holds(0);
	munmap(p + 2 * MIB, 2 * MIB);
	holds(0);
	munmap(p, 2 * MIB);
	holds(0);
	live_set("memory.charge=commit");
	base = live_get(CURRENT);
	p = mmap(NULL, 4 * MIB, RW, ANON | MAP_HUGETLB, -1, 0);
	expect(p != MAP_FAILED);
	expect_settles(CURRENT, base, SLACK);
	munmap(p, 4 * MIB);
	return stage_verdict();
}

/* ---- the heap, the break, stacks ---------------------------------------------------------------------------- */

static int breaks(void)
{
	char *p;

	begin();
	p = sbrk(64 * (intptr_t)MIB);
	if (p == (char *)-1)
		return STAGE_SKIP;
	holds(0);
	touch(p, 8 * MIB);
	holds(8 * MIB);
	expect(brk(p + 4 * MIB) == 0);
	holds(4 * MIB);
	expect(brk(p) == 0);
	holds(0);
	return stage_verdict();
}

/* Charged when it is asked for; given back when it is found untouched; not twice when it goes. */
static int heap(void)
{
	char *p;

	give_back(calloc(512, MIB)); /* our own records of so much address space: 128 KiB */
	begin();
	p = calloc(512, MIB);
	expect(p != NULL);
	holds(0);
	touch(p, 16 * MIB);
	holds(16 * MIB);
	free(p);
	(void)malloc_trim(0);
	holds(0);
	p = malloc(64 * MIB);
	touch(p, 64 * MIB);
	expect(live_get(CURRENT) >= base + 63 * MIB);
	holds(64 * MIB);
	p = realloc(p, 32 * MIB);
	(void)malloc_trim(0);
	holds(32 * MIB);
	free(p);
	(void)malloc_trim(0);
	holds(0);
	return stage_verdict();
}

static pthread_barrier_t all;

static void *use_stack(void *arg)
{
	touch(__builtin_alloca(2 * MIB), 2 * MIB);
	pthread_barrier_wait(&all);
	pthread_barrier_wait(&all);
	return arg;
}

static int stacks(void)
{
	pthread_t t[4];

	begin();
	pthread_barrier_init(&all, NULL, 5);
	for (int i = 0; i < 4; i++)
		expect(pthread_create(&t[i], NULL, use_stack, NULL) == 0);
	pthread_barrier_wait(&all);
	expect_true_within(SLACK);
	expect(live_get(CURRENT) > base + 8 * MIB - SLACK && live_get(CURRENT) < base + 10 * MIB);
	pthread_barrier_wait(&all);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	expect_true_within(SLACK);
	return stage_verdict();
}

/* Locked memory, as the kernel's "unevictable": shown apart, in the sum once. What is locked on fault counts when
 * it is touched. */
static int locked(void)
{
	struct rlimit limit = { 0, 0 };
	uint64_t anon;
	char *p;

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur < 32 * MIB && geteuid() != 0)
		return STAGE_SKIP;
	begin();
	p = map(24 * MIB, RW, 0);
	touch(p, 8 * MIB);
	holds(8 * MIB);
	anon = live_get("memory.stat.anon");
	expect_equal(live_get("memory.stat.pinned"), 0);
	expect(mlock(p + 4 * MIB, 8 * MIB) == 0); /* half of it untouched: locking touches */
	holds(12 * MIB);
	expect_settles("memory.stat.pinned", 8 * MIB, SLACK);
	expect_settles("memory.stat.anon", anon - 4 * MIB, SLACK);
	expect(munlock(p + 4 * MIB, 4 * MIB) == 0);
	expect_settles("memory.stat.pinned", 4 * MIB, SLACK);
	expect(mlock2(p + 12 * MIB, 12 * MIB, MLOCK_ONFAULT) == 0);
	expect_settles("memory.stat.pinned", 4 * MIB, SLACK);
	touch(p + 12 * MIB, 2 * MIB);
	expect_settles("memory.stat.pinned", 6 * MIB, SLACK);
	holds(14 * MIB);
	munmap(p, 10 * MIB);
	expect_settles("memory.stat.pinned", 4 * MIB, SLACK);
	expect(mlockall(MCL_CURRENT | MCL_ONFAULT) == 0);
	expect_settles("memory.stat.pinned", live_truth(), SLACK);
	expect(munlockall() == 0);
	expect_equal(live_get("memory.stat.pinned"), 0);
	munmap(p, 24 * MIB);
	holds(0);
	return stage_verdict();
}

/* ---- the other mode ----------------------------------------------------------------------------------------- */

static uint64_t sum_of_classes(void)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < CLASSES; c++)
		n += stage_class((enum class)c) * PAGE;
	return n;
}

static int switches(void)
{
	char *p;
	char *block;

	begin();
	p = map(64 * MIB, RW, 0);
	touch(p, 16 * MIB);
	block = malloc(32 * MIB);
	touch(block, 8 * MIB);
	holds(24 * MIB);
	for (int i = 0; i < 3; i++) {
		live_set("memory.charge=commit");
		expect_settles(CURRENT, sum_of_classes(), 0);
		expect(sum_of_classes() >= 96 * MIB);
		munmap(p, 32 * MIB);
		expect_settles(CURRENT, sum_of_classes(), 0);
		expect(mmap(p, 32 * MIB, RW, ANON | MAP_FIXED, -1, 0) == p);
		expect_settles(CURRENT, sum_of_classes(), 0);
		live_set("memory.charge=resident");
		holds(8 * MIB);
		touch(p, 16 * MIB);
		holds(24 * MIB);
	}
	live_set("memory.charge=commit");
	expect_settles(CURRENT, sum_of_classes(), 0);
	munmap(p, 64 * MIB);
	free(block);
	expect_settles(CURRENT, sum_of_classes(), 0);
	return stage_verdict();
}

/* ---- over the limit ----------------------------------------------------------------------------------------- */

/* What the daemon has charged by itself: nobody asks. */
static bool is_noticed(void *bytes)
{
	return stage_held() * PAGE + SLACK >= *(uint64_t *)bytes;
}

static void refuses(size_t size)
{
	errno = 0;
	expect(mmap(NULL, size, RW, ANON, -1, 0) == MAP_FAILED && errno == ENOMEM);
	errno = 0;
	expect(malloc(size) == NULL && errno == ENOMEM);
}

/* The limit is 64 MiB: 52 are touched and known when 44 more are. */
static int overruns(void)
{
	uint64_t end = 96 * MIB, began;
	void *block;
	char *p;

	begin();
	p = map(256 * MIB, RW, 0);
	touch(p, 52 * MIB);
	holds(52 * MIB);
	expect_equal(live_get("memory.stat.over_lazy"), 0);
	touch(p + 52 * MIB, 44 * MIB);
	began = live_now_ns();
	expect(stage_until(is_noticed, &end));
	fprintf(stderr, "# an overrun was noticed after %.1f ms\n", (double)(live_now_ns() - began) / 1e6);
	holds(96 * MIB);
	expect(live_get("memory.stat.over_lazy") > 0);
	expect(live_get("memory.events.over") > 0);
	refuses(MIB);
	refuses(8 * MIB);
	expect(mmap(NULL, 64 * PAGE, RW, ANON, -1, 0) == MAP_FAILED);
	touch(p, 96 * MIB); /* what is granted is granted */
	munmap(p, 64 * MIB);
	block = malloc(4 * MIB);
	expect(block != NULL);
	free(block);
	munmap(map(8 * MIB, RW, 0), 8 * MIB);
	holds(32 * MIB);
	munmap(p + 64 * MIB, 192 * MIB); /* what lay before may be the heap's by now */
	(void)malloc_trim(0);
	holds(0);
	return stage_verdict();
}

/* Again and again, each time with what was left untouched: the program's own look, before large memory is
 * granted, sees what was touched since anybody looked. */
static int creeps(void)
{
	unsigned n = 0;
	char *p;

	begin();
	while ((p = mmap(NULL, 4 * MIB, RW, ANON, -1, 0)) != MAP_FAILED && n++ < 1000)
		touch(p, 4 * MIB);
	expect(n * 4 * MIB + base <= 68 * MIB);
	expect(n * 4 * MIB >= 48 * MIB);
	refuses(4 * MIB);
	expect_true_within(SLACK);
	return stage_verdict();
}

static const struct live_scene scenes[] = {
	{ "touched", "a large mapping counts as far as it is touched", touched, { NULL } },
	{ "unseen", "touched and given back before anybody has looked", unseen, { NULL } },
	{ "remaps", "mremap of what is partly touched", remaps, { NULL } },
	{ "advice", "MADV_DONTNEED and MADV_FREE", advice, { NULL } },
	{ "reserved", "reservations opened by mprotect, and touched", reserved, { NULL } },
	{ "fixed", "MAP_FIXED over what is partly touched", fixed, { NULL } },
	{ "flags", "MAP_POPULATE, _NORESERVE, _GROWSDOWN, _LOCKED", flags, { NULL } },
	{ "huge", "huge pages from the administrator's pool are not counted", huge, { NULL } },
	{ "breaks", "the break", breaks, { NULL } },
	{ "heap", "calloc of 512 MiB that nobody touches", heap, { NULL } },
	{ "stacks", "stacks that the C library makes", stacks, { NULL } },
	{ "locked", "mlock and its kin: shown as pinned", locked, { NULL } },
	{ "switches", "memory.charge changed back and forth under a running program", switches, { NULL } },
	{ "overruns",
	  "memory.max overrun by touching: noticed, counted, refused from then on",
	  overruns,
	  { "memory.max=64M" } },
	{ "creeps", "memory.max cannot be overrun by many mappings, each touched", creeps, { "memory.max=64M" } },
};

int main(int argc, char *argv[])
{
	return live_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
}
