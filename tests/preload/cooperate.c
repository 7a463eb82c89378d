/* SPDX-License-Identifier: MIT */
/* Programs that cooperate (memctl.h): what they see of themselves, shrinkers, memory that may be dropped, and charges of
 * their own. */
#include "accounting/member.h"
#include "memctl/memctl.h"
#include "tests/lib/tap.h"
#include "tests/preload/live.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)
#define SLACK (64 * PAGE)
#define BLOCK (64ul << 10)
#define BLOCKS (40 * MIB / BLOCK)

static bool is_heard(void *arg)
{
	const struct segment *seg = stage_segment();

	(void)arg;
	for (uint32_t i = 0; i < member_mark(seg); i++)
		if (member_pid(mc_load_full(&member_of(seg, i)->state)) == (uint32_t)getpid())
			return mc_load_full(&member_of(seg, i)->answers);
	return false;
}

/* What was touched of mappings is counted, and a thread listens for those who want it. */
static void be_ready(uint64_t bytes)
{
	expect_settles("memory.current", bytes + 2 * MIB, 3 * MIB);
	expect(stage_until(is_heard, NULL));
}

/* ---- what it sees ------------------------------------------------------------------------------------------- */

static int sees_itself(void)
{
	struct memctl_self_usage before, after;
	char *p;

	expect(memctl_self_usage(&before) == 0);
	expect_equal(before.max, 64 * MIB);
	expect(before.held > 0 && before.held <= before.current);
	p = malloc(20 * MIB);
	expect(p != NULL && memset(p, 1, 20 * MIB));
	expect(memctl_self_usage(&after) == 0);
	expect(after.held >= before.held + 20 * MIB && after.held <= 40 * MIB);
	expect(after.room <= 64 * MIB - after.held && after.room >= 64 * MIB - after.current - MIB);
	return stage_verdict();
}

/* ---- shrinkers ---------------------------------------------------------------------------------------------- */

static char *cache[BLOCKS];
static unsigned long cached, calls;
static pthread_t program;

static void fill_cache(void)
{
	for (cached = 0; cached < BLOCKS; cached++) {
		cache[cached] = malloc(BLOCK);
		expect(cache[cached] != NULL && memset(cache[cached], 1, BLOCK));
	}
}

static uint64_t shrink(void *arg, uint64_t bytes)
{
	uint64_t given = 0;

	expect(arg == cache && !pthread_equal(pthread_self(), program));
	expect(memctl_shrinking() && strcmp(memctl_shrinking(), "memory") == 0);
	calls++;
	while (cached && given < bytes) {
		free(cache[--cached]);
		given += BLOCK;
	}
	return given;
}

static int shrinks_for_itself(void)
{
	char *volatile p;

	program = pthread_self();
	expect(memctl_shrinker_register(NULL, NULL) == -EINVAL);
	expect(memctl_shrinker_register(shrink, cache) == 0);
	fill_cache();
	p = malloc(40 * MIB);
	expect(p != NULL && calls > 0 && cached > 0 && cached < BLOCKS);
	expect(memctl_shrinking() == NULL);
	expect(p != NULL && memset(p, 1, 40 * MIB)); /* untouched it would soon not count */
	expect(memctl_shrinker_unregister(shrink, cache) == 0);
	calls = 0;
	expect(malloc(40 * MIB) == NULL);
	expect_equal(calls, 0);
	free(p);
	return stage_verdict();
}

static int shrinks_when_asked(void)
{
	program = pthread_self();
	expect(memctl_shrinker_register(shrink, cache) == 0);
	fill_cache();
	be_ready(40 * MIB);
	live_set("memory.reclaim=20M");
	expect(cached <= BLOCKS / 2 + 1 && cached > BLOCKS / 4);
	expect(live_get("memory.current") < 30 * MIB);
	return stage_verdict();
}

static uint64_t shrink_nothing(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return 0;
}

static int has_64_shrinkers(void)
{
	char at[65];

	for (int i = 0; i < 64; i++)
		expect(memctl_shrinker_register(shrink_nothing, &at[i]) == 0);
	expect(memctl_shrinker_register(shrink_nothing, &at[64]) == -ENOSPC);
	expect(memctl_shrinker_unregister(shrink_nothing, &at[7]) == 0);
	expect(memctl_shrinker_register(shrink_nothing, &at[64]) == 0);
	return stage_verdict();
}

