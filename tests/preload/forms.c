/* SPDX-License-Identifier: MIT */
/* Every form in which processes begin, share and end: the group holds what the kernel counts for them (each
 * page once, divided among those who share it), and nothing afterwards. */
#include "tests/preload/live.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define CURRENT "memory.current"

/* The kernel may count resident pages per processor, in batches. */
#define SLACK (64 * PAGE)

static void touch(char *at, size_t size, char with)
{
	for (size_t i = 0; i < size; i += PAGE)
		at[i] = with;
}

static char *map(size_t size)
{
	char *at = mmap(NULL, size, RW, ANON, -1, 0);

	expect(at != MAP_FAILED);
	return at;
}

static char *fill(size_t size)
{
	char *at = map(size);

	touch(at, size, 1);
	return at;
}

/* ---- steps in common ---------------------------------------------------------------------------------------- */

/* Two processes by turns: eventfds live through fork and cost no memory. */
struct turns {
	int go, done;
};

static struct turns new_turns(void)
{
	return (struct turns){ eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC), eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC) };
}

static void give(int fd, uint64_t n)
{
	expect(write(fd, &n, sizeof(n)) == (ssize_t)sizeof(n));
}

static void take(int fd, unsigned times)
{
	uint64_t n;

	while (times--)
		expect(read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n));
}

/* A child's side: says that it is ready, waits for the word to go on. */
static void meet(const struct turns *t)
{
	give(t->done, 1);
	take(t->go, 1);
}

static int end_of(pid_t pid)
{
	int status = -1;

	expect(pid > 0);
	expect(waitpid(pid, &status, 0) == pid);
	return status;
}

/* What the kernel says, and that is no less than what is known to be there. */
static void expect_true_above(uint64_t bytes, int line)
{
	expect_at(live_is_true(SLACK), line, "as the kernel counts");
	expect_at(live_get(CURRENT) >= bytes - bytes / 100, line, "what is known to be there");
}
#define expect_true_and(bytes) expect_true_above((bytes), __LINE__)

/* ---- copies on write ---------------------------------------------------------------------------------------- */

static pid_t by_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* The child joins when it first does something that we see. */
static int play_copies(pid_t (*how)(void))
{
	struct turns t = new_turns();
	char *all = fill(128 * MIB);
	pid_t pid;

	expect_true_and(128 * MIB);
	pid = how();
	if (pid == 0) {
		munmap(map(PAGE), PAGE);
		meet(&t);
		touch(all, 64 * MIB, 2);
		meet(&t);
		munmap(all, 128 * MIB); /* half was its own, half is its parent's */
		meet(&t);
		_exit(stage_verdict());
	}
	take(t.done, 1);
	expect_true_and(128 * MIB);
	expect(live_get(CURRENT) < 136 * MIB); /* shared: not twice */
	expect_equal(live_members(), 2);
	give(t.go, 1);
	take(t.done, 1);
	expect_true_and(192 * MIB);
	give(t.go, 1);
	take(t.done, 1);
	expect_settles(CURRENT, live_truth(), 2 * MIB);
	expect_true_and(128 * MIB);
	give(t.go, 1);
	expect_equal(end_of(pid), 0);
	munmap(all, 128 * MIB);
	expect_true_within(SLACK);
	expect(live_get(CURRENT) < 8 * MIB);
	return stage_verdict();
}

static int copies(void)
{
	return play_copies(fork);
}

static int copies_raw(void)
{
	return play_copies(by_clone);
}

/* The parent ends, the child has never written: what was the parent's is the child's. */
static int inherits(void)
{
	struct turns t = new_turns();
	volatile char *all = fill(256 * MIB);

	expect_true_and(256 * MIB);
	if (fork() > 0) {
		take(t.done, 1);
		_exit(stage_verdict());
	}
	give(t.done, 1);
	while (live_members() > 1)
		sched_yield();
	expect(all[MIB] == 1);
	expect_true_and(256 * MIB);
	expect(live_get(CURRENT) < 264 * MIB);
	return stage_verdict();
}

/* A server that builds its tables once, and workers that write to parts of them; then the server is gone. */
enum { WORKERS = 8 };

static struct turns first, second, last;

static void work(char *all, unsigned number)
{
	meet(&first);
	touch(all + number * 4 * MIB, (number + 1) * MIB, 2); /* parts overlap */
	(void)fill(MIB);
	meet(&second);
	if (number == 0) {
		while (live_members() > WORKERS) /* the parent goes */
			sched_yield();
		expect_true_and((64 + 36 + 8) * MIB);
		give(last.go, WORKERS - 1);
	} else {
		take(last.go, 1);
	}
	_exit(stage_verdict());
}

