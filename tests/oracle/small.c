/* SPDX-License-Identifier: MIT */
/* Programs for tests/oracle: each mode takes memory in one way, step by step, and stays at each. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define WORKERS 8

static double stay_s = 2.0; /* tests/oracle does not count the first second after a step */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void check(int ok, const char *what)
{
	if (!ok)
		die(what);
}

static void stay(void)
{
	struct timespec t = { .tv_sec = (time_t)stay_s };

	t.tv_nsec = (long)((stay_s - (double)t.tv_sec) * 1e9);
	while (nanosleep(&t, &t))
		;
}

/* The step just reached, named for the table; no stdio, whose buffer would be memory too. */
static void step(const char *name)
{
	char line[80];
	int n = snprintf(line, sizeof line, "@ %s\n", name);

	check(write(STDOUT_FILENO, line, (size_t)n) == n, "write");
	stay();
}

static void touch(void *at, size_t size)
{
	volatile char *p = at;

	for (size_t i = 0; i < size; i += PAGE)
		p[i] = 1;
}

static void touch_nth(void *at, size_t size, size_t nth)
{
	volatile char *p = at;

	for (size_t i = 0; i < size; i += nth * PAGE)
		p[i] = 1;
}

static void *map(size_t size, int prot, int flags, int fd)
{
	void *p = mmap(NULL, size, prot, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	check(p != MAP_FAILED, "mmap");
	return p;
}

static void *map_private(size_t size)
{
	return map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1);
}

static pid_t fork_or_die(void)
{
	pid_t pid = fork();

	check(pid >= 0, "fork");
	return pid;
}

static void wait_all(void)
{
	while (wait(NULL) > 0)
		;
}

/* ---- threads and stacks ---------------------------------------------------------------------------------- */

static void *thread_uses_stack(void *size)
{
	size_t n = *(size_t *)size;
	char *part = alloca(n);

	touch(part, n);
	stay();
	stay();
	return part[0] ? NULL : size;
}

/* Stacks of 8 MiB, of which 1 MiB is touched; then all again, deeper, in the stacks that libc has
 * cached. */
static void mode_threads(void)
{
	static size_t sizes[] = { MIB, 3 * MIB };
	pthread_t threads[16];
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 8 * MIB);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 16; i++)
			check(!pthread_create(&threads[i], &attr, thread_uses_stack, &sizes[round]), "pthread");
		step(round ? "3 MiB of each stack" : "1 MiB of each stack");
		for (int i = 0; i < 16; i++)
			pthread_join(threads[i], NULL);
		step("all ended");
	}
}

static void *thread_allocates(void *unused)
{
	char *held[64];

	(void)unused;
	for (int i = 0; i < 64; i++) {
		held[i] = malloc(256 << 10);
		check(held[i] != NULL, "malloc");
		touch(held[i], 256 << 10);
	}
	stay();
	for (int i = 0; i < 64; i += 2)
		free(held[i]);
	stay();
	for (int i = 1; i < 64; i += 2)
		free(held[i]);
	stay();
	return NULL;
}

static void mode_arenas(void)
{
	pthread_t threads[WORKERS];

	for (int i = 0; i < WORKERS; i++)
		check(!pthread_create(&threads[i], NULL, thread_allocates, NULL), "pthread");
	step("16 MiB in each thread");
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	step("all freed");
}

static int recurse(int depth)
{
	volatile char frame[64 << 10];

	touch((void *)(uintptr_t)frame, sizeof frame);
	if (depth > 0)
		return recurse(depth - 1) + frame[5];
	step("deep");
	return frame[5];
}

/* The first thread's stack grows in the kernel, unseen by any call. */
static void mode_deep(void)
{
	step("start");
	recurse(100);
	step("back");
}

/* ---- the heap -------------------------------------------------------------------------------------------- */

static void mode_calloc(void)
{
	char *p;

	step("start");
	p = calloc(256, MIB);
	check(p != NULL, "calloc");
	step("256 MiB untouched");
	touch(p, 64 * MIB);
	step("64 MiB touched");
	touch(p + 128 * MIB, 32 * MIB);
	step("96 MiB touched");
	free(p);
	step("freed");
}

