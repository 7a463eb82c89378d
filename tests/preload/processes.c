/* SPDX-License-Identifier: MIT */
/* Processes: who is charged after fork, exec and spawn, and that every start goes well. */
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define BUSY_THREADS 8

static void *map(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(p != MAP_FAILED);
	return p;
}

/* The status must be 0. */
static void collect(pid_t pid)
{
	int status = -1;

	expect(pid > 0);
	expect(waitpid(pid, &status, 0) == pid);
	expect_equal(status, 0);
}

/* ---- fork ---------------------------------------------------------------------------------------------------- */

static void *inherited_map;
static void *inherited_block;

/* Whatever a child does with what it inherited, its parent pays on. */
static void live_as_child(pid_t parent, uint64_t parent_holds)
{
	uint64_t before;

	munmap(map(1), PAGE); /* whom no handler told of the fork joins now */
	expect_equal(stage_state_of(getpid()), MEMBER_LIVE);
	before = stage_held_by(getpid());
	expect(before <= 64);
	munmap(inherited_map, 100 * PAGE);
	expect_equal(stage_held_by(getpid()), before);
	(void)map(50);
	expect_equal(stage_held_by(getpid()), before + 50);
	free(inherited_block);
	expect(malloc(300 << 10) != NULL);
	expect(stage_class(CLASS_ANON) == 150);
	expect_equal(stage_held_by(parent), parent_holds);
	_exit(stage_verdict());
}

static pid_t by_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void play_fork(pid_t (*how)(void))
{
	pid_t parent = getpid();
	uint64_t holds;
	pid_t pid;

	inherited_map = map(100);
	inherited_block = malloc(1 << 20);
	holds = stage_held_by(parent);
	expect(holds >= 356);
	pid = how();
	if (pid == 0)
		live_as_child(parent, holds);
	collect(pid);
	expect_equal(stage_held_by(parent), holds);
	munmap(inherited_map, 100 * PAGE);
	expect_equal(stage_held_by(parent), holds - 100);
}

static int forks(void)
{
	play_fork(fork);
	return stage_verdict();
}

static int forks_raw(void)
{
	play_fork(_Fork);
	return stage_verdict();
}

static int clones(void)
{
	play_fork(by_clone);
	return stage_verdict();
}

static atomic_bool stop;

static void *be_busy(void *arg)
{
	uint64_t random = (uintptr_t)arg + 1;
	void *slot[64] = { NULL };

	while (!atomic_load(&stop)) {
		uint64_t r = ground_random(&random);

		free(slot[r % 64]);
		slot[r % 64] = malloc(r >> 20 & 0xffff);
		if (r >> 58 == 0) {
			void *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			munmap(p, 8 * PAGE);
		}
	}
	for (int i = 0; i < 64; i++)
		free(slot[i]);
	return NULL;
}

static void start_busy_threads(pthread_t *t)
{
	for (uintptr_t i = 0; i < BUSY_THREADS; i++)
		expect(pthread_create(&t[i], NULL, be_busy, (void *)i) == 0);
}

static void end_busy_threads(pthread_t *t)
{
	atomic_store(&stop, true);
	for (int i = 0; i < BUSY_THREADS; i++)
		pthread_join(t[i], NULL);
}

static int forks_busily(void)
{
	pthread_t t[BUSY_THREADS];

	start_busy_threads(t);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			for (int k = 0; k < 200; k++)
				if (!malloc((size_t)k * 97))
					_exit(1);
			_exit(0);
		}
		collect(pid);
	}
	end_busy_threads(t);
	return stage_verdict();
}

static atomic_int handled;

static void fork_in_handler(int sig)
{
	int saved = errno;
	pid_t pid;

	(void)sig;
	pid = _Fork();
	if (pid == 0) {
		void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		_exit(p == MAP_FAILED || munmap(p, PAGE));
	}
	collect(pid);
	atomic_fetch_add(&handled, 1);
	errno = saved;
}