static int prefork(void)
{
	char *all = fill(64 * MIB);

	first = new_turns();
	second = new_turns();
	last = new_turns();
	for (unsigned i = 0; i < WORKERS; i++)
		if (fork() == 0)
			work(all, i);
	take(first.done, WORKERS);
	expect_true_and(64 * MIB);
	expect(live_get(CURRENT) < 80 * MIB);
	give(first.go, WORKERS);
	take(second.done, WORKERS);
	expect_true_and((64 + 36 + 8) * MIB);
	give(second.go, WORKERS);
	return stage_verdict();
}

/* With memory.charge=commit the parent pays alone; a child never gives back what it has not paid, though it has
 * something to give. */
static int committed(void)
{
	struct turns t = new_turns();
	char *all = fill(64 * MIB);
	uint64_t before = live_get(CURRENT);
	uint64_t with_child;
	pid_t pid = fork();

	if (pid == 0) {
		meet(&t);
		(void)map(16 * MIB);
		meet(&t);
		touch(all, 32 * MIB, 2);
		munmap(all, 64 * MIB);
		meet(&t);
		_exit(stage_verdict());
	}
	take(t.done, 1);
	with_child = live_get(CURRENT);
	expect(with_child >= before && with_child < before + MIB);
	give(t.go, 1);
	take(t.done, 1);
	expect_equal(live_get(CURRENT), with_child + 16 * MIB);
	give(t.go, 1);
	take(t.done, 1);
	expect_equal(live_get(CURRENT), with_child + 16 * MIB);
	give(t.go, 1);
	expect_equal(end_of(pid), 0);
	expect_settles(CURRENT, before, 0);
	munmap(all, 64 * MIB);
	expect_equal(live_get(CURRENT), before - 64 * MIB);
	return stage_verdict();
}

/* ---- one memory, two processes ------------------------------------------------------------------------------- */

static struct turns vm_turns;
static char *vm_memory;

static int share_all(void *arg)
{
	(void)arg;
	vm_memory = fill(32 * MIB);
	meet(&vm_turns);
	return 0;
}

/* Nobody knows of the second process; what it maps is its partner's too, and stays when it ends. */
static int shares_memory(void)
{
	char *stack = map(64 * PAGE);
	pid_t pid;

	vm_turns = new_turns();
	pid = clone(share_all, stack + 64 * PAGE, CLONE_VM | SIGCHLD, NULL);
	expect(pid > 0);
	take(vm_turns.done, 1);
	expect_settles(CURRENT, live_truth(), SLACK);
	expect(live_get(CURRENT) >= 32 * MIB);
	give(vm_turns.go, 1);
	expect_equal(end_of(pid), 0);
	expect_true_and(32 * MIB);
	munmap(vm_memory, 32 * MIB);
	expect_true_within(SLACK);
	expect(live_get(CURRENT) < 8 * MIB);
	return stage_verdict();
}

/* ---- another image ------------------------------------------------------------------------------------------- */

#define WORD "MEMCTL_TEST_WORD" /* two eventfds of the parent's */

/* What is exec'd: 16 MiB of its own, until it is told to end. */
static int becomes(void)
{
	struct turns t;

	if (!getenv(WORD) || sscanf(getenv(WORD), "%d,%d", &t.go, &t.done) != 2)
		return STAGE_SKIP;
	(void)fill(16 * MIB);
	meet(&t);
	return stage_verdict();
}

static struct turns turns_for_exec(void)
{
	struct turns t = { eventfd(0, EFD_SEMAPHORE), eventfd(0, EFD_SEMAPHORE) };
	char text[32];

	snprintf(text, sizeof(text), "%d,%d", t.go, t.done);
	setenv(WORD, text, 1);
	return t;
}

enum way { BY_FORK, BY_VFORK, BY_SPAWN, BY_EXEC_OF_MUCH, WAYS };

static pid_t start_image(enum way way)
{
	static char name[] = "becomes";
	char *args[] = { (char *)(uintptr_t)stage_self(), name, NULL };
	pid_t pid = -1;

	if (way == BY_SPAWN)
		return posix_spawn(&pid, args[0], NULL, NULL, args, environ) ? -1 : pid;
	pid = way == BY_VFORK ? vfork() : fork();
	if (pid == 0) {
		if (way == BY_EXEC_OF_MUCH)
			(void)fill(100 * MIB);
		execv(args[0], args);
		_exit(126);
	}
	return pid;
}