static void mode_half(void)
{
	char *p, *small[400];

	step("start");
	p = malloc(200 * MIB);
	check(p != NULL, "malloc");
	touch(p, 100 * MIB);
	step("half of 200 MiB");
	for (int i = 0; i < 400; i++) {
		small[i] = malloc(600 << 10);
		check(small[i] != NULL, "malloc");
		touch(small[i], 300 << 10);
	}
	step("half of 400 times 600 KiB more");
	for (int i = 0; i < 400; i++)
		free(small[i]);
	step("these freed");
	p = realloc(p, 20 * MIB);
	check(p != NULL, "realloc");
	step("shrunk to 20 MiB");
	free(p);
	step("freed");
}

static void mode_little(void)
{
	enum { COUNT = 1000000 };
	char **held = malloc(COUNT * sizeof *held);

	check(held != NULL, "malloc");
	for (int i = 0; i < COUNT; i++) {
		held[i] = malloc(16 + (size_t)i % 120);
		check(held[i] != NULL, "malloc");
		held[i][0] = 1;
	}
	step("a million small blocks");
	for (int i = 0; i < COUNT; i += 2)
		free(held[i]);
	step("every second freed");
	for (int i = 1; i < COUNT; i += 2)
		free(held[i]);
	step("all freed");
	free(held);
	step("their table freed");
}

static void mode_brk(void)
{
	char *start = sbrk(0);

	for (int i = 0; i < 4; i++) {
		char *p = sbrk(24 << 20);

		check(p != (void *)-1, "sbrk");
		step("24 MiB more");
		touch(p, 16 * MIB);
		step("16 MiB of it touched");
	}
	check(!brk(start + 32 * MIB), "brk");
	step("back to 32 MiB");
	check(!brk(start), "brk");
	step("back to the start");
}

/* ---- private mappings ------------------------------------------------------------------------------------ */

static void mode_mremap(void)
{
	size_t size = 16 * MIB;
	char *p = map_private(size);

	touch(p, size);
	step("16 MiB");
	for (; size < 128 * MIB; size *= 2) {
		p = mremap(p, size, 2 * size, MREMAP_MAYMOVE);
		check(p != MAP_FAILED, "mremap");
		touch(p + size, size / 2);
		step("doubled, half of the new touched");
	}
	p = mremap(p, size, 8 * MIB, 0);
	check(p != MAP_FAILED, "mremap");
	step("shrunk to 8 MiB");
}

static void mode_advice(void)
{
	char *p = map_private(128 * MIB);

	touch(p, 128 * MIB);
	step("128 MiB touched");
	check(!madvise(p, 64 * MIB, MADV_FREE), "MADV_FREE");
	step("64 MiB advised as free");
	check(!madvise(p, 32 * MIB, MADV_DONTNEED), "MADV_DONTNEED");
	step("32 MiB of these not needed");
	touch(p, 16 * MIB);
	step("16 MiB of these touched again");
	check(!madvise(p, 128 * MIB, MADV_DONTNEED), "MADV_DONTNEED");
	step("nothing needed");
	touch(p, 8 * MIB);
	step("8 MiB touched again");
}

static void mode_reserve(void)
{
	char *p = map((size_t)1 << 30, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE, -1);

	step("1 GiB reserved");
	for (int i = 0; i < 4; i++) {
		check(!mprotect(p + (size_t)i * 64 * MIB, 64 * MIB, PROT_READ | PROT_WRITE), "mprotect");
		step("64 MiB more usable");
		touch(p + (size_t)i * 64 * MIB, 24 * MIB);
		step("24 MiB of it touched");
	}
	check(!mprotect(p, 64 * MIB, PROT_NONE), "mprotect");
	step("the first protected again, still there");
	check(map(PAGE, PROT_NONE, MAP_PRIVATE, -1) != NULL, "mmap");
	check(mmap(p, 128 * MIB, PROT_NONE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == p,
	      "MAP_FIXED");
	step("128 MiB mapped over");
}

static void mode_sparse(void)
{
	size_t size = (size_t)4 << 30;
	char *p = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, -1);

	step("4 GiB mapped");
	touch_nth(p, size / 2, 128);
	step("every 128th page of a half");
	touch_nth(p + size / 2, size / 2, 32);
	step("every 32nd page of the other");
	check(!munmap(p + size / 4, size / 2), "munmap");
	step("the middle unmapped");
}

