/* SPDX-License-Identifier: MIT */
/* Real programs under the real daemon, killed at random: what is left must be nothing, to the page.
 *
 *   kill_storm [DEATHS [SEED [VARIANT]]]    VARIANT: a part of a variant's sentence
 *
 * Members allocate, map, free, fork and exec at random in three nested groups. Whoever is killed is replaced.
 * Each variant has its share of the deaths. Every now and then all are killed and pools looked at, so that
 * what is wrong shows near its cause.
 *
 * A pid is only killed while it is ours: the segment says that it is a member, and nobody else reaps.
 */
#include "tests/fault/daemon.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 10 /* members, without their children */
#define AT_MOST 24 /* with them */
#define FORKS "2"  /* of a member; children have none: refused ones would get ever more */
#define ROUND 500  /* deaths between two looks at an empty segment */
#define FROZEN_MAX 4
#define LIFE 300 /* seconds; should the storm itself be killed */

static const char *const groups[] = { "/storm", "/storm/in", "/storm/in/most" };

/* ---- a member ---- */

static void nap(long us)
{
	struct timespec t = { 0, us * 1000 };

	nanosleep(&t, NULL);
}

#define SLOTS 64

static struct {
	char *at;
	size_t size;
	bool is_mapping;
} piece[SLOTS];

static uint64_t dice;
static int forks_left; /* of one started by the storm; those it forks have none */

static void drop(int i)
{
	if (piece[i].is_mapping)
		munmap(piece[i].at, piece[i].size);
	else
		free(piece[i].at);
	piece[i].at = NULL;
}

/* 16 B to 1 MiB, small ones as often as large ones. */
static size_t some_size(uint64_t r)
{
	size_t from = (size_t)16 << (r % 16);

	return from + (r >> 8) % from;
}

static void allocate(int i, uint64_t r)
{
	piece[i].size = some_size(r);
	piece[i].is_mapping = false;
	piece[i].at = malloc(piece[i].size);
	if (piece[i].at)
		memset(piece[i].at, 1, piece[i].size);
}

static void map(int i, uint64_t r)
{
	piece[i].size = (1 + r % 64) << 12;
	piece[i].is_mapping = true;
	piece[i].at = mmap(NULL, piece[i].size, r >> 10 & 1 ? PROT_READ | PROT_WRITE : PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (piece[i].at == MAP_FAILED)
		piece[i].at = NULL;
	else if (r >> 10 & 1)
		memset(piece[i].at, 1, piece[i].size);
}

/* Half of it goes, it is discarded, opened, or grows. */
static void change(int i, uint64_t r)
{
	size_t half = piece[i].size / 2 & ~(size_t)4095;
	void *at;

	if (!piece[i].is_mapping) {
		at = realloc(piece[i].at, some_size(r));
		piece[i].at = at ? at : piece[i].at;
	} else if (r % 4 == 0 && half) {
		munmap(piece[i].at + half, piece[i].size - half);
		piece[i].size = half;
	} else if (r % 4 == 1) {
		madvise(piece[i].at, piece[i].size, MADV_DONTNEED);
	} else if (r % 4 == 2) {
		mprotect(piece[i].at, piece[i].size, PROT_READ | PROT_WRITE);
	} else {
		at = mremap(piece[i].at, piece[i].size, piece[i].size + 8192, MREMAP_MAYMOVE);
		piece[i].size += at == MAP_FAILED ? 0 : 8192;
		piece[i].at = at == MAP_FAILED ? piece[i].at : at;
	}
}

static void exec_again(void)
{
	char number[32], forks[16];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)ground_random(&dice));
	snprintf(forks, sizeof(forks), "%d", forks_left);
	execl("/proc/self/exe", "kill_storm", "member", number, forks, (char *)NULL);
}

/* The child is another member; nobody waits for it. */
static void fork_child(uint64_t r)
{
	if (forks_left == 0)
		return;
	forks_left--;
	if (fork() == 0) {
		(void)alarm(LIFE);
		forks_left = 0;
		dice ^= r | 1;
	}
}

/* Most of the time goes here, and a fifth of that into slow paths: deaths shall hit them. */
static void charge_and_uncharge(uint64_t r)
{
	const size_t size = (size_t)(r & 1 ? 100 : 200) << 12; /* into stock and out, or more than any stock */

	for (int i = 0; i < 500; i++) {
		void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at != MAP_FAILED)
			munmap(at, size);
	}
}

