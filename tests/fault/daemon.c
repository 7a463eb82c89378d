/* SPDX-License-Identifier: MIT */
/* A memctld with a runtime directory of its own. */
#include "tests/fault/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void become_daemon(const struct daemon *d, int ready)
{
	const char *path = getenv("MEMCTL_DAEMON");
	char dir[80], told[32], log[96];

	snprintf(dir, sizeof(dir), "--dir=%s", d->dir);
	snprintf(told, sizeof(told), "--ready-fd=%d", ready);
	snprintf(log, sizeof(log), "%s/log", d->dir);
	(void)dup2(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setpgid(0, 0);
	(void)unsetenv("LD_PRELOAD");
	(void)execl(path, path, dir, told, "--foreground", (char *)NULL);
	_exit(127);
}

void daemon_start(struct daemon *d)
{
	char byte = 0;
	int ready[2];

	if (!getenv("MEMCTL_DAEMON"))
		ground_bail("MEMCTL_DAEMON is not set: start this with tools/env");
	fflush(stdout);
	if (pipe(ready))
		ground_bail("pipe: %s", strerror(errno));
	d->pid = fork();
	if (d->pid == 0) {
		(void)close(ready[0]);
		become_daemon(d, ready[1]);
	}
	(void)close(ready[1]);
	if (read(ready[0], &byte, 1) != 1 || byte != '\n')
		ground_bail("memctld does not start in %s", d->dir);
	(void)close(ready[0]);
}

void daemon_up(struct daemon *d)
{
	memset(d, 0, sizeof(*d));
	ground_make_dir(d->dir, sizeof(d->dir));
	setenv("MEMCTL_DIR", d->dir, 1);
	daemon_start(d);
	strcpy(d->ground.dir, d->dir);
	if (segment_attach(d->dir, SEGMENT_READER, &d->ground.seg))
		ground_bail("no segment in %s", d->dir);
}

void daemon_kill(struct daemon *d)
{
	if (d->pid == 0)
		return;
	(void)kill(d->pid, SIGKILL);
	(void)waitpid(d->pid, NULL, 0);
	d->pid = 0;
}

static void run(const char *const argv[])
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		(void)unsetenv("LD_PRELOAD");
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		ground_bail("%s %s: wait status %#x", argv[0], argv[1], (unsigned)status);
}

bool daemon_down(struct daemon *d)
{
	const char *const argv[] = { "rm", "-rf", d->dir, NULL };
	int status = -1;

	segment_detach(&d->ground.seg);
	if (d->pid) {
		(void)kill(d->pid, SIGTERM);
		(void)waitpid(d->pid, &status, 0);
	}
	d->pid = 0;
	run(argv);
	return status == 0;
}

void daemon_create(const char *path, const char *setting)
{
	const char *const argv[] = { "memctl", "create", path, setting, NULL };

	run(argv);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

bool daemon_until(bool (*condition)(void *arg), void *arg)
{
	double end = now() + DAEMON_DEADLINE;

	while (!condition(arg)) {
		if (now() > end)
			return false;
		usleep(200);
	}
	return true;
}

static bool nobody_is_there(void *arg)
{
	const struct daemon *d = arg;

	for (uint32_t i = 0; i < member_mark(&d->ground.seg); i++)
		if (mc_load_full(&member_of(&d->ground.seg, i)->state))
			return false;
	return true;
}

bool daemon_has_settled(const struct daemon *d)
{
	return daemon_until(nobody_is_there, (void *)(uintptr_t)d);
}

static bool is_none(const char *what, uint64_t n)
{
	if (n)
		fprintf(stderr, "# %s: %llu left\n", what, (unsigned long long)n);
	return n == 0;
}

/* The daemon's last settling ends a moment after the slot is free. */
static bool is_quiet(void *arg)
{
	const struct daemon *d = arg;

	return mc_load_full(&d->ground.seg.counters->header.daemon_open) == 0;
}

/* Memory, and all devices that somebody met. */
static bool all_are_empty(const struct daemon *d)
{
	const struct counters_header *h = &d->ground.seg.counters->header;
	struct ground g = d->ground;
	bool ok = true;

	for (g.resource = 0; g.resource < RESOURCES_MAX; g.resource++)
		if (mc_load_acquire(&g.seg.limits->header.region[g.resource].used)) {
			ok &= ground_empty(&g);
			ok &= is_none("recounts", (mc_load_full(&h->epoch[g.resource]) & EPOCH_RECOUNTING) != 0);
		}
	return ok;
}

bool daemon_is_exact(const struct daemon *d)
{
	const struct segment *seg = &d->ground.seg;
	const struct counters_header *h = &seg->counters->header;
	uint64_t accounts = 0, open = 0;
	bool quiet = daemon_until(is_quiet, (void *)(uintptr_t)d), ok;

	for (uint32_t i = 0; i < mc_load_full(&h->accounts_used); i++)
		accounts += mc_load_full(&account_of(seg, i)->member) != 0;
	for (uint32_t i = 0; i < member_mark(seg); i++)
		open += mc_load_full(&member_of(seg, i)->open);
	ok = all_are_empty(d);
	ok &= is_none("accounts", accounts);
	ok &= is_none("open slow paths", open);
	ok &= is_none("open slow paths of the daemon", !quiet);
	return ok;
}
