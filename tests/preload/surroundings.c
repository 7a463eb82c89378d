/* SPDX-License-Identifier: MIT */
/* Odd surroundings: handlers, small stacks, closed descriptors, no memory, no group. The program must not
 * notice that we are there. */
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define ROOM (128u << 10)

/* ---- signal handlers ------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t handled;

static void map_in_handler(int sig)
{
	int saved = errno;
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)sig;
	if (p != MAP_FAILED) {
		p[PAGE] = 1;
		munmap(p + 2 * PAGE, 2 * PAGE);
		munmap(p, 2 * PAGE);
	}
	handled++;
	errno = saved;
}

static void every(long microseconds)
{
	struct itimerval t = { { 0, microseconds }, { 0, microseconds } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static int handlers(void)
{
	uint64_t random = 7;
	void *slot[64] = { NULL };

	(void)stage_segment();
	signal(SIGALRM, map_in_handler);
	every(100);
	while (handled < 5000) {
		uint64_t r = ground_random(&random);
		size_t n = (1 + r % 64) * PAGE;
		char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		free(slot[r % 64]);
		slot[r % 64] = malloc(r >> 30 & 0xffff);
		expect(munmap(p, n) == 0);
	}
	every(0);
	expect_equal(stage_class(CLASS_ANON), 0);
	return stage_verdict();
}

static int small_stacks(void)
{
	static char stack[8 << 10];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction act = { .sa_handler = map_in_handler, .sa_flags = SA_ONSTACK };

	if (sysconf(_SC_MINSIGSTKSZ) > 4096)
		return STAGE_SKIP; /* the kernel's own frame leaves no room */
	(void)stage_segment();
	expect(sigaltstack(&alternate, NULL) == 0);
	sigaction(SIGUSR1, &act, NULL);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	expect(handled == 100);
	expect_equal(stage_class(CLASS_ANON), 0);
	return stage_verdict();
}

/* ---- descriptors and output ------------------------------------------------------------------------------------- */

static unsigned count_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int descriptors(void)
{
	unsigned wanted = stage_argument(1) ? (unsigned)atoi(stage_argument(1)) : 0;

	free(malloc(1000000));
	expect_equal(count_descriptors(), wanted);
	return stage_verdict();
}

/* Played without the library. */
static int descriptors_alone(void)
{
	printf("%u\n", count_descriptors());
	return 0;
}

/* Closed from 0 on; the library must neither need nor take them. */
static int closed(void)
{
	void *p;
	pid_t pid;
	int status = 1;

	closefrom(0);
	p = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || munmap(p, ROOM) || !malloc(ROOM))
		return 1;
	pid = fork();
	if (pid == 0)
		_exit(malloc(ROOM) == NULL || count_descriptors() != 0);
	if (waitpid(pid, &status, 0) != pid || status || count_descriptors() != 0)
		return 1;
	return 0;
}

static int little_address_space(void)
{
	unsigned n = 0;

	while (n < 1000 && malloc(1 << 20))
		n++;
	expect(n > 100 && n < 1000);
	expect(malloc(100) != NULL);
	return stage_verdict();
}

static int keeps_errno(void)
{
	void *p;

	errno = 4711;
	p = malloc(3 << 20);
	expect(errno == 4711);
	free(p);
	expect(errno == 4711);
	p = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(p, ROOM);
	expect(errno == 4711);
	(void)sbrk(0);
	expect(madvise(&p, 0, MADV_NORMAL) == -1 || errno == 4711);
	return stage_verdict();
}

/* ---- libraries --------------------------------------------------------------------------------------------------- */

static int opens_libraries(void)
{
	uint64_t held;

	for (int i = 0; i < 50; i++) {
		void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);

		expect(library && dlsym(library, "cos"));
		expect(dlclose(library) == 0);
	}
	held = stage_held();
	for (int i = 0; i < 200; i++)
		dlclose(dlopen("libm.so.6", RTLD_NOW));
	expect_equal(stage_held(), held);
	return stage_verdict();
}

/* Built by `behind`: counts the mmap calls that come through, and allocates in a static initializer. */
static const char library_source[] =
	"#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/mman.h>\n"
	"int seen; static char *early;\n"
	"void *mmap(void *a, size_t n, int p, int f, int d, off_t o)\n{ static void *(*next)(void *, size_t, int, int, "
	"int, off_t);\n"
	"seen++; if (!next) *(void **)&next = dlsym(RTLD_NEXT, \"mmap\"); return next(a, n, p, f, d, o); }\n"
	"__attribute__((constructor)) static void init(void) { early = malloc(100000); memset(early, 1, 100000); }\n"
	"__attribute__((destructor)) static void fini(void) { free(early); }\n";