static int forks_in_handlers(void)
{
	struct itimerval every = { { 0, 2000 }, { 0, 2000 } };
	uint64_t random = 1;
	void *slot[64] = { NULL };

	(void)stage_segment();
	signal(SIGALRM, fork_in_handler);
	setitimer(ITIMER_REAL, &every, NULL);
	while (atomic_load(&handled) < 150) {
		uint64_t r = ground_random(&random);
		void *p = map(1 + r % 100);

		free(slot[r % 64]);
		slot[r % 64] = malloc(r >> 16 & 0x1ffff);
		munmap(p, (1 + r % 100) * PAGE);
	}
	memset(&every, 0, sizeof(every));
	setitimer(ITIMER_REAL, &every, NULL);
	expect_equal(stage_class(CLASS_ANON), 0);
	return stage_verdict();
}

/* ---- exec ----------------------------------------------------------------------------------------------------- */

/* Played by what is exec'd: one of us, in the group, with our library first. Its
 * argument: the rest of LD_PRELOAD. */
static int is_member(void)
{
	const char *list = getenv("LD_PRELOAD");
	const char *rest = list ? strchr(list, ':') : NULL;
	const char *more = stage_argument(1);

	expect(list && strstr(list, "libmemctl-preload.so") != NULL);
	expect(strcmp(rest ? rest + 1 : "", more && *more != '/' ? more : "") == 0);
	expect_equal(stage_state_of(getpid()), MEMBER_LIVE);
	expect_equal(mc_load_full(&stage_segment()->counters->member[0].flags) & MEMBER_EXECING, 0);
	expect_equal(stage_class(CLASS_ANON), 0);
	free(malloc(100000));
	return stage_verdict();
}

enum way { EXECVE, EXECV, EXECVP, EXECVPE, EXECL, EXECLP, EXECLE, FEXECVE, EXECVEAT, EXECVEAT_FD, SCRIPT, BARE, WAYS };

static char script[128];

static void make_script(void)
{
	int fd;

	strcpy(script, "/tmp/memctl-script-XXXXXX");
	fd = mkstemp(script);
	dprintf(fd, "#!%s is_member\n", stage_self());
	fchmod(fd, 0755);
	close(fd);
}

static void exec_in(enum way way)
{
	static char name[] = "is_member";
	static char *nothing[] = { NULL };
	const char *self = stage_self();
	char *argv[] = { (char *)(uintptr_t)self, name, NULL };
	const char *base = strrchr(self, '/') + 1;
	int fd = open(self, O_RDONLY | O_CLOEXEC);
	char dir[512];

	snprintf(dir, sizeof(dir), "%.*s", (int)(base - 1 - self), self);
	switch (way) {
	case EXECVE:
		execve(self, argv, environ);
		break;
	case EXECV:
		execv(self, argv);
		break;
	case EXECVP:
		setenv("PATH", dir, 1);
		execvp(base, argv);
		break;
	case EXECVPE:
		setenv("PATH", dir, 1);
		execvpe(base, argv, environ);
		break;
	case EXECL:
		execl(self, self, name, (char *)NULL);
		break;
	case EXECLP:
		setenv("PATH", dir, 1);
		execlp(base, base, name, (char *)NULL);
		break;
	case EXECLE:
		execle(self, self, name, (char *)NULL, nothing);
		break;
	case FEXECVE:
		fexecve(fd, argv, environ);
		break;
	case EXECVEAT:
		execveat(open(dir, O_RDONLY | O_CLOEXEC), base, argv, environ, 0);
		break;
	case EXECVEAT_FD:
		execveat(fd, "", argv, environ, AT_EMPTY_PATH);
		break;
	case SCRIPT:
		execl(script, script, (char *)NULL);
		break;
	case BARE:
		execve(self, argv, nothing);
		break;
	default:
		break;
	}
	_exit(126);
}

static int execs(void)
{
	make_script();
	for (int way = 0; way < WAYS; way++) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0) {
			(void)map(100);
			expect(malloc(1 << 20) != NULL);
			exec_in((enum way)way);
		}
		expect(waitpid(pid, &status, 0) == pid);
		if (status)
			fprintf(stderr, "# way %d: status 0x%x\n", way, (unsigned)status);
		expect(status == 0);
	}
	unlink(script);
	return stage_verdict();
}

