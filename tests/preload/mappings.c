/* SPDX-License-Identifier: MIT */
/* What the mapping calls charge, to the page, and that they behave as libc's otherwise. */
#include "tests/preload/stage.h"

#include "accounting/member.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ull
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static uint64_t base; /* what is held before */

static void begin(void)
{
	void *volatile block = malloc(1);

	(void)stage_segment();
	free(block);
	expect_at(stage_held() > 0, __LINE__, "the scene is charged at all");
	base = stage_held();
}

/* The group's current, less what it was in the beginning; errno as it was set to before the call. */
static void now_at(int64_t pages, int line)
{
	expect_equal_at(stage_held() - base, (uint64_t)pages, line, "pages held");
	expect_at(errno == 4711, line, "errno is untouched");
	errno = 4711;
}
#define holds(pages) now_at((pages), __LINE__)

/* A call that fails with `error`. */
static void failed_with(int error, bool failed, int line, const char *text)
{
	expect_at(failed, line, text);
	expect_equal_at((uint64_t)errno, (uint64_t)error, line, text);
	errno = 4711;
}
#define fails(error, failing) failed_with((error), (failing), __LINE__, #failing)

static char *map(uint64_t pages, int prot, int flags)
{
	return mmap(NULL, pages * PAGE, prot, flags, -1, 0);
}

static char *map_at(char *at, uint64_t pages, int prot, int flags)
{
	return mmap(at, pages * PAGE, prot, flags | MAP_FIXED, -1, 0);
}

static int unmap(char *at, uint64_t pages)
{
	return munmap(at, pages * PAGE);
}

static int kinds(void)
{
	char *p;
	char *q;
	FILE *f;

	begin();
	errno = 4711;
	p = map(10, RW, ANON);
	holds(10);
	expect_equal(stage_class(CLASS_ANON), 10);
	q = map(5, RW, MAP_SHARED | MAP_ANONYMOUS);
	holds(15);
	expect_equal(stage_class(CLASS_SHMEM), 5);
	unmap(p, 10);
	holds(5);
	unmap(q, 5);
	holds(0);
	expect_equal(stage_class(CLASS_SHMEM), 0);
	p = map(8, RW, ANON | MAP_STACK);
	expect_equal(stage_class(CLASS_STACK), 8);
	unmap(p, 8);
	expect_equal(stage_class(CLASS_STACK), 0);
	p = map(2, RW, ANON | MAP_LOCKED);
	if (p != MAP_FAILED) {
		expect_equal(stage_class(CLASS_PINNED), 2);
		unmap(p, 2);
	}
	errno = 4711;
	holds(0);
	p = mmap(NULL, 1, RW, ANON, -1, 0); /* sizes are rounded up */
	holds(1);
	munmap(p, 100);
	holds(0);
	f = fopen("/proc/self/exe", "re");
	base = stage_held(); /* stdio's buffer */
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fileno(f), 0);
	expect(p != MAP_FAILED);
	errno = 4711;
	holds(0);
	unmap(p, 1);
	holds(0);
	fclose(f);
	return stage_verdict();
}

static int reservations(void)
{
	char *p;

	begin();
	errno = 4711;
	p = map(100, PROT_NONE, ANON | MAP_NORESERVE);
	holds(0);
	mprotect(p + 10 * PAGE, 20 * PAGE, RW);
	holds(20);
	mprotect(p + 10 * PAGE, 20 * PAGE, RW);
	holds(20);
	mprotect(p, 40 * PAGE, PROT_READ);
	holds(40);
	mprotect(p, 40 * PAGE, PROT_NONE); /* the pages may be there: they stay charged */
	holds(40);
	mprotect(p, 40 * PAGE, RW);
	holds(40);
	memset(p, 1, 40 * PAGE);
	expect(map_at(p + 50 * PAGE, 10, RW, ANON) != MAP_FAILED);
	holds(50);
	mprotect(p, 100 * PAGE, RW);
	holds(100);
	expect(map_at(p, 100, PROT_NONE, ANON) == p);
	holds(0);
	mprotect(p + 99 * PAGE, 1, RW);
	holds(1);
	unmap(p, 100);
	holds(0);
	return stage_verdict();
}

