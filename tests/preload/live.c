/* SPDX-License-Identifier: MIT */
/* Scenes in front of a real daemon. */
#include "tests/preload/live.h"

#include "memctl/memctl.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIVE_FD "MEMCTL_TEST_LIVE_FD"
#define SETTLE_SECONDS 20

enum question { ASK_GET, ASK_SET, ASK_TRUTH, ASK_MEMBERS };

struct ask {
	enum question question;
	char text[100];
};

struct house {
	char dir[64];
	struct memctl *memctl;
	int seat; /* our end of the socket */
};

uint64_t live_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void nap(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* ---- backstage -------------------------------------------------------------------------------------------- */

static uint64_t anon_in(const char *path)
{
	unsigned long long kib = 0;
	FILE *f = fopen(path, "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		(void)sscanf(line, "Pss_Anon: %llu", &kib);
	if (f)
		fclose(f);
	return kib << 10;
}

/* Of any thread: the first may have ended. */
static uint64_t anon_of(pid_t pid)
{
	char path[64];
	glob_t found;
	uint64_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/*/smaps_rollup", (int)pid);
	if (glob(path, 0, NULL, &found))
		return 0;
	for (size_t i = 0; i < found.gl_pathc && n == 0; i++)
		n = anon_in(found.gl_pathv[i]);
	globfree(&found);
	return n;
}

static int add_anon(const struct memctl_member *member, void *sum)
{
	*(uint64_t *)sum += anon_of(member->pid);
	return 0;
}

static int add_one(const struct memctl_member *member, void *sum)
{
	(void)member;
	++*(uint64_t *)sum;
	return 0;
}

static uint64_t answer(struct house *h, const struct ask *ask)
{
	const char *settings[] = { ask->text, NULL };
	uint64_t n = 0;
	int err;

	switch (ask->question) {
	case ASK_GET:
		err = memctl_get_number(h->memctl, STAGE_GROUP, ask->text, &n);
		break;
	case ASK_SET:
		err = memctl_set(h->memctl, STAGE_GROUP, settings);
		break;
	case ASK_TRUTH:
		err = memctl_members(h->memctl, STAGE_GROUP, 0, add_anon, &n);
		break;
	default:
		err = memctl_members(h->memctl, STAGE_GROUP, 0, add_one, &n);
	}
	if (err)
		fprintf(stderr, "# %s: %s\n", ask->text, memctl_error());
	return n;
}

/* Until nobody of the scene is left; false when that takes too long. */
static bool serve(struct house *h)
{
	uint64_t end = live_now_ns() + STAGE_DEADLINE * 1000000000ull;
	struct pollfd p = { .fd = h->seat, .events = POLLIN };
	struct ask ask;

	while (live_now_ns() < end) {
		uint64_t n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		if (recv(h->seat, &ask, sizeof(ask), 0) != (ssize_t)sizeof(ask))
			return true;
		n = answer(h, &ask);
		(void)send(h->seat, &n, sizeof(n), MSG_NOSIGNAL);
	}
	(void)memctl_kill(h->memctl, STAGE_GROUP, SIGKILL);
	fprintf(stderr, "# no end after %d s: killed\n", STAGE_DEADLINE);
	return false;
}

/* Orphans come to us. True when all ended with 0; *skip when one could not play. */
static bool collect_all(pid_t first, bool *skip)
{
	bool good = true;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, 0)) > 0) {
		*skip |= pid == first && WIFEXITED(status) && WEXITSTATUS(status) == STAGE_SKIP;
		if (status)
			fprintf(stderr, "# pid %d%s: wait status 0x%x\n", (int)pid, pid == first ? "" : " (orphan)",
				(unsigned)status);
		good &= status == 0;
	}
	return good;
}

static pid_t start(struct house *h, const char *name)
{
	const char *self = stage_self();
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t)name, NULL };
	char number[16];
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		ground_bail("socketpair: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		snprintf(number, sizeof(number), "%d", dup(ends[1])); /* without CLOEXEC */
		setenv(LIVE_FD, number, 1);
		(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* or a touched page may make 512 resident */
		setenv("LD_PRELOAD", getenv("MEMCTL_PRELOAD"), 1);
		setenv("MEMCTL_DIR", h->dir, 1);
		setenv("MEMCTL_GROUP", STAGE_GROUP, 1);
		execv(self, argv);
		_exit(127);
	}
	close(ends[1]);
	h->seat = ends[0];
	return pid;
}

static bool becomes_empty(struct house *h)
{
	uint64_t end = live_now_ns() + SETTLE_SECONDS * 1000000000ull;
	uint64_t left = 1, members = 1;

	while (live_now_ns() < end && (left || members)) {
		members = 0;
		if (memctl_get_number(h->memctl, "/", "memory.current", &left) ||
		    memctl_members(h->memctl, "/", 0, add_one, &members))
			ground_bail("the daemon: %s", memctl_error());
		nap();
	}
	if (left || members)
		fprintf(stderr, "# %llu bytes and %llu members are left\n", (unsigned long long)left,
			(unsigned long long)members);
	return left == 0 && members == 0;
}

