/* SPDX-License-Identifier: MIT */
/* A preloaded program killed, and stopped, before every single instruction of the preload library.
 *
 *   stepper_preload              some thousand trials (make check)
 *   stepper_preload all [SCENE]  every trial at every instruction (make check-long)
 *
 * The program starts itself again under the preload library and does one thing under single step
 * (stepping.h). Tried are the instructions of the library's file, jemalloc's among them; those of libc, the
 * program and the dynamic linker only move the process on, for they do not touch the segment.
 *
 * A copy of a process has another pid, which matters to nobody but to exec and to the orderly end: there
 * copies are killed only. A forked child is stepped from its first instruction.
 *
 * Some more are killed at instructions taken at random, without copies, as members of a real memctld, which
 * has to settle them.
 */
#include "tests/fault/daemon.h"
#include "tests/fault/stepping.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIALS_IN_CHECK 100 /* of one scene in one mode */
#define DEATHS_IN_CHECK 4   /* of one scene under memctld */
#define DEATHS_OF_ALL   30
#define LIBRARY_PART 9000 /* about, of an exec: to count would take seconds */
#define GROUP "/t/d"
#define PIECE (300u << 10)

/* ---- scenes: in the preloaded program ---- */

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
	execl("/proc/self/exe", "stepper_preload", "nothing", (char *)NULL);
}

static void do_nothing(void)
{
}

/* LOOKING: at statm; a copy made while that is open reads the number of whom it was copied from. */
enum way { STRAIGHT, LOOKING, MOVED, INTO_CHILD, KILLS_ONLY };

static const struct scene {
	const char *name;
	const char *sentence;
	void (*prepare)(void);
	void (*play)(void);
	bool is_tight; /* there is no room for it */
	enum way way;
} scenes[] = {
	{ "malloc", "malloc of new pages", warm_up, allocate, false, STRAIGHT },
	{ "refused", "malloc that is refused", warm_up, allocate, true, STRAIGHT },
	{ "free", "free of pages", have_heap, release, false, STRAIGHT },
	{ "mmap", "mmap", warm_up, map, false, STRAIGHT },
	{ "mmap-refused", "mmap that is refused", warm_up, map_more, true, STRAIGHT },
	{ "moved", "mmap after a move to another group", warm_up, map, false, MOVED },
	{ "munmap", "munmap", have_mapping, unmap, false, STRAIGHT },
	{ "mmap-large", "mmap of 2 MiB", warm_up, map_large, false, LOOKING },
	{ "munmap-large", "munmap of 2 MiB", have_large_mapping, unmap_large, false, STRAIGHT },
	{ "mremap", "mremap", have_mapping, remap, false, STRAIGHT },
	{ "madvise", "madvise that discards", have_mapping, discard, false, STRAIGHT },
	{ "mprotect", "mprotect of what was reserved", have_reserved, open_reserved, false, STRAIGHT },
	{ "fork", "a forked child's join", have_heap, fork_child, false, INTO_CHILD },
	{ "exec", "exec: the new image settles the old one", have_heap, exec_again, false, KILLS_ONLY },
	{ "exit", "an orderly end", have_heap, do_nothing, false, KILLS_ONLY },
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

static int play(const char *name)
{
	if (strcmp(name, "nothing") == 0) /* what exec_again becomes */
		tracer_mark();
	for (size_t i = 0; i < SCENES; i++) {
		if (strcmp(scenes[i].name, name) != 0)
			continue;
		scenes[i].prepare();
		tracer_mark();
		scenes[i].play();
		if (strcmp(name, "exit") != 0)
			tracer_mark();
		return 0;
	}
	return 2;
}

/* ---- the tracer ---- */

static struct ground g;
static struct bystanders others;
static uint16_t top, beside;
static uintptr_t library[2]; /* where its code lies */
static uint64_t held_at_end; /* by one who was not disturbed */
static bool held_varies;

static bool is_in_library(uintptr_t ip)
{
	return ip >= library[0] && ip < library[1];
}

static void find_library(const struct tracee *t)
{
	unsigned long from, to;
	char line[512], x;
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/maps", (int)t->pid);
	f = fopen(line, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "libmemctl-preload") && sscanf(line, "%lx-%lx %*c%*c%c", &from, &to, &x) == 3 &&
		    x == 'x') {
			library[0] = from;
			library[1] = to;
		}
	if (f)
		fclose(f);
	if (library[1] == 0)
		ground_bail("the preload library is not mapped");
}

static bool is_other(uint32_t member)
{
	return member == others.party[0].member || member == others.party[1].member;
}

static uint64_t held_by_victim(void)
{
	uint64_t held = 0;

	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_is_present(&g.seg, m) && !is_other(m))
			held += member_held(&g.seg, m, RESOURCE_MEMORY);
	return held;
}

static const char *at_end(void)
{
	return held_varies || held_by_victim() == held_at_end ? NULL : "the stopped one does not hold what it should";
}

static enum charge_mode mode;

static void set_up(void)
{
	struct stat st;
	uint16_t leaf;

	if (stat("/proc/self/ns/pid", &st))
		ground_bail("/proc/self/ns/pid: %s", strerror(errno));
	ground_up(&g);
	g.seg.limits->header.daemon_pid_ns = (uint32_t)st.st_ino;
	top = ground_group(&g, "/t", 1000000);
	leaf = ground_group(&g, GROUP, 1000000);
	beside = ground_group(&g, "/t/beside", 1000000);
	g.seg.limits->group[leaf].charge_mode = g.seg.limits->group[beside].charge_mode = (uint8_t)mode;
	bystanders_join(&others, &g, leaf, top);
	setenv("MEMCTL_DIR", g.dir, 1);
}