static int calls_come_through(void)
{
	int *seen = dlsym(RTLD_DEFAULT, "seen");
	int before;

	expect(seen != NULL);
	if (!seen)
		return 1;
	before = *seen;
	expect(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	expect_equal(*seen, before + 1);
	expect_equal(stage_class(CLASS_ANON), 1);
	expect(stage_class(CLASS_HEAP) >= 25);
	return stage_verdict();
}

static int behind(void)
{
	char dir[] = "/tmp/memctl-behind-XXXXXX";
	char line[600];
	FILE *f;
	int status;

	expect(mkdtemp(dir) != NULL);
	snprintf(line, sizeof(line), "%s/lib.c", dir);
	f = fopen(line, "we");
	fputs(library_source, f);
	fclose(f);
	snprintf(line, sizeof(line), "cc -shared -fPIC -o %s/lib.so %s/lib.c", dir, dir);
	if (system(line))
		return STAGE_SKIP;
	snprintf(line, sizeof(line), "LD_PRELOAD=\"$LD_PRELOAD:%s/lib.so\" %s calls_come_through", dir, stage_self());
	status = system(line);
	expect_equal(status, 0);
	snprintf(line, sizeof(line), "rm -r %s", dir);
	return system(line) || stage_verdict();
}

static const struct scene scenes[] = {
	{ "handlers", "mmap and munmap in 5,000 handlers that interrupt both", handlers, 0 },
	{ "small_stacks", "a handler on a stack of 8 KiB", small_stacks, 0 },
	{ "closed", "all descriptors closed", closed, 0 },
	{ "keeps_errno", "errno is kept", keeps_errno, 0 },
	{ "opens_libraries", "dlopen and dlclose leave nothing", opens_libraries, 0 },
	{ "behind", "a library behind ours sees the calls; its constructor may allocate", behind, 0 },
	{ "calls_come_through", "", calls_come_through, 0 },
	{ "descriptors", "", descriptors, 0 },
	{ "descriptors_alone", "", descriptors_alone, 0 },
	{ "little_address_space", "", little_address_space, 0 },
};
#define SCENES_ALONE 6

/* ---- from outside -------------------------------------------------------------------------------------------------- */

static char said[4096]; /* what the last shell command printed, both streams */

/* Runs a shell command in which $P is this program and $L the library. The exit status. */
static int shell(const char *command)
{
	FILE *f;
	size_t n;

	setenv("P", stage_self(), 1);
	setenv("L", getenv("MEMCTL_PRELOAD"), 1);
	f = popen(command, "re");
	if (!f)
		ground_bail("popen: %s", strerror(errno));
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = 0;
	return pclose(f);
}

static unsigned lines_said(void)
{
	unsigned n = 0;

	for (const char *p = said; *p; p++)
		n += *p == '\n';
	return n;
}

static void quiet(const char *command, const char *sentence)
{
	int status = shell(command);

	if (status)
		fprintf(stderr, "# %s", said);
	tap_ok(status == 0, "%s", sentence);
}

static void check_silence(const struct stage *s)
{
	setenv("MEMCTL_DIR", s->ground.dir, 1);
	setenv("MEMCTL_GROUP", STAGE_GROUP, 1);
	tap_ok(shell("LD_PRELOAD=$L /bin/echo hello 2>&1") == 0 && strcmp(said, "hello\n") == 0,
	       "a member says nothing of its own");
	quiet("LD_PRELOAD=$L $P descriptors $($P descriptors_alone) 2>&1", "no descriptor stays open");
	quiet("LD_PRELOAD=$L $P keeps_errno <&- >&- 2>&-", "starts with all three streams closed");
	quiet("ulimit -v 300000; LD_PRELOAD=$L $P little_address_space 2>&1", "runs with little address space");
}

/* Runs, unaccounted, and says so in one line that has `why` in it. */
static void check_unaccounted(const char *command, const char *why)
{
	char sentence[100];
	bool good = shell(command) == 0 && strstr(said, "hello\n") && lines_said() == 2 &&
		    strstr(said, "memctl: this program runs unaccounted") && strstr(said, why);

	if (!good)
		fprintf(stderr, "# %s", said);
	snprintf(sentence, sizeof(sentence), "%s", why);
	sentence[strcspn(sentence, ";#")] = 0;
	tap_ok(good, "unaccounted: %s", sentence);
}

static void check_reasons(void)
{
	check_unaccounted("MEMCTL_GROUP=/none LD_PRELOAD=$L /bin/echo hello 2>&1", "no such group");
	check_unaccounted("env -u MEMCTL_GROUP LD_PRELOAD=$L /bin/echo hello 2>&1", "MEMCTL_GROUP is not set");
	check_unaccounted("MEMCTL_DIR=/nonexistent LD_PRELOAD=$L /bin/echo hello 2>&1", "no daemon");
	check_unaccounted("d=$(mktemp -d); MEMCTL_DIR=$d LD_PRELOAD=$L /bin/echo hello 2>&1; rmdir $d", "no daemon");
	check_unaccounted("d=$(mktemp -d); chmod 755 $d; MEMCTL_DIR=$d LD_PRELOAD=$L /bin/echo hello 2>&1; rmdir $d",
			  "the runtime directory");
	if (geteuid() == 0)
		check_unaccounted("d=$(mktemp -d); chown 1 $d; MEMCTL_DIR=$d LD_PRELOAD=$L /bin/echo hello 2>&1; "
				  "rmdir $d",
				  "the runtime directory");
}

int main(int argc, char *argv[])
{
	struct stage s;

	if (argc > 1)
		return stage_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
	for (unsigned i = 0; i < SCENES_ALONE; i++)
		stage_play(&scenes[i], NULL, NULL, "");
	stage_up(&s, 0);
	check_silence(&s);
	check_reasons();
	tap_ok(stage_is_empty(&s), "nothing is left of them");
	stage_down(&s);
	return tap_end();
}