static void mode_huge(void)
{
	size_t size = 256 * MIB, rest;
	char *p, *at;

	step("start");
	p = map_private(size + 64 * MIB);
	rest = (64 * MIB - (uintptr_t)p % (64 * MIB)) % (64 * MIB);
	at = p + rest;
	madvise(at, size, MADV_HUGEPAGE); /* a kernel without huge pages has none */
	touch_nth(at, 64 * MIB, 512);
	step("a page in each 2 MiB of 64 MiB");
	touch(at + 64 * MIB, 128 * MIB);
	step("128 MiB more");
	for (size_t i = 0; i < 32; i++)
		check(!madvise(at + i * 2 * MIB, MIB, MADV_DONTNEED), "MADV_DONTNEED");
	step("a half of each 2 MiB not needed");
	check(!munmap(at + 64 * MIB + 512 * 1024, 63 * MIB), "munmap");
	step("63 MiB unmapped out of line");
}

static int file_of(size_t size)
{
	char name[] = "small-XXXXXX", block[4096];
	int fd = mkstemp(name);

	check(fd >= 0, "mkstemp");
	unlink(name);
	memset(block, 7, sizeof block);
	for (size_t i = 0; i < size; i += sizeof block)
		check(write(fd, block, sizeof block) == sizeof block, "write");
	return fd;
}

