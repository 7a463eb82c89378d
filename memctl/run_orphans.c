/* SPDX-License-Identifier: MIT */
/* memctl run: processes that COMMAND left behind.
 *
 * A child that was started a moment before COMMAND ended may not have joined yet, and its transient
 * group must not be removed under it. So we adopt orphans, and before the group may go, wait until
 * each is a member or has ended. When we have no child left, nothing that COMMAND started is alive.
 */
#include "memctl/run.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOIN_MS 1000 /* more than an exec takes; what has not joined then never will */
#define JOIN_LOOK_MS 2
#define ORPHANS_MAX 256

struct orphans {
	pid_t pid[ORPHANS_MAX];
	size_t n;
	size_t members; /* how many of them */
};

void run_orphans_adopt(bool on)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0);
}

bool run_orphans_bury(pid_t command, siginfo_t *ret_end)
{
	for (;;) {
		memset(ret_end, 0, sizeof(*ret_end));
		if (waitid(P_ALL, 0, ret_end, WEXITED | WNOHANG | WNOWAIT) || ret_end->si_pid == 0)
			return false;
		if (ret_end->si_pid == command)
			return true;
		(void)waitpid(ret_end->si_pid, NULL, 0);
	}
}

bool run_orphans_are_left(void)
{
	siginfo_t info = { 0 };

	(void)run_orphans_bury(0, &info);
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Kernels without this file, and more orphans than fit: those are not waited for. */
static void find(struct orphans *o)
{
	char path[64];
	FILE *file;

	o->n = o->members = 0;
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	while (file && o->n < ORPHANS_MAX && fscanf(file, "%d", &o->pid[o->n]) == 1)
		o->n++;
	if (file)
		(void)fclose(file);
}

static int count(const struct memctl_member *member, void *arg)
{
	struct orphans *o = arg;

	for (size_t i = 0; i < o->n; i++)
		o->members += o->pid[i] == member->pid;
	return 0;
}

static bool is_anybody_outside(struct memctl *m)
{
	struct orphans o;

	if (!run_orphans_are_left())
		return false;
	find(&o);
	return memctl_members(m, "/", 0, count, &o) == 0 && o.members < o.n;
}

void run_orphans_settle(struct memctl *m)
{
	const struct timespec pause = { .tv_nsec = JOIN_LOOK_MS * 1000000L };

	for (int waited = 0; is_anybody_outside(m) && waited < JOIN_MS; waited += JOIN_LOOK_MS)
		(void)nanosleep(&pause, NULL);
}