static int images(void)
{
	uint64_t before;

	expect_true_within(SLACK);
	before = live_get(CURRENT);
	for (int way = 0; way < WAYS; way++) {
		struct turns t = turns_for_exec();
		pid_t pid = start_image((enum way)way);

		take(t.done, 1);
		expect_true_and(16 * MIB);
		expect(live_get(CURRENT) < before + 20 * MIB);
		expect_equal(live_members(), 2);
		give(t.go, 1);
		expect_equal(end_of(pid), 0);
		expect_true_within(SLACK);
		expect(live_get(CURRENT) < before + 2 * MIB);
		close(t.go);
		close(t.done);
	}
	return stage_verdict();
}

/* Twice forked, in a session of its own, its parents gone. */
static int daemonizes(void)
{
	struct turns t = new_turns();
	char *all = fill(32 * MIB);
	pid_t pid = fork();

	if (pid > 0) {
		take(t.done, 1);
		_exit(end_of(pid) | stage_verdict());
	}
	setsid();
	if (fork() > 0)
		_exit(0);
	give(t.done, 1);
	while (live_members() > 1)
		sched_yield();
	touch(all, 16 * MIB, 2);
	(void)fill(8 * MIB);
	expect_true_and(40 * MIB);
	return stage_verdict();
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

static pthread_barrier_t both;

static void *use_stack(void *arg)
{
	volatile char *deep = __builtin_alloca(3 * MIB);

	(void)arg;
	touch((char *)(uintptr_t)deep, 3 * MIB, 1);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	return NULL;
}

/* A stack of the program's own is a mapping like any other; it is the program that gives it back. */
static int own_stacks(void)
{
	pthread_attr_t attributes;
	uint64_t before;
	pthread_t t;
	char *stack;

	expect_true_within(SLACK);
	before = live_get(CURRENT);
	pthread_barrier_init(&both, NULL, 2);
	stack = mmap(NULL, 8 * MIB, RW, ANON | MAP_STACK | MAP_NORESERVE, -1, 0);
	pthread_attr_init(&attributes);
	expect(pthread_attr_setstack(&attributes, stack, 8 * MIB) == 0);
	expect(pthread_create(&t, &attributes, use_stack, NULL) == 0);
	pthread_barrier_wait(&both);
	expect_true_and(before + 3 * MIB - SLACK);
	expect(live_get(CURRENT) < before + 5 * MIB);
	pthread_barrier_wait(&both);
	pthread_join(t, NULL);
	munmap(stack, 8 * MIB);
	expect_true_within(SLACK);
	expect(live_get(CURRENT) < before + MIB);
	return stage_verdict();
}

static void *end_process(void *arg)
{
	(void)arg;
	exit(stage_verdict());
	return NULL;
}

static int thread_exits(void)
{
	pthread_t t;

	(void)fill(32 * MIB);
	expect_true_and(32 * MIB);
	expect(pthread_create(&t, NULL, end_process, NULL) == 0);
	return pause();
}

static void *live_on(void *main_thread)
{
	expect(pthread_join(*(pthread_t *)main_thread, NULL) == 0);
	(void)fill(16 * MIB);
	expect_true_and(48 * MIB);
	exit(stage_verdict());
	return NULL;
	return NULL;
}

/* The process goes on without its first thread, whose entries in /proc are empty then. */
static int main_ends(void)
{
	static pthread_t self;
	pthread_t t;

	(void)fill(32 * MIB);
	self = pthread_self();
	expect(pthread_create(&t, NULL, live_on, &self) == 0);
	pthread_exit(NULL);
	return 1;
}

/* ---- libraries ------------------------------------------------------------------------------------------------ */

static const char library_text[] =
	"#include <stdlib.h>\n#include <string.h>\n#include <sys/mman.h>\n"
	"char zeros[4 << 20]; static void *block, *range;\n"
	"__attribute__((constructor)) static void start(void) { memset(zeros, 1, sizeof(zeros));\n"
	"block = malloc(8 << 20); memset(block, 1, 8 << 20);\n"
	"range = mmap(0, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); memset(range, 1, 8 << "
	"20); }\n"
	"__attribute__((destructor)) static void end(void) { free(block); munmap(range, 8 << 20); }\n";

static bool make_library(char *dir)
{
	char line[300];
	FILE *f;

	if (!mkdtemp(dir))
		return false;
	snprintf(line, sizeof(line), "%s/lib.c", dir);
	f = fopen(line, "we");
	if (!f)
		return false;
	(void)fputs(library_text, f);
	fclose(f);
	snprintf(line, sizeof(line), "cc -shared -fPIC -O1 -o %s/lib.so %s/lib.c 2> /dev/null", dir, dir);
	return system(line) == 0;
}

static void remove_library(const char *dir)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/lib.c", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lib.so", dir);
	unlink(path);
	rmdir(dir);
}