/* As the daemon does it: the process follows at its next call. */
static void move_victim(void)
{
	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_is_present(&g.seg, m) && !is_other(m))
			mc_store_full(&member_of(&g.seg, m)->group, beside);
}

static bool go_through(const struct scene *scene, struct stepping *s,
		       enum tracer_at (*step)(struct stepping *, const struct tracee *))
{
	char *argv[] = { (char *)(uintptr_t) "/proc/self/exe", (char *)(uintptr_t)scene->name, NULL };
	struct tracee victim, child = { 0 };
	enum tracer_at at = TRACER_ENDED;

	set_up();
	if (tracer_exec(&victim, argv)) {
		find_library(&victim);
		if (scene->is_tight)
			ground_set_max(&g, top, ground_usage(&g, top) + 30);
		if (scene->way == MOVED)
			move_victim();
		if (scene->way != INTO_CHILD || tracer_follow_fork(&victim, &child)) {
			tracer_keep_wiped(child.pid ? &child : &victim);
			at = step(s, child.pid ? &child : &victim);
			held_at_end = held_by_victim();
		}
	}
	tracer_kill(&child);
	if (at != TRACER_ENDED)
		tracer_kill(&victim);
	ground_down(&g);
	return strcmp(scene->name, "exit") == 0 ? at == TRACER_ENDED : at == TRACER_MARK;
}

static struct stepping all_seen;
static uint64_t length[SCENES]; /* in instructions that count */

static void try_scene(const struct scene *scene, bool all)
{
	struct stepping s = {
		.name = scene->sentence,
		.ground = &g,
		.others = &others,
		.kills_only = scene->way == KILLS_ONLY,
		.trials_max = all ? 0 : TRIALS_IN_CHECK,
		.counts = is_in_library,
		.at_end = at_end,
		.instructions = LIBRARY_PART,
	};
	bool ok = scene->play == exec_again || go_through(scene, &s, stepping_count);

	held_varies = scene->is_tight || (scene->way == LOOKING && mode == CHARGE_RESIDENT);
	ok = ok && go_through(scene, &s, stepping_try);
	length[scene - scenes] = s.instructions + 1;
	all_seen.instructions += s.instructions;
	all_seen.trials += s.trials;
	all_seen.drift += s.drift;
	tap_ok(ok && s.wrong == 0, "%s, charge=%s: %s", scene->sentence, mode == CHARGE_COMMIT ? "commit" : "resident",
	       stepping_report(&s));
}

/* Steps over `n` instructions that count, and all between them. */
static void step_far(const struct tracee *t, uint64_t n)
{
	uintptr_t ip;

	while (n > 0 && tracer_step(t, &ip) == TRACER_STEPPED)
		n -= is_in_library(ip);
}

/* True when memctld has settled it, and nothing is left. */
static bool die_as_member(const struct scene *scene, const struct daemon *d, uint64_t n)
{
	char *argv[] = { (char *)(uintptr_t) "/proc/self/exe", (char *)(uintptr_t)scene->name, NULL };
	struct tracee victim, child = { 0 };

	if (!tracer_exec(&victim, argv))
		return false;
	if (scene->way == INTO_CHILD && !tracer_follow_fork(&victim, &child))
		return false;
	step_far(child.pid ? &child : &victim, n);
	tracer_kill(&child);
	tracer_kill(&victim);
	return daemon_has_settled(d) && daemon_is_exact(d);
}

static void try_under_memctld(bool all, const char *only)
{
	static uint64_t dice = 11;
	unsigned deaths = 0, wrong = 0;
	struct daemon d;

	daemon_up(&d);
	daemon_create("/t", NULL);
	daemon_create(GROUP, NULL);
	for (size_t i = 0; i < SCENES; i++)
		for (int n = 0; n < (all ? DEATHS_OF_ALL : DEATHS_IN_CHECK); n++) {
			if (scenes[i].way == KILLS_ONLY || scenes[i].is_tight || !strstr(scenes[i].name, only))
				continue;
			deaths++;
			wrong += !die_as_member(&scenes[i], &d, ground_random(&dice) % length[i]);
		}
	tap_ok(daemon_down(&d) && wrong == 0, "%u deaths at random instructions, settled by memctld: %u not exact",
	       deaths, wrong);
}

static void try_scenes(bool all, const char *only)
{
	for (size_t i = 0; i < SCENES; i++)
		for (int m = 0; m < 2; m++) {
			mode = m ? CHARGE_COMMIT : CHARGE_RESIDENT;
			if (strstr(scenes[i].name, only) && (m == 0 || scenes[i].way != KILLS_ONLY))
				try_scene(&scenes[i], all);
		}
	tap_note("all: %s", stepping_report(&all_seen));
}

static void prepare_environment(void)
{
	const char *preload = getenv("MEMCTL_PRELOAD");

	if (!preload)
		ground_bail("MEMCTL_PRELOAD is not set: start this with tools/env");
	setenv("MEMCTL_GROUP", GROUP, 1);
	setenv("LD_PRELOAD", preload, 1); /* of those we exec */
	(void)personality(ADDR_NO_RANDOMIZE); /* an exec'd image has everything where the old one had it */
}

int main(int argc, char *argv[])
{
	bool all = argc > 1 && strcmp(argv[1], "all") == 0;
	const char *why;

	if (argc == 2 && !all)
		return play(argv[1]);
	if (!tracer_works(&why)) {
		tap_skip(why, "every instruction");
		return tap_end();
	}
	prepare_environment();
	try_scenes(all, argc > 2 ? argv[2] : "");
	try_under_memctld(all, argc > 2 ? argv[2] : "");
	return tap_end();
}