static void play(struct house *h, const struct live_scene *scene)
{
	const char *settings[5] = { NULL };
	bool skip = false, good;
	pid_t pid;

	memcpy(settings, scene->setting, sizeof(scene->setting));
	if (memctl_create(h->memctl, STAGE_GROUP, 0, settings))
		ground_bail("the daemon: %s", memctl_error());
	pid = start(h, scene->name);
	good = serve(h);
	good &= collect_all(pid, &skip);
	close(h->seat);
	good &= becomes_empty(h);
	if (memctl_remove(h->memctl, STAGE_GROUP, 0))
		ground_bail("the daemon: %s", memctl_error());
	if (skip)
		tap_skip("not possible here", "%s", scene->sentence);
	else
		tap_ok(good, "%s", scene->sentence);
}

static void open_house(struct house *h)
{
	if (!getenv("MEMCTL_PRELOAD"))
		ground_bail("MEMCTL_PRELOAD is not set: start this with tools/env");
	ground_make_dir(h->dir, sizeof(h->dir));
	if (memctl_open(h->dir, 0, &h->memctl))
		ground_bail("the daemon: %s", memctl_error());
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* after the daemon has gone its own way */
}

static void close_house(struct house *h)
{
	static const char *const names[] = { "limits", "counters", "control.sock", "memctld.pid", "memctld.lock" };
	uint64_t end = live_now_ns() + SETTLE_SECONDS * 1000000000ull;
	pid_t pid = memctl_daemon_pid(h->memctl);
	char path[128];

	memctl_close(h->memctl);
	(void)kill(pid, SIGTERM);
	while (kill(pid, 0) == 0 && live_now_ns() < end)
		nap();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", h->dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(h->dir);
}

/* Backstage for one scene, or as the scene itself. */
static int main_of_one(const struct live_scene *scene)
{
	struct house h = { .seat = -1 };

	if (getenv(LIVE_FD))
		return scene->play();
	open_house(&h);
	play(&h, scene);
	close_house(&h);
	return tap_end();
}

int live_main(int argc, char *argv[], const struct live_scene *scenes, unsigned n)
{
	struct house h = { .seat = -1 };

	for (unsigned i = 0; argc > 1 && i < n; i++)
		if (strcmp(argv[1], scenes[i].name) == 0)
			return main_of_one(&scenes[i]);
	if (argc > 1)
		return 2;
	open_house(&h);
	for (unsigned i = 0; i < n; i++)
		play(&h, &scenes[i]);
	close_house(&h);
	return tap_end();
}

/* ---- inside a scene ---------------------------------------------------------------------------------------- */

static uint64_t ask(enum question question, const char *text)
{
	const char *number = getenv(LIVE_FD);
	struct ask ask = { .question = question };
	int fd = number ? atoi(number) : -1;
	uint64_t n = 0;

	strncpy(ask.text, text, sizeof(ask.text) - 1);
	if (send(fd, &ask, sizeof(ask), MSG_NOSIGNAL) != (ssize_t)sizeof(ask) ||
	    recv(fd, &n, sizeof(n), 0) != (ssize_t)sizeof(n))
		_exit(97);
	return n;
}

uint64_t live_get(const char *key)
{
	return ask(ASK_GET, key);
}

void live_set(const char *setting)
{
	(void)ask(ASK_SET, setting);
}

uint64_t live_truth(void)
{
	return ask(ASK_TRUTH, "");
}

uint64_t live_members(void)
{
	return ask(ASK_MEMBERS, "");
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void say_apart(const char *key, uint64_t is, uint64_t wanted)
{
	char buf[200];
	int n = snprintf(buf, sizeof(buf), "# %s stays at %llu, not %llu\n", key, (unsigned long long)is,
			 (unsigned long long)wanted);

	(void)!write(STDERR_FILENO, buf, (size_t)n);
}

bool live_settles(const char *key, uint64_t bytes, uint64_t slack)
{
	uint64_t end = live_now_ns() + SETTLE_SECONDS * 1000000000ull;
	uint64_t is;

	do {
		is = live_get(key);
		if (apart(is, bytes) <= slack)
			return true;
		nap();
	} while (live_now_ns() < end);
	say_apart(key, is, bytes);
	return false;
}

bool live_is_true(uint64_t slack)
{
	uint64_t end = live_now_ns() + SETTLE_SECONDS * 1000000000ull;
	uint64_t is, truth;

	do {
		truth = live_truth();
		is = live_get("memory.current");
		if (apart(is, truth) <= slack + truth / 100)
			return true;
		nap();
	} while (live_now_ns() < end);
	say_apart("memory.current", is, truth);
	return false;
}
