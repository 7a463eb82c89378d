/* SPDX-License-Identifier: MIT */
/* Scenes that programs under the preload library play. */
#include "tests/preload/stage.h"

#include "accounting/sys.h"
#include "tests/lib/tap.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

/* ---- backstage -------------------------------------------------------------------------------------------- */

static uint32_t pid_namespace(void)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st))
		ground_bail("/proc/self/ns/pid: %s", strerror(errno));
	return (uint32_t)st.st_ino;
}

void stage_up(struct stage *s, uint64_t max)
{
	if (!getenv("MEMCTL_PRELOAD"))
		ground_bail("MEMCTL_PRELOAD is not set: start this with tools/env");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	ground_up(&s->ground);
	s->ground.seg.limits->header.daemon_pid_ns = pid_namespace();
	s->group = ground_group(&s->ground, STAGE_GROUP, max ? max : PAGES_MAX);
	/* Exact to the page at each call, and nobody is there to look what is resident. */
	s->ground.seg.limits->group[s->group].charge_mode = CHARGE_COMMIT;
}

void stage_down(struct stage *s)
{
	ground_down(&s->ground);
}

static char **arguments; /* of the program, its name first */

/* glibc gives constructors what main gets. */
__attribute__((constructor)) static void keep_arguments(int argc, char *argv[])
{
	(void)argc;
	arguments = argv;
}

char *stage_argument(unsigned n)
{
	return arguments[1] ? arguments[1 + n] : NULL;
}

const char *stage_self(void)
{
	static char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		ground_bail("/proc/self/exe: %s", strerror(errno));
	path[n] = 0;
	return path;
}

static void set_environment(const struct stage *s, const char *conf)
{
	setenv("LD_PRELOAD", getenv("MEMCTL_PRELOAD"), 1);
	setenv("MEMCTL_DIR", s->ground.dir, 1);
	setenv("MEMCTL_GROUP", STAGE_GROUP, 1);
	if (conf)
		setenv("MALLOC_CONF", conf, 1);
}

pid_t stage_start(const struct stage *s, char *const argv[], const char *conf)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ground_bail("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	set_environment(s, conf);
	execv(argv[0], argv);
	_exit(127);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

bool stage_until(bool (*condition)(void *arg), void *arg)
{
	double end = now() + STAGE_DEADLINE;

	while (!condition(arg)) {
		if (now() > end)
			return false;
		usleep(1000);
	}
	return true;
}

struct child {
	pid_t pid;
	int status;
};

static bool has_ended(void *arg)
{
	struct child *c = arg;

	return waitpid(c->pid, &c->status, WNOHANG) == c->pid;
}

int stage_wait(pid_t pid)
{
	struct child c = { .pid = pid };

	if (stage_until(has_ended, &c))
		return c.status;
	fprintf(stderr, "# no end after %d s: killed\n", STAGE_DEADLINE);
	kill(pid, SIGKILL);
	(void)waitpid(pid, &c.status, 0);
	return c.status;
}

static bool is_dead(const struct stage *s, uint32_t member)
{
	const struct member *m = &s->ground.seg.counters->member[member];
	uint64_t start = 0;

	return member_read_start_time(member_pid(mc_load_full(&m->state)), &start) != 0 ||
	       start != mc_load_relaxed(&m->start_time);
}

void stage_reap(const struct stage *s)
{
	struct actor by = ground_daemon((struct ground *)(uintptr_t)&s->ground);

	for (uint32_t i = 0; i < member_mark(&s->ground.seg); i++)
		if (member_is_present(&s->ground.seg, i) && is_dead(s, i))
			(void)settle_dead(&by, i);
}

unsigned stage_members(const struct stage *s, enum member_state state)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < member_mark(&s->ground.seg); i++) {
		uint64_t word = mc_load_full(&s->ground.seg.counters->member[i].state);

		if (state == MEMBER_FREE ? member_is_present(&s->ground.seg, i) : member_state(word) == state)
			n++;
	}
	return n;
}

/* Orphans come to us (stage_up): a zombie would count as alive. */
static bool nobody_is_left(void *arg)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	stage_reap(arg);
	return stage_members(arg, MEMBER_FREE) == 0;
}

bool stage_is_empty(const struct stage *s)
{
	if (!stage_until(nobody_is_left, (void *)(uintptr_t)s))
		fprintf(stderr, "# members are left\n");
	return ground_empty(&s->ground);
}