static int fixed(void)
{
	char *p;

	begin();
	errno = 4711;
	p = map(110, PROT_NONE, ANON);
	unmap(p + 100 * PAGE, 10);
	expect(map_at(p, 100, RW, ANON) == p);
	holds(100);
	expect(map_at(p, 100, RW, ANON) == p);
	holds(100);
	expect(map_at(p + 10 * PAGE, 10, PROT_NONE, ANON) == p + 10 * PAGE);
	holds(90);
	expect(map_at(p + 5 * PAGE, 10, RW, ANON) == p + 5 * PAGE); /* half of it reserved */
	holds(95);
	expect(map_at(p + 90 * PAGE, 20, RW, MAP_SHARED | MAP_ANONYMOUS) != MAP_FAILED); /* and beyond */
	holds(105);
	expect_equal(stage_class(CLASS_SHMEM), 20);
	unmap(p + 80 * PAGE, 20);
	holds(85);
	expect_equal(stage_class(CLASS_SHMEM), 10);
	expect_equal(stage_class(CLASS_ANON), 75);
	fails(EEXIST, mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
	holds(85);
	unmap(p, 110);
	holds(0);
	return stage_verdict();
}

static int holes(void)
{
	char *p;

	begin();
	errno = 4711;
	p = map(200, RW, ANON);
	unmap(p, 10);
	holds(190);
	unmap(p + 190 * PAGE, 10);
	holds(180);
	unmap(p + 100 * PAGE, 10);
	holds(170);
	unmap(p + 95 * PAGE, 20); /* across the hole */
	holds(160);
	unmap(p, 200);
	holds(0);
	unmap(p, 200); /* nothing there any more */
	holds(0);
	p = map(200, RW, ANON);
	for (int i = 0; i < 200; i += 2)
		unmap(p + i * (int64_t)PAGE, 1);
	holds(100);
	unmap(p + 10 * PAGE, 180); /* many runs */
	holds(10);
	unmap(p, 200);
	holds(0);
	return stage_verdict();
}

/* Replaces 200 pages of many runs at once: by a mapping, by mremap, and by mprotect. */
static int many_runs(void)
{
	char *p;
	char *q;

	begin();
	errno = 4711;
	p = map(200, PROT_NONE, ANON);
	for (int i = 0; i < 200; i += 2)
		mprotect(p + i * (int64_t)PAGE, PAGE, RW);
	holds(100);
	mprotect(p, 200 * PAGE, RW);
	holds(200);
	for (int i = 0; i < 200; i += 2)
		(void)map_at(p + i * (int64_t)PAGE, 1, RW, MAP_SHARED | MAP_ANONYMOUS);
	holds(200);
	expect_equal(stage_class(CLASS_SHMEM), 100);
	fails(EINVAL, munmap(p + 1, 200 * PAGE) != 0);
	holds(200);
	expect_equal(stage_class(CLASS_SHMEM), 100);
	fails(EBADF, mmap(p, 200 * PAGE, RW, MAP_SHARED | MAP_FIXED, -1, 0) == MAP_FAILED);
	holds(200);
	q = map(10, RW, ANON);
	expect(mremap(q, 10 * PAGE, 200 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
	holds(200);
	expect_equal(stage_class(CLASS_ANON), 200);
	unmap(p, 200);
	holds(0);
	return stage_verdict();
}

static int remaps(void)
{
	char *p;
	char *q;

	begin();
	errno = 4711;
	p = map(10, RW, ANON);
	p = mremap(p, 10 * PAGE, 50 * PAGE, MREMAP_MAYMOVE);
	expect(p != MAP_FAILED);
	holds(50);
	expect(mremap(p, 50 * PAGE, 20 * PAGE, 0) == p);
	holds(20);
	expect(mremap(p, 20 * PAGE, 20 * PAGE, 0) == p);
	holds(20);
	q = map(60, PROT_NONE, ANON);
	expect(mremap(p, 20 * PAGE, 20 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	holds(20);
	unmap(p, 20); /* the old place is empty */
	holds(20);
	p = map(40, PROT_NONE, ANON);
	expect(mprotect(p, 30 * PAGE, RW) == 0);
	holds(50);
	expect(mremap(q, 20 * PAGE, 40 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) ==
	       p); /* over charged pages, and more */
	holds(40);
	expect(mremap(p, 40 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	holds(5);
	unmap(p, 40);
	holds(5);
	unmap(q, 60);
	holds(0);
	p = map(10, RW, ANON);
	memset(p, 1, 10 * PAGE);
	q = mremap(p, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (q != MAP_FAILED) {
		holds(20); /* the old range can be touched again */
		unmap(q, 10);
		holds(10);
	}
	errno = 4711;
	unmap(p, 10);
	holds(0);
	p = map(4, PROT_NONE, ANON);
	p = mremap(p, 4 * PAGE, 100 * PAGE, MREMAP_MAYMOVE); /* reserved stays reserved */
	holds(0);
	mprotect(p, 100 * PAGE, RW);
	holds(100);
	unmap(p, 100);
	holds(0);
	return stage_verdict();
}

static int failures(void)
{
	static char program[1];
	char *p;

	begin();
	errno = 4711;
	p = map(10, RW, ANON);
	holds(10);
	fails(EINVAL, mmap(NULL, 0, RW, ANON, -1, 0) == MAP_FAILED);
	fails(ENOMEM, mmap(NULL, (size_t)1 << 47, RW, ANON, -1, 0) == MAP_FAILED);
	fails(ENOMEM, mmap(NULL, SIZE_MAX, RW, ANON, -1, 0) == MAP_FAILED);
	fails(EINVAL, mmap(p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0) == MAP_FAILED);
	fails(EINVAL, mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	fails(EBADF, mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0) == MAP_FAILED);
	fails(ENOMEM, mmap(p, (size_t)1 << 47, RW, ANON | MAP_FIXED, -1, 0) == MAP_FAILED);
	holds(10);
	fails(EINVAL, munmap(p, 0) != 0);
	fails(EINVAL, munmap(p + 1, PAGE) != 0);
	fails(EINVAL, munmap(p, SIZE_MAX) != 0);
	fails(EINVAL, munmap(p, (size_t)1 << 60) != 0);
	holds(10);
	fails(EFAULT, mremap(program - ((uintptr_t)program & (PAGE - 1)) + ((uint64_t)1 << 40), PAGE, 2 * PAGE,
			     MREMAP_MAYMOVE) == MAP_FAILED);
	fails(EINVAL, mremap(p, 10 * PAGE, 0, MREMAP_MAYMOVE) == MAP_FAILED);
	fails(EINVAL, mremap(p, 10 * PAGE, 20 * PAGE, MREMAP_FIXED, p) == MAP_FAILED);
	fails(EINVAL, mremap(p + 1, 10 * PAGE, 20 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	fails(EINVAL, mremap(p, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 5 * PAGE) == MAP_FAILED);
	holds(10);
	fails(EINVAL, mprotect(p + 1, PAGE, RW) != 0);
	fails(EINVAL, mprotect(p, PAGE, 0x7000) != 0);
	holds(10);
	unmap(p, 10);
	holds(0);
	p = map(20, PROT_NONE, ANON);
	unmap(p + 10 * PAGE, 5);
	fails(ENOMEM, mprotect(p, 20 * PAGE, RW) != 0); /* the kernel opened what is before the hole */
	holds(15);
	unmap(p, 20);
	holds(0);
	return stage_verdict();
}

static int breaks(void)
{
	char *start = sbrk(0);
	char *top;

	start += -(uintptr_t)start & (PAGE - 1);
	expect(brk(start) == 0);
	begin();
	errno = 4711;
	expect(sbrk((intptr_t)(10 * PAGE)) == start);
	holds(10);
	memset(start, 1, 10 * PAGE);
	expect(sbrk(1) == start + 10 * PAGE);
	holds(11);
	expect(sbrk(100) == start + 10 * PAGE + 1);
	holds(11);
	expect(sbrk(-101) == start + 10 * PAGE + 101);
	holds(10);
	expect(brk(start + 3 * PAGE) == 0);
	holds(3);
	top = sbrk(0);
	expect(top == start + 3 * PAGE);
	fails(ENOMEM, sbrk((intptr_t)1 << 46) == (void *)-1);
	holds(3);
	expect(sbrk(0) == top);
	expect(brk((void *)PAGE) == 0); /* glibc says so; the kernel has not moved it */
	expect(sbrk(0) == top);
	holds(3);
	expect(brk(start) == 0);
	holds(0);
	return stage_verdict();
}

/* A limit of 256 pages more than the scene starts with. */
static int refusals(void)
{
	uint64_t room;
	char *p;
	char *q;
	char *top;

	begin();
	room = STAGE_MIB(4) - base;
	errno = 4711;
	p = map(room - 10, RW, ANON);
	expect(p != MAP_FAILED);
	holds((int64_t)room - 10);
	fails(ENOMEM, map(11, RW, ANON) == MAP_FAILED);
	fails(ENOMEM, map(11, RW, MAP_SHARED | MAP_ANONYMOUS) == MAP_FAILED);
	fails(ENOMEM, map_at(p, room + 1, RW, ANON) == MAP_FAILED);
	holds((int64_t)room - 10);
	p[0] = 1; /* it is still there */
	fails(ENOMEM, mremap(p, (room - 10) * PAGE, (room + 1) * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	holds((int64_t)room - 10);
	q = map(100, PROT_NONE, ANON);
	fails(ENOMEM, mprotect(q, 11 * PAGE, RW) != 0);
	holds((int64_t)room - 10);
	expect(mprotect(q, 10 * PAGE, RW) == 0);
	holds((int64_t)room);
	fails(ENOMEM, mprotect(q, 11 * PAGE, RW) != 0);
	top = sbrk(0);
	fails(ENOMEM, sbrk(2 * PAGE) == (void *)-1);
	fails(ENOMEM, brk(top + 2 * PAGE) != 0);
	expect(sbrk(0) == top);
	fails(ENOMEM, map(1, RW, ANON) == MAP_FAILED);
	holds((int64_t)room);
	unmap(q, 100);
	holds((int64_t)room - 10);
	q = map(10, RW, ANON);
	expect(q != MAP_FAILED);
	holds((int64_t)room);
	unmap(q, 10);
	expect(mremap(p, (room - 10) * PAGE, room * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
	holds((int64_t)room);
	return stage_verdict();
}

/* Ten thousand random calls against a model: one letter a page. */
enum { AREA = 512 };
static char model[AREA]; /* 0 hole, r reserved, a anon, s shmem */

static int64_t model_sum(void)
{
	int64_t n = 0;

	for (int i = 0; i < AREA; i++)
		n += model[i] == 'a' || model[i] == 's';
	return n;
}

static void random_call(char *area, uint64_t r)
{
	uint64_t from = (r >> 8) % AREA;
	uint64_t n = 1 + (r >> 20) % ((r >> 32) % 3 ? 8 : AREA / 4);

	if (from + n > AREA)
		n = AREA - from;
	switch (r % 4) {
	case 0:
		expect(unmap(area + from * PAGE, n) == 0);
		memset(model + from, 0, n);
		break;
	case 1:
		expect(map_at(area + from * PAGE, n, r & 64 ? RW : PROT_NONE, ANON) != MAP_FAILED);
		memset(model + from, r & 64 ? 'a' : 'r', n);
		break;
	case 2:
		expect(map_at(area + from * PAGE, n, RW, MAP_SHARED | MAP_ANONYMOUS) != MAP_FAILED);
		memset(model + from, 's', n);
		break;
	default:
		if (memchr(model + from, 0, n))
			return;
		expect(mprotect(area + from * PAGE, n * PAGE, RW) == 0);
		for (uint64_t i = from; i < from + n; i++)
			if (model[i] == 'r')
				model[i] = 'a';
	}
}

static int at_random(void)
{
	uint64_t random = stage_argument(1) ? strtoull(stage_argument(1), NULL, 0) : 42;
	char *area;

	begin();
	area = map(AREA, PROT_NONE, ANON);
	memset(model, 'r', AREA);
	for (int i = 0; i < 10000 && !stage_verdict(); i++) {
		random_call(area, ground_random(&random));
		expect_equal(stage_held() - base, model_sum());
	}
	unmap(area, AREA);
	expect_equal(stage_held(), base);
	return stage_verdict();
}

/* ---- shared memory ------------------------------------------------------------------------------------------ */

static const struct member *member_of_pid(pid_t pid)
{
	const struct segment *seg = stage_segment();

	for (uint32_t i = 0; i < member_mark(seg); i++)
		if (member_is_present(seg, i) && member_pid(mc_load_full(&member_of(seg, i)->state)) == (uint32_t)pid)
			return member_of(seg, i);
	return NULL;
}

static bool is_sharing(pid_t pid)
{
	const struct member *m = member_of_pid(pid);

	return m && mc_load_full(&m->flags) & MEMBER_SHARES;
}

static bool is_on_disk(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC;
}

static int who_shares(void)
{
	const struct segment *seg = stage_segment();
	int disk = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int memory = memfd_create("test", MFD_CLOEXEC);
	uint32_t rung;

	begin();
	expect(disk >= 0 && memory >= 0 && ftruncate(memory, 4 * PAGE) == 0);
	errno = 4711;
	expect(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, disk, 0) != MAP_FAILED);
	expect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, disk, 0) != MAP_FAILED);
	fails(EBADF, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, 1000, 0) == MAP_FAILED);
	expect(!is_on_disk(disk) || !is_sharing(getpid()));
	rung = mc_load_full(&seg->counters->header.bell);
	expect(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, memory, 0) != MAP_FAILED);
	expect(errno == 4711);
	expect(is_sharing(getpid()));
	expect(!is_on_disk(disk) || mc_load_full(&seg->counters->header.bell) == rung + 1);
	rung = mc_load_full(&seg->counters->header.bell);
	expect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, memory, 0) != MAP_FAILED);
	expect_equal(mc_load_full(&seg->counters->header.bell), rung);
	return stage_verdict();
}

static int zero_is_shared_memory(void)
{
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);

	begin();
	expect(mmap(NULL, PAGE, RW, MAP_SHARED, zero, 0) != MAP_FAILED);
	expect(is_sharing(getpid()));
	return stage_verdict();
}

/* As the daemon does it. */
static void ask_to_tell(uint32_t at)
{
	char path[256];
	struct limits_header *h;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" SEGMENT_LIMITS_NAME, getenv("MEMCTL_DIR"));
	fd = open(path, O_RDWR | O_CLOEXEC);
	h = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	expect(h != MAP_FAILED);
	mc_store_full(&h->tell_at, at);
	(void)munmap(h, PAGE);
	(void)close(fd);
}

/* A child touches 2 MiB from `from` on and ends, how the argument says; how many pages it tells are resident of what
 * is mapped at `at`, 0 if it does not speak of that. */
static uint64_t told_by_child(char *from, const char *at, void (*end)(int))
{
	const struct member *m;
	uint64_t pages = 0;
	pid_t pid = fork();

	if (pid == 0) {
		memset(from, 1, 512 * PAGE);
		end(0);
	}
	(void)waitpid(pid, NULL, 0);
	m = member_of_pid(pid);
	expect(m != NULL);
	for (unsigned i = 0; m && i < MEMBER_TOLD_MAX; i++)
		if (mc_load_acquire(&m->told[i].start) == (uintptr_t)at)
			pages = mc_load_relaxed(&m->told[i].pages);
	return pages;
}

#define SHARED (MAP_SHARED | MAP_ANONYMOUS)

static int last_words(void)
{
	char *p, *small, *large;

	begin();
	p = map(2048, RW, SHARED);
	small = map(512, RW, SHARED);
	memset(p, 1, 512 * PAGE);
	expect_equal(told_by_child(p, p, exit), 0); /* nobody wants to know */
	ask_to_tell(1);
	expect_equal(told_by_child(p + 512 * PAGE, p, exit), 1024);
	expect_equal(told_by_child(small, small, exit), 512);
	expect_equal(told_by_child(p, p, _exit), 0);
	large = map(1024, RW, SHARED);
	expect_equal(told_by_child(large, p, exit), 1024);
	expect_equal(told_by_child(large, large, exit), 512);
	expect_equal(told_by_child(small, small, exit), 0);
	unmap(p + PAGE, 1);
	expect_equal(told_by_child(large, p, exit), 0);
	expect(mremap(large, 1024 * PAGE, 512 * PAGE, 0) == large);
	expect_equal(told_by_child(large, large, exit), 0);
	return stage_verdict();
}

static const struct scene scenes[] = {
	{ "kinds", "private, shared, stack and locked mappings; files are not charged", kinds, 0 },
	{ "reservations", "PROT_NONE is charged when mprotect opens it", reservations, 0 },
	{ "fixed", "MAP_FIXED over charged, reserved and partly mapped ranges", fixed, 0 },
	{ "holes", "munmap of parts, and across holes", holes, 0 },
	{ "many_runs", "ranges of a hundred runs", many_runs, 0 },
	{ "remaps", "mremap in all its forms", remaps, 0 },
	{ "failures", "calls that fail change nothing and say why as libc does", failures, 0 },
	{ "breaks", "brk and sbrk up and down", breaks, 0 },
	{ "refusals", "what is refused leaves nothing charged, and all as it was", refusals, STAGE_MIB(4) },
	{ "who_shares", "who maps what lies on a tmpfs says that it shares", who_shares, 0 },
	{ "zero_is_shared_memory", "so does who shares /dev/zero", zero_is_shared_memory, 0 },
	{ "last_words", "a process tells how large its shared memory is when it ends", last_words, 0 },
	{ "at_random", "10,000 random calls against a model", at_random, 0 },
};

int main(int argc, char *argv[])
{
	return stage_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
}