static void mode_private_file(void)
{
	int fd = file_of(96 * MIB);
	char *p = map(96 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	volatile char *read_only = p;

	for (size_t i = 0; i < 96 * MIB; i += PAGE)
		(void)read_only[i];
	step("a file of 96 MiB read");
	touch(p, 40 * MIB);
	step("40 MiB of it written");
	touch(p + 48 * MIB, 20 * MIB);
	step("20 MiB more");
	check(!munmap(p, 48 * MIB), "munmap");
	step("the first half unmapped");
}

/* ---- shared memory --------------------------------------------------------------------------------------- */

static void mode_memfd(void)
{
	int fd = memfd_create("oracle", 0);
	char *p;

	check(fd >= 0 && !ftruncate(fd, 128 << 20), "memfd");
	step("128 MiB long");
	p = map(128 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	step("mapped");
	touch(p, 48 * MIB);
	step("48 MiB touched");
	check(!munmap(p, 24 * MIB), "munmap");
	check(map(128 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd) != NULL, "mmap");
	step("a part unmapped, all mapped once more");
	touch(p + 32 * MIB, 32 * MIB);
	step("64 MiB touched");
	check(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 24 << 20), "fallocate");
	step("a hole of 24 MiB");
	close(fd);
	step("closed, still mapped");
}

/* A memfd is memory as long as somebody has it open. */
static void mode_unmapped(void)
{
	int fd = memfd_create("oracle", 0);
	char *p;

	check(fd >= 0 && !ftruncate(fd, 64 << 20), "memfd");
	p = map(64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	touch(p, 48 * MIB);
	step("48 MiB touched");
	munmap(p, 64 * MIB);
	step("unmapped, still open");
	close(fd);
	step("closed");
}

static void shm_child(const char *name)
{
	int fd = shm_open(name, O_RDWR, 0600);
	char *p;

	check(fd >= 0, "shm_open");
	p = map(96 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	touch(p, 48 * MIB);
	step("48 MiB touched by both");
	touch(p + 64 * MIB, 16 * MIB);
	step("16 MiB more by the child");
	stay();
	_exit(0);
}

static void mode_shm_open(void)
{
	char name[64];
	int fd;
	char *p;

	snprintf(name, sizeof name, "/memctl-oracle-%d", getpid());
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	check(fd >= 0 && !ftruncate(fd, 96 << 20), "shm_open");
	p = map(96 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	touch(p, 32 * MIB);
	step("32 MiB touched by the parent");
	if (fork_or_die() == 0)
		shm_child(name);
	wait_all();
	step("the child ended");
	shm_unlink(name);
	step("unlinked");
	check(!munmap(p, 48 * MIB), "munmap");
	close(fd);
	step("closed, a half is mapped");
}

static void mode_sysv(void)
{
	int id = shmget(IPC_PRIVATE, 80 * MIB, IPC_CREAT | 0600);
	char *p;

	check(id >= 0, "shmget");
	p = shmat(id, NULL, 0);
	check(p != (void *)-1 && !shmctl(id, IPC_RMID, NULL), "shmat");
	step("80 MiB attached");
	touch(p, 32 * MIB);
	step("32 MiB touched");
	if (fork_or_die() == 0) {
		touch(p + 32 * MIB, 32 * MIB);
		step("32 MiB more by a child");
		_exit(0);
	}
	wait_all();
	step("the child ended");
	shmdt(p);
	step("detached");
}

static void mode_shared_anon(void)
{
	char *p = map(128 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, -1);

	touch(p, 32 * MIB);
	step("32 MiB touched");
	if (fork_or_die() == 0) {
		touch(p, 96 * MIB);
		step("96 MiB touched by the child");
		_exit(0);
	}
	wait_all();
	step("the child ended");
	check(!munmap(p, 64 * MIB), "munmap");
	step("a half unmapped");
	munmap(p + 64 * MIB, 64 * MIB);
	step("all unmapped");
}

/* ---- fork ------------------------------------------------------------------------------------------------ */

static void mode_fork_cow(void)
{
	char *p = map_private(96 * MIB), *heap = malloc(32 * MIB);

	check(heap != NULL, "malloc");
	touch(p, 96 * MIB);
	touch(heap, 32 * MIB);
	step("128 MiB in the parent");
	if (fork_or_die() == 0) {
		step("a child shares it");
		touch(p, 48 * MIB);
		step("the child has written 48 MiB");
		touch(heap, 16 * MIB);
		step("and 16 MiB of the heap");
		_exit(0);
	}
	wait_all();
	step("the child ended");
	free(heap);
	munmap(p, 96 * MIB);
	step("freed");
}

/* Whoever charged it is gone; a child has it still. */
static void mode_orphan(void)
{
	char *p = map_private(256 * MIB);

	touch(p, 256 * MIB);
	step("256 MiB in the parent");
	if (fork_or_die() > 0) {
		step("a child shares it");
		_exit(0);
	}
	stay();
	step("the parent has ended");
	touch(p, 128 * MIB);
	step("the child has written a half");
	check(!munmap(p, 128 * MIB), "munmap");
	step("the child has unmapped that half");
}

static void worker(char *p, size_t size, int which)
{
	size_t part = size / 2 / WORKERS;
	char *own = malloc(2 * MIB);

	check(own != NULL, "malloc");
	touch(own, 2 * MIB);
	touch(p + (size_t)which * part, part);
	stay();
	stay();
	touch(p + size / 2, size / 4); /* the same quarter in all */
	stay();
	stay(); /* the parent has gone */
	free(own);
	stay();
	_exit(0);
}

static void mode_prefork(void)
{
	enum { BLOCK = 64 << 10 };
	size_t size = 64 * MIB;
	char *p = malloc(size);

	check(p != NULL, "malloc");
	touch(p, size);
	step("64 MiB in the parent");
	for (int i = 0; i < WORKERS; i++)
		if (fork_or_die() == 0)
			worker(p, size, i);
	step("8 workers, a part written by each");
	stay();
	step("a quarter written by all");
	_exit(0);
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{ "threads", mode_threads },
	{ "arenas", mode_arenas },
	{ "deep", mode_deep },
	{ "calloc", mode_calloc },
	{ "half", mode_half },
	{ "little", mode_little },
	{ "brk", mode_brk },
	{ "mremap", mode_mremap },
	{ "advice", mode_advice },
	{ "reserve", mode_reserve },
	{ "sparse", mode_sparse },
	{ "huge", mode_huge },
	{ "private-file", mode_private_file },
	{ "memfd", mode_memfd },
	{ "unmapped", mode_unmapped },
	{ "shm-open", mode_shm_open },
	{ "sysv", mode_sysv },
	{ "shared-anon", mode_shared_anon },
	{ "fork-cow", mode_fork_cow },
	{ "orphan", mode_orphan },
	{ "prefork", mode_prefork },
};

/* small MODE [SCALE]: SCALE times two seconds at each step; without MODE, the names of all. */
int main(int argc, char **argv)
{
	if (argc > 2)
		stay_s *= atof(argv[2]);
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		if (argc < 2)
			puts(modes[i].name);
		else if (!strcmp(argv[1], modes[i].name))
			return modes[i].run(), 0;
	}
	return argc < 2 ? 0 : 2;
}