/* A child's shrinkers are its own; it starts a helper when it has something. */
static int shrinks_in_a_child(void)
{
	int status = 0;
	pid_t pid;

	expect(memctl_shrinker_register(shrink, cache) == 0);
	pid = fork();
	if (pid == 0) {
		char *volatile p;

		program = pthread_self();
		fill_cache();
		p = malloc(40 * MIB);
		expect(p != NULL && calls > 0);
		_exit(stage_verdict());
	}
	expect(waitpid(pid, &status, 0) == pid && status == 0);
	expect_equal(calls, 0);
	return stage_verdict();
}

/* ---- what may be dropped -------------------------------------------------------------------------------------- */

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(p != MAP_FAILED);
	return memset(p, 7, size);
}

static bool is_all(const char *p, size_t size, char c)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != c)
			return false;
	return true;
}

static int drops_for_itself(void)
{
	char *kept, *first, *second, *volatile p;

	kept = map(4 * MIB);
	first = map(20 * MIB);
	second = map(20 * MIB);
	expect(memctl_volatile(kept, 4 * MIB, true) == 0);
	expect(memctl_volatile(first, 20 * MIB, true) == 0);
	expect(memctl_volatile(second, 20 * MIB, true) == 0);
	expect(memctl_volatile(kept, 4 * MIB, false) == 0);
	be_ready(44 * MIB);
	p = malloc(30 * MIB);
	expect(p != NULL && memset(p, 1, 30 * MIB));
	expect(is_all(kept, 4 * MIB, 7));
	expect(memctl_volatile(first, 20 * MIB, false) == 1);
	expect(is_all(first, 20 * MIB, 0));
	expect(memctl_volatile(second, 20 * MIB, false) == 0);
	expect(is_all(second, 20 * MIB, 7));
	expect(memctl_volatile(first, 20 * MIB, false) == 0);
	return stage_verdict();
}

static int drops_when_asked(void)
{
	char *p;

	p = map(30 * MIB);
	expect(memctl_volatile(p, 30 * MIB, true) == 0);
	be_ready(30 * MIB);
	live_set("memory.reclaim=20M");
	expect_settles("memory.current", 6 * MIB, 6 * MIB); /* all of the range goes */
	expect(memctl_volatile(p, 30 * MIB, false) == 1);
	return stage_verdict();
}

/* Only whole pages inside what was named; a part may be switched off. */
static int drops_whole_pages(void)
{
	char *p;

	p = map(30 * MIB);
	expect(memctl_volatile(p + 1, 30 * MIB - 2, true) == 0);
	expect(memctl_volatile(p + 10 * MIB, 10 * MIB, false) == 0);
	expect(memctl_volatile(p, 20, true) == 0);
	be_ready(30 * MIB);
	live_set("memory.reclaim=19M");
	expect(memctl_volatile(p, 30 * MIB, false) == 1);
	expect(is_all(p, PAGE, 7) && is_all(p + PAGE, 10 * MIB - PAGE, 0));
	expect(is_all(p + 10 * MIB, 10 * MIB, 7));
	expect(is_all(p + 20 * MIB, 10 * MIB - PAGE, 0) && is_all(p + 30 * MIB - PAGE, PAGE, 7));
	expect(memctl_volatile((void *)-4096l, 8192, true) == -EINVAL);
	return stage_verdict();
}