/* ---- scenes ------------------------------------------------------------------------------------------------- */

void stage_play(const struct scene *scene, char *const more[], const char *conf, const char *note)
{
	char *argv[12] = { (char *)(uintptr_t)stage_self(), (char *)(uintptr_t)scene->name };
	struct stage s;
	int status;
	bool empty;

	for (unsigned i = 0; more && more[i] && i < 9; i++)
		argv[2 + i] = more[i];
	stage_up(&s, scene->max);
	status = stage_wait(stage_start(&s, argv, conf));
	empty = stage_is_empty(&s);
	stage_down(&s);
	if (WIFEXITED(status) && WEXITSTATUS(status) == STAGE_SKIP) {
		tap_skip("not possible here", "%s%s", scene->sentence, note);
		return;
	}
	if (status)
		fprintf(stderr, "# %s: wait status 0x%x\n", scene->name, (unsigned)status);
	tap_ok(status == 0 && empty, "%s%s", scene->sentence, note);
}

int stage_main(int argc, char *argv[], const struct scene *scenes, unsigned n)
{
	if (argc > 1) {
		for (unsigned i = 0; i < n; i++)
			if (strcmp(argv[1], scenes[i].name) == 0)
				return scenes[i].play();
		return 2;
	}
	for (unsigned i = 0; i < n; i++)
		stage_play(&scenes[i], NULL, NULL, "");
	return tap_end();
}

/* ---- inside a scene ---------------------------------------------------------------------------------------- */

static int unmet;

const struct segment *stage_segment(void)
{
	static struct segment seg;
	const char *dir = getenv("MEMCTL_DIR");

	if (!seg.limits && (!dir || segment_attach(dir, SEGMENT_READER, &seg)))
		_exit(98);
	return &seg;
}

/* `class` CLASSES: what is held. */
static uint64_t sum(unsigned class)
{
	const struct segment *seg = stage_segment();
	uint64_t n = 0;
	uint16_t group = 0;

	if (group_find(seg, STAGE_GROUP, &group))
		_exit(98);
	for (uint32_t i = 0; i < mc_load_full(&seg->counters->header.accounts_used); i++) {
		struct account *a = account_of(seg, i);

		if (mc_load_full(&a->member) && account_meta_group(mc_load_full(&a->meta)) == group)
			n += class == CLASSES ? account_held(mc_load_full(&a->word))
					      : mc_load_relaxed(&a->class[class]);
	}
	return n;
}

uint64_t stage_held(void)
{
	return sum(CLASSES);
}

uint64_t stage_class(enum class class)
{
	return sum((unsigned)class);
}

static uint32_t find(pid_t pid)
{
	const struct segment *seg = stage_segment();

	for (uint32_t i = 0; i < member_mark(seg); i++)
		if (member_is_present(seg, i) && member_pid(mc_load_full(&member_of(seg, i)->state)) == (uint32_t)pid)
			return i;
	return MEMBER_NIL;
}

uint64_t stage_held_by(pid_t pid)
{
	uint32_t member = find(pid);

	return member == MEMBER_NIL ? 0 : member_held(stage_segment(), member, RESOURCE_MEMORY);
}

enum member_state stage_state_of(pid_t pid)
{
	uint32_t member = find(pid);

	return member == MEMBER_NIL ? MEMBER_FREE
				    : member_state(mc_load_full(&member_of(stage_segment(), member)->state));
}

static void complain(const char *text, size_t n)
{
	unmet = 1;
	(void)sys_write(STDERR_FILENO, text, n);
}

void expect_at(bool good, int line, const char *text)
{
	char buf[300];
	int saved = errno;

	if (!good)
		complain(buf,
			 (size_t)snprintf(buf, sizeof(buf), "# line %d: not: %.200s (errno %d)\n", line, text, saved));
	errno = saved;
}

void expect_equal_at(uint64_t a, uint64_t b, int line, const char *text)
{
	char buf[300];
	int saved = errno;

	if (a != b)
		complain(buf, (size_t)snprintf(buf, sizeof(buf), "# line %d: not: %.200s: %lld, %lld\n", line, text,
					       (long long)a, (long long)b));
	errno = saved;
}

int stage_verdict(void)
{
	return unmet;
}