/* A library that allocates when it is loaded and gives back when it goes. The allocator keeps freed pages
 * for a while: so it is asked for them. */
static int libraries(void)
{
	char dir[] = "/tmp/memctl-library-XXXXXX";
	char path[100];
	uint64_t before = 0;

	if (!make_library(dir)) {
		remove_library(dir);
		return STAGE_SKIP;
	}
	snprintf(path, sizeof(path), "%s/lib.so", dir);
	for (int i = 0; i < 10; i++) {
		void *library = dlopen(path, RTLD_NOW);

		expect(library != NULL);
		if (i % 3 == 0)
			expect_true_and(before + 20 * MIB - SLACK);
		dlclose(library);
		(void)malloc_trim(0);
		expect_true_within(SLACK);
		if (i == 0)
			before = live_get(CURRENT);
	}
	expect_true_within(SLACK);
	expect_settles(CURRENT, before, MIB);
	remove_library(dir);
	return stage_verdict();
}

/* ---- ends ----------------------------------------------------------------------------------------------------- */

static void end_by_abort(void)
{
	abort();
}

static void end_by_kill(void)
{
	raise(SIGKILL);
}

static void end_by_fault(void)
{
	volatile char *nowhere = mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0);

	nowhere[0] = 1;
}

static void end_by_group_exit(void)
{
	syscall(SYS_exit_group, 0);
}

static void end_by_quick_exit(void)
{
	quick_exit(0);
}

static const struct {
	void (*how)(void);
	int status;
} ends[] = {
	{ end_by_abort, SIGABRT }, { end_by_kill, SIGKILL }, { end_by_fault, SIGSEGV },
	{ end_by_group_exit, 0 },  { end_by_quick_exit, 0 },
};

static int ends_suddenly(void)
{
	uint64_t before;

	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	expect_true_within(SLACK);
	before = live_get(CURRENT);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct turns t = new_turns();
		pid_t pid = fork();

		if (pid == 0) {
			(void)fill(32 * MIB);
			meet(&t);
			ends[i].how();
			_exit(99);
		}
		take(t.done, 1);
		expect_true_and(32 * MIB);
		give(t.go, 1);
		expect_equal(end_of(pid), ends[i].status);
		expect_settles(CURRENT, before, MIB);
		expect_true_within(SLACK);
	}
	return stage_verdict();
}

static const struct live_scene scenes[] = {
	{ "copies", "fork: shared pages once, copies as they are made", copies, { NULL } },
	{ "copies_raw", "the same for a raw clone", copies_raw, { NULL } },
	{ "inherits", "a parent that ends leaves 256 MiB to its child", inherits, { NULL } },
	{ "prefork", "a pool of eight workers that outlives its parent", prefork, { NULL } },
	{ "committed",
	  "memory.charge=commit: a child pays for its own mappings alone",
	  committed,
	  { "memory.charge=commit" } },
	{ "shares_memory", "clone with CLONE_VM: one memory, counted once", shares_memory, { NULL } },
	{ "images", "fork, vfork, posix_spawn and exec of another image", images, { NULL } },
	{ "daemonizes", "a daemon that has left its parents", daemonizes, { NULL } },
	{ "own_stacks", "a thread on a stack of the program's own", own_stacks, { NULL } },
	{ "thread_exits", "exit in a thread that is not the first", thread_exits, { NULL } },
	{ "main_ends", "a first thread that ends before the others", main_ends, { NULL } },
	{ "libraries", "a library that allocates, loaded and unloaded", libraries, { NULL } },
	{ "ends_suddenly", "abort, kill, a fault, _exit and quick_exit", ends_suddenly, { NULL } },
	{ "becomes", "", becomes, { NULL } },
};

int main(int argc, char *argv[])
{
	unsigned n = sizeof(scenes) / sizeof(scenes[0]);

	return live_main(argc, argv, scenes, argc > 1 ? n : n - 1);
}
