/* SPDX-License-Identifier: MIT */
/* A preloaded program killed, and stopped, before every single instruction of the preload library, jemalloc's
 * among them (scenes.h). */
#include "tests/fault/scenes.h"
#include "tests/lib/ground.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIBRARY_PART 9000 /* about, of an exec: to count would take seconds */
#define PIECE (300u << 10)

static void *volatile piece; /* volatile: no pair of malloc and free is optimized away */

/* Whatever is done once has been done. */
static void warm_up(void)
{
	piece = malloc(PIECE);
	memset(piece, 1, PIECE);
	free(piece);
	piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(piece, PIECE);
}

static void have_heap(void)
{
	warm_up();
	piece = malloc(PIECE);
	memset(piece, 1, PIECE);
}

static void map_of(size_t size, int prot)
{
	warm_up();
	piece = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (piece == MAP_FAILED)
		_exit(94);
	if (prot & PROT_WRITE)
		memset(piece, 1, size);
}

static void have_mapping(void)
{
	map_of(PIECE, PROT_READ | PROT_WRITE);
}

static void have_large_mapping(void)
{
	map_of(2 << 20, PROT_READ | PROT_WRITE);
}

static void have_reserved(void)
{
	map_of(PIECE, PROT_NONE);
}

static void allocate(void)
{
	piece = malloc(7 * PIECE);
}

static void release(void)
{
	free(piece);
}

static void map(void)
{
	piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void map_more(void)
{
	piece = mmap(NULL, 7 * PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void unmap(void)
{
	munmap(piece, PIECE);
}

static void map_large(void)
{
	piece = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void unmap_large(void)
{
	munmap(piece, 2 << 20);
}

static void remap(void)
{
	piece = mremap(piece, PIECE, 3 * PIECE, MREMAP_MAYMOVE);
}

static void discard(void)
{
	madvise(piece, PIECE, MADV_DONTNEED);
}

static void open_reserved(void)
{
	mprotect(piece, PIECE, PROT_READ | PROT_WRITE);
}

/* The child goes on to the mark, and the parent waits until it is killed. Copies of the child are its children
 * too: 30,000 dead ones that nobody waits for would leave no pid on the machine. */
static void fork_child(void)
{
	(void)signal(SIGCHLD, SIG_IGN);
	if (fork())
		for (;;)
			(void)pause();
}

static void exec_again(void)
{
	execl("/proc/self/exe", "stepper_preload", SCENE_NOTHING, (char *)NULL);
}

static void do_nothing(void)
{
}

static const struct scene scenes[] = {
	{ "malloc", "malloc of new pages", warm_up, allocate, false, SCENE_STRAIGHT, 0, false },
	{ "refused", "malloc that is refused", warm_up, allocate, true, SCENE_STRAIGHT, 0, false },
	{ "free", "free of pages", have_heap, release, false, SCENE_STRAIGHT, 0, false },
	{ "mmap", "mmap", warm_up, map, false, SCENE_STRAIGHT, 0, false },
	{ "mmap-refused", "mmap that is refused", warm_up, map_more, true, SCENE_STRAIGHT, 0, false },
	{ "kept", "mmap by what is kept for it", warm_up, map, false, SCENE_KEPT, 0, false },
	{ "moved", "mmap after a move to another group", warm_up, map, false, SCENE_MOVED, 0, false },
	{ "munmap", "munmap", have_mapping, unmap, false, SCENE_STRAIGHT, 0, false },
	{ "mmap-large", "mmap of 2 MiB", warm_up, map_large, false, SCENE_LOOKING, 0, false },
	{ "munmap-large", "munmap of 2 MiB", have_large_mapping, unmap_large, false, SCENE_STRAIGHT, 0, false },
	{ "mremap", "mremap", have_mapping, remap, false, SCENE_STRAIGHT, 0, false },
	{ "madvise", "madvise that discards", have_mapping, discard, false, SCENE_STRAIGHT, 0, false },
	{ "mprotect", "mprotect of what was reserved", have_reserved, open_reserved, false, SCENE_STRAIGHT, 0, false },
	{ "fork", "a forked child's join", have_heap, fork_child, false, SCENE_INTO_CHILD, 0, false },
	{ "exec", "exec: the new image settles the old one", have_heap, exec_again, false, SCENE_KILLS_ONLY,
	  LIBRARY_PART, false },
	{ "exit", "an orderly end", have_heap, do_nothing, false, SCENE_KILLS_ONLY, 0, true },
};

static const struct scenery scenery = {
	.scene = scenes,
	.n = sizeof(scenes) / sizeof(scenes[0]),
	.library = "libmemctl-preload",
	.trials = 100,
};

static void prepare(void)
{
	const char *preload = getenv("MEMCTL_PRELOAD");

	if (!preload)
		ground_bail("MEMCTL_PRELOAD is not set: start this with tools/env");
	setenv("LD_PRELOAD", preload, 1); /* of those we exec */
}

int main(int argc, char *argv[])
{
	return scenes_main(argc, argv, &scenery, prepare);
}