static void act(uint64_t r)
{
	int i = (int)(r >> 40) % SLOTS;

	if (r % 1024 == 0)
		fork_child(r);
	else if (r % 1024 == 1)
		exec_again();
	else if (r % 8192 == 2)
		exit(0); /* in order */
	else if (r % 8192 == 3)
		_exit(0);
	else if (r % 16 == 4)
		charge_and_uncharge(r >> 20);
	else if (piece[i].at && r >> 20 & 1)
		drop(i);
	else if (piece[i].at)
		change(i, r >> 21);
	else if (r >> 19 & 1)
		allocate(i, r >> 21);
	else
		map(i, r >> 21);
}

/* The naps let the storm itself get on, however cheap a refusal is. */
static _Noreturn void be_a_member(const char *number, const char *forks)
{
	(void)alarm(LIFE);
	forks_left = atoi(forks);
	dice = strtoull(number, NULL, 10) | 1;
	for (unsigned i = 1;; i++) {
		act(ground_random(&dice));
		if (i % 256 == 0)
			nap(500);
	}
}

/* ---- the storm ---- */

static const struct variant {
	const char *sentence;
	bool daemon_dies;
	bool stops;
	bool is_tight;
	unsigned share; /* of the deaths, in percent */
} variants[] = {
	{ "members are killed", false, false, false, 40 },
	{ "the daemon is killed and started again, too", true, false, false, 20 },
	{ "members are stopped, some to the end", false, true, false, 20 },
	{ "limits are reached all the time", false, false, true, 10 },
	{ "all of it", true, true, true, 10 },
};

static struct daemon d;
static uint64_t seed = 20;
static uint64_t deaths, stops, daemons, refused;
static pid_t frozen[FROZEN_MAX];
static int complaints; /* a file: what members have to say, such as that they run unaccounted */

static void start_member(void)
{
	char number[32];
	pid_t pid;

	snprintf(number, sizeof(number), "%llu", (unsigned long long)ground_random(&seed));
	setenv("MEMCTL_GROUP", groups[ground_random(&seed) % 3], 1);
	pid = fork();
	if (pid < 0)
		ground_bail("fork: %s", strerror(errno));
	if (pid)
		return;
	setenv("LD_PRELOAD", getenv("MEMCTL_PRELOAD"), 1);
	(void)dup2(complaints, STDERR_FILENO);
	execl("/proc/self/exe", "kill_storm", "member", number, FORKS, (char *)NULL);
	_exit(127);
}

/* Orphans come to us, too; the daemon is in a group of its own. False: nobody is left. */
static bool reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-getpgrp(), &status, WNOHANG)) > 0) {
		bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

		deaths += killed;
		if (!killed && status)
			ground_bail("a member ended by itself: wait status %#x", (unsigned)status);
	}
	return pid == 0;
}

static bool is_ours(pid_t pid)
{
	return pid > 1 && getpgid(pid) == getpgrp();
}

static bool is_frozen(pid_t pid)
{
	for (int i = 0; i < FROZEN_MAX; i++)
		if (frozen[i] == pid)
			return true;
	return false;
}

static pid_t pid_at(uint32_t slot)
{
	return (pid_t)member_pid(mc_load_full(&member_of(&d.ground.seg, slot)->state));
}

static unsigned count_members(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < member_mark(&d.ground.seg); i++)
		n += is_ours(pid_at(i));
	return n;
}

/* A member that may be touched; 0: just now none. */
static pid_t any_member(void)
{
	uint32_t mark = member_mark(&d.ground.seg);
	uint32_t from = mark ? (uint32_t)(ground_random(&seed) % mark) : 0;

	for (uint32_t i = 0; i < mark; i++) {
		pid_t pid = pid_at((from + i) % mark);

		if (is_ours(pid) && !is_frozen(pid))
			return pid;
	}
	return 0;
}

static void kill_one(void)
{
	pid_t pid = any_member();

	if (pid)
		(void)kill(pid, SIGKILL);
}

static void stop_one(void)
{
	pid_t pid = any_member();

	if (pid == 0 || kill(pid, SIGSTOP))
		return;
	stops++;
	for (int i = 0; i < FROZEN_MAX; i++)
		if (frozen[i] == 0) {
			frozen[i] = pid;
			return;
		}
}