static int has_many_ranges(void)
{
	unsigned long n = 65536;
	char *p;

	p = mmap(NULL, (2 * n + 4) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	expect(p != MAP_FAILED);
	for (unsigned long i = 0; i < n; i++)
		expect(memctl_volatile(p + 2 * i * PAGE, PAGE, true) == 0);
	expect(memctl_volatile(p + 2 * n * PAGE, PAGE, true) == -ENOSPC);
	expect(memctl_volatile(p, 2 * n * PAGE, true) == 0);
	expect(memctl_volatile(p + PAGE, PAGE, false) == 0);
	expect(memctl_volatile(p, 2 * n * PAGE, false) == 0);
	expect(memctl_volatile(p + 2 * n * PAGE, PAGE, true) == 0);
	return stage_verdict();
}

/* An idle relative's memory may go, and only that. */
static int drops_for_relatives(void)
{
	int to[2], ready[2], status = 0;
	char *volatile p;
	char c;
	pid_t pid;

	expect(pipe(to) == 0 && pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		char *mine = map(40 * MIB);

		close(to[1]);
		expect(memctl_volatile(mine, 40 * MIB, true) == 0);
		expect(stage_until(is_heard, NULL));
		(void)!write(ready[1], "r", 1);
		(void)!read(to[0], &c, 1);
		expect(memctl_volatile(mine, 40 * MIB, false) == 1);
		_exit(stage_verdict());
	}
	expect(read(ready[0], &c, 1) == 1);
	expect_settles("memory.current", 42 * MIB, 4 * MIB);
	p = malloc(40 * MIB);
	expect(p != NULL);
	free(p);
	close(to[0]);
	close(to[1]);
	expect(waitpid(pid, &status, 0) == pid && status == 0);
	return stage_verdict();
}

/* ---- charges of its own ---------------------------------------------------------------------------------------- */

static int charges(void)
{
	uint64_t base;
	int status = 0;
	pid_t pid;

	base = live_get("memory.current");
	expect(memctl_charge("memory", 20 * MIB - 1) == 0);
	expect_settles("memory.current", base + 20 * MIB, SLACK);
	expect(memctl_charge("memory", 50 * MIB) == -ENOMEM);
	expect(memctl_charge("nonsense", PAGE) == -ENODEV);
	expect(memctl_charge("swap", PAGE) == -ENODEV);
	expect(memctl_charge(NULL, PAGE) == -EINVAL);
	pid = fork();
	if (pid == 0)
		_exit(memctl_uncharge("memory", PAGE) == -EINVAL ? 0 : 1);
	expect(waitpid(pid, &status, 0) == pid && status == 0);
	expect(memctl_uncharge("memory", 20 * MIB + 1) == -EINVAL);
	expect(memctl_uncharge("memory", 20 * MIB) == 0);
	expect_settles("memory.current", base, SLACK);
	expect(memctl_uncharge("memory", 1) == -EINVAL);
	return stage_verdict();
}

static bool are_no_ops(void)
{
	struct memctl_self_usage u;
	char page[4096] = { 1 };

	return memctl_self_usage(&u) == 0 && u.held == 0 && u.max == MEMCTL_MAX && u.room == MEMCTL_MAX &&
	       memctl_shrinker_register(shrink_nothing, NULL) == 0 &&
	       memctl_shrinker_unregister(shrink_nothing, NULL) == 0 && memctl_volatile(page, 4096, true) == 0 &&
	       memctl_volatile(page, 4096, false) == 0 && memctl_charge("memory", MIB) == 0 &&
	       memctl_uncharge("memory", MIB) == 0 && page[0] == 1;
}

#define MAX "memory.max=64M"

static const struct live_scene scenes[] = {
	{ "sees_itself", "a program sees what it holds and how much room is left", sees_itself, { MAX } },
	{ "shrinks_for_itself", "who is refused gets what its own shrinkers give", shrinks_for_itself, { MAX } },
	{ "shrinks_when_asked", "shrinkers give what memory.reclaim asks for", shrinks_when_asked, { MAX } },
	{ "has_64_shrinkers", "there can be 64 shrinkers", has_64_shrinkers, { MAX } },
	{ "shrinks_in_a_child", "a forked child has its parent's shrinkers", shrinks_in_a_child, { MAX } },
	{ "drops_for_itself", "volatile memory is dropped, what was marked first before", drops_for_itself, { MAX } },
	{ "drops_when_asked", "volatile memory is what memory.reclaim asks for", drops_when_asked, { MAX } },
	{ "drops_whole_pages", "volatile memory: whole pages, and parts", drops_whole_pages, { MAX } },
	{ "has_many_ranges", "volatile memory: 65,536 ranges", has_many_ranges, { MAX } },
	{ "drops_for_relatives", "volatile memory of an idle relative is dropped", drops_for_relatives, { MAX } },
	{ "charges",
	  "charges of its own are refused at the limit, and given back",
	  charges,
	  { MAX, "memory.charge=commit" } },
};

int main(int argc, char *argv[])
{
	if (argc == 1)
		(void)tap_ok(are_no_ops(), "in a process that is no member they do nothing");
	return live_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
}