/* A failed exec leaves the old image as it was. */
static int exec_fails(void)
{
	char *nothing[] = { stage_argument(0), NULL };
	uint64_t held;

	(void)map(10);
	held = stage_held();
	errno = 0;
	expect(execv("/nonexistent/program", nothing) == -1 && errno == ENOENT);
	expect(execvp("memctl-no-such-program", nothing) == -1 && errno == ENOENT);
	expect(execv("/tmp", nothing) == -1 && errno == EACCES);
	expect_equal(mc_load_full(&stage_segment()->counters->member[0].flags) & MEMBER_EXECING, 0);
	expect_equal(stage_held(), held);
	return stage_verdict();
}

/* Exec with threads at work: the image settles what they left half done. */
static int execs_busily(void)
{
	static char name[] = "is_member";
	char *args[] = { (char *)(uintptr_t)stage_self(), name, NULL };

	for (int i = 0; i < 30; i++) {
		pthread_t t[BUSY_THREADS];
		pid_t pid = fork();

		if (pid == 0) {
			start_busy_threads(t);
			usleep((useconds_t)(i * 100));
			execv(args[0], args);
			_exit(126);
		}
		collect(pid);
	}
	return stage_verdict();
}

static int keeps_preload(void)
{
	static char name[] = "is_member";
	static char rest[] = "libm.so.6:libdl.so.2";
	static char list[] = "LD_PRELOAD=libm.so.6 libdl.so.2";
	char *args[] = { (char *)(uintptr_t)stage_self(), name, rest, NULL };
	char *env[] = { list, NULL };
	pid_t pid = fork();

	if (pid == 0) {
		execve(args[0], args, env);
		_exit(126);
	}
	collect(pid);
	expect(posix_spawn(&pid, args[0], NULL, NULL, args, env) == 0);
	collect(pid);
	return stage_verdict();
}

static int spawns(void)
{
	static char name[] = "is_member";
	char *args[] = { (char *)(uintptr_t)stage_self(), name, NULL };
	char *nothing[] = { NULL };
	pid_t pid;

	expect(posix_spawn(&pid, args[0], NULL, NULL, args, environ) == 0);
	collect(pid);
	expect(posix_spawn(&pid, args[0], NULL, NULL, args, nothing) == 0);
	collect(pid);
	expect(posix_spawnp(&pid, args[0], NULL, NULL, args, environ) == 0);
	collect(pid);
	expect(posix_spawn(NULL, "/nonexistent", NULL, NULL, args, environ) == ENOENT);
	pid = vfork();
	if (pid == 0) {
		execv(args[0], args);
		_exit(126);
	}
	collect(pid);
	expect_equal(system("exit 7"), 7 << 8);
	return stage_verdict();
}

/* ---- programs that cannot carry us ----------------------------------------------------------------------------- */

static char made[128];

static bool make(const char *command)
{
	char line[400];

	snprintf(line, sizeof(line),
		 "cd %s && { [ -e c.c ] || printf '#include <unistd.h>\\nint main(void) { char c; "
		 "return read(0, &c, 1) != 0; }\\n' > c.c; } && { %s; } > log 2>&1",
		 made, command);
	return system(line) == 0;
}