/* Who is not to be stopped to the end goes on; one that is not stopped does not mind. */
static void wake_one(void)
{
	pid_t pid = any_member();

	if (pid)
		(void)kill(pid, SIGCONT);
}

static void kill_the_daemon(void)
{
	daemon_kill(&d);
	daemons++;
	for (uint64_t i = ground_random(&seed) % 8; i > 0; i--)
		kill_one();
	daemon_start(&d);
}

static void blow(const struct variant *v)
{
	uint64_t r = ground_random(&seed);
	unsigned n = count_members();

	if (n < AT_ONCE)
		start_member();
	if (v->daemon_dies && r % 24 == 0)
		kill_the_daemon();
	if (v->stops && r >> 10 & 1)
		r >> 11 & 1 ? stop_one() : wake_one();
	if (n > AT_MOST || (n >= AT_ONCE && r >> 12 & 1))
		kill_one();
	(void)reap();
	nap((long)(r >> 20) % 1000);
}

/* Those who are about to join are not in the segment yet: they are killed when they are. */
static bool all_are_gone(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < member_mark(&d.ground.seg); i++) {
		pid_t pid = pid_at(i); /* once: the slot may be freed meanwhile, and 0 is all of us */

		if (is_ours(pid))
			(void)kill(pid, SIGKILL);
	}
	return !reap();
}

static bool nothing_is_left(void)
{
	if (!daemon_until(all_are_gone, NULL) || !daemon_has_settled(&d)) {
		fprintf(stderr, "# members are left\n");
		return false;
	}
	return daemon_is_exact(&d);
}

static uint64_t count_refused(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < mc_load_full(&d.ground.seg.limits->header.groups_used); i++)
		n += mc_load_relaxed(&pool_of(&d.ground.seg, RESOURCE_MEMORY, (uint16_t)i)->failcnt);
	return n;
}

/* Some that were stopped long ago get on again, among others. */
static void thaw(void)
{
	for (int i = 0; i < FROZEN_MAX; i++) {
		if (frozen[i] && i % 2)
			(void)kill(frozen[i], SIGCONT);
		frozen[i] = 0;
	}
	nap(50000);
}

/* A look in between is not possible where some shall be stopped to the end. */
static bool storm(const struct variant *v, uint64_t goal)
{
	bool exact = true;

	while (deaths < goal) {
		uint64_t round = v->stops || goal - deaths < ROUND ? goal : deaths + ROUND;

		while (deaths < round)
			blow(v);
		if (v->stops)
			thaw();
		exact = nothing_is_left() && exact;
	}
	return exact;
}

static void make_groups(const struct variant *v)
{
	daemon_create(groups[0], v->is_tight ? "memory.max=24M" : NULL);
	daemon_create(groups[1], v->is_tight ? "memory.max=12M" : NULL);
	daemon_create(groups[2], v->is_tight ? "memory.max=6M" : NULL);
}

static void open_complaints(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/complaints", d.dir);
	complaints = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (complaints < 0)
		ground_bail("%s: %s", path, strerror(errno));
}

static bool nobody_complained(void)
{
	char text[300];
	ssize_t n = pread(complaints, text, sizeof(text), 0);

	if (n > 0)
		tap_note("a member: %.*s", (int)strcspn(text, "\n"), text);
	(void)close(complaints);
	return n == 0;
}

static void play(const struct variant *v, uint64_t goal)
{
	bool exact, ended, quiet;

	deaths = stops = daemons = 0;
	daemon_up(&d);
	open_complaints();
	make_groups(v);
	exact = storm(v, goal);
	refused = count_refused();
	quiet = nobody_complained();
	ended = daemon_down(&d);
	tap_ok(exact && ended && quiet && (refused || !v->is_tight),
	       "%s: %llu deaths, %llu daemons, %llu stops, %llu refused charges, nothing left", v->sentence,
	       (unsigned long long)deaths, (unsigned long long)daemons, (unsigned long long)stops,
	       (unsigned long long)refused);
}

int main(int argc, char *argv[])
{
	uint64_t goal = 300;

	if (argc > 3 && strcmp(argv[1], "member") == 0)
		be_a_member(argv[2], argv[3]);
	if (argc > 1)
		goal = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10) | 1;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		if (argc < 4 || strstr(variants[i].sentence, argv[3]))
			play(&variants[i], goal * variants[i].share / 100);
	return tap_end();
}