/* Runs ./prog until its standard input ends; it is to be listed as observed, and to know nothing of us. */
static void observe(const char *what)
{
	posix_spawn_file_actions_t actions;
	char path[160];
	char *args[] = { path, NULL };
	int ends[2];
	pid_t pid = 0;

	snprintf(path, sizeof(path), "%s/prog", made);
	expect(pipe2(ends, O_CLOEXEC) == 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
	expect(posix_spawn(&pid, path, &actions, NULL, args, environ) == 0);
	if (stage_state_of(pid) != MEMBER_OBSERVED) {
		fprintf(stderr, "# %s: not observed but %d\n", what, stage_state_of(pid));
		expect(false);
	}
	close(ends[0]);
	close(ends[1]);
	collect(pid);
	pid = fork();
	if (pid == 0) {
		close(0);
		open("/dev/null", O_RDONLY);
		execv(path, args);
		_exit(126);
	}
	collect(pid);
	posix_spawn_file_actions_destroy(&actions);
}

static const struct {
	const char *what;
	const char *command;
} odd_programs[] = {
	{ "static", "cc -static -o prog c.c" },
	{ "static-pie", "cc -static-pie -o prog c.c" },
	{ "musl", "musl-gcc -o prog c.c" },
	{ "32-bit", "cc -m32 -o prog c.c" },
	{ "ASan", "cc -fsanitize=address -o prog c.c && ./prog < /dev/null" },
	{ "setuid", "cc -o prog c.c && chown 65534 prog && chmod 4755 prog" },
};

static int odd(void)
{
	strcpy(made, "/tmp/memctl-odd-XXXXXX");
	expect(mkdtemp(made) != NULL);
	for (unsigned i = 0; i < sizeof(odd_programs) / sizeof(odd_programs[0]); i++)
		if (make(odd_programs[i].command))
			observe(odd_programs[i].what);
		else
			fprintf(stderr, "# %s: cannot be made here\n", odd_programs[i].what);
	(void)make("rm -f c.c prog log");
	rmdir(made);
	return stage_verdict();
}

/* ---- threads ------------------------------------------------------------------------------------------------------ */

static void *allocate_a_little(void *arg)
{
	free(malloc((uintptr_t)arg % 5000));
	return NULL;
}

static void run_threads(uintptr_t n)
{
	pthread_t t;

	for (uintptr_t i = 0; i < n; i++) {
		expect(pthread_create(&t, NULL, allocate_a_little, (void *)i) == 0);
		pthread_join(t, NULL);
	}
}

static int threads(void)
{
	uint64_t held;

	run_threads(1000);
	held = stage_held();
	run_threads(10000);
	expect(stage_held() <= held + 64);
	return stage_verdict();
}

/* ---- sudden ends -------------------------------------------------------------------------------------------------- */

static int victim(void)
{
	pthread_t t[BUSY_THREADS];

	(void)fork();
	(void)fork();
	start_busy_threads(t);
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(malloc(1000) == NULL);
		(void)waitpid(pid, NULL, 0);
	}
}

static void kill_at_random(unsigned rounds)
{
	static char name[] = "victim";
	char *argv[] = { (char *)(uintptr_t)stage_self(), name, NULL };
	uint64_t random = 12345;
	unsigned charged = 0;
	bool good = true;

	for (unsigned i = 0; i < rounds && good; i++) {
		struct stage s;
		pid_t pid;

		stage_up(&s, 0);
		setpgid(0, 0);
		pid = fork();
		if (pid == 0) {
			setpgid(0, 0);
			pid = stage_start(&s, argv, NULL);
			(void)stage_wait(pid);
			_exit(0);
		}
		setpgid(pid, pid);
		usleep((useconds_t)(ground_random(&random) % 40000));
		kill(-pid, SIGKILL);
		(void)stage_wait(pid);
		charged += ground_usage(&s.ground, s.group) > 0;
		good = stage_is_empty(&s);
		stage_down(&s);
	}
	tap_ok(good && charged > rounds / 3, "killed at %u random moments, nothing is left", rounds);
}

static const struct scene scenes[] = {
	{ "forks", "a child of fork owes nothing", forks, 0 },
	{ "forks_raw", "a child of _Fork owes nothing", forks_raw, 0 },
	{ "clones", "a child of a raw clone owes nothing", clones, 0 },
	{ "forks_busily", "300 forks among eight busy threads", forks_busily, 0 },
	{ "forks_in_handlers", "_Fork in a handler that interrupts malloc and mmap", forks_in_handlers, 0 },
	{ "execs", "every form of exec brings a member", execs, 0 },
	{ "exec_fails", "an exec that fails changes nothing", exec_fails, 0 },
	{ "execs_busily", "exec while other threads allocate", execs_busily, 0 },
	{ "keeps_preload", "the user's LD_PRELOAD stays behind ours", keeps_preload, 0 },
	{ "spawns", "posix_spawn, vfork and system bring members", spawns, 0 },
	{ "odd", "programs that cannot carry us run, and are observed", odd, 0 },
	{ "threads", "10,000 threads leave nothing", threads, 0 },
	{ "is_member", "started directly, a member", is_member, 0 },
	{ "victim", "", victim, 0 },
};

int main(int argc, char *argv[])
{
	if (argc > 1)
		return stage_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
	for (unsigned i = 0; i + 1 < sizeof(scenes) / sizeof(scenes[0]); i++)
		stage_play(&scenes[i], NULL, NULL, "");
	kill_at_random(30);
	return tap_end();
}
