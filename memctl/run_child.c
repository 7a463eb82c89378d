/* SPDX-License-Identifier: MIT */
/* memctl run: starting COMMAND as a member, passing signals on, waiting for its end.
 *
 * signals       What the terminal sends goes to the whole foreground process group, so COMMAND has
 *               it already; what a process sends to us alone is passed on. When COMMAND stops for
 *               the terminal's sake, so do we, and the shell sees a stopped job.
 * membership    The child joins before exec: what cannot be joined is an error of ours and not a
 *               program that runs unlimited. A program that takes the preload library finds its
 *               slot and keeps it; of one that does not the daemon sees that, and observes it.
 */
#include "memctl/run.h"

#include "accounting/member.h"
#include "memctl/say.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS \
	5000 /* the daemon learns of a death at once; more than this, and it is stopped \
	      */
#define SETTLE_LOOK_MS 5

/* What the child tells when it could not become COMMAND. */
enum stage { STAGE_JOIN = 1, STAGE_EXEC };

struct failure {
	enum stage stage;
	int err; /* negative errno */
};

/* What was there before we changed it, for the child. */
static sigset_t users_mask;
static struct sigaction users_sigchld;

static void fill_passed(sigset_t *set)
{
	static const int passed[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP };

	(void)sigemptyset(set);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		(void)sigaddset(set, passed[i]);
	(void)sigaddset(set, SIGCHLD);
}

static void hold_signals(void)
{
	const struct sigaction normal = { .sa_handler = SIG_DFL };
	sigset_t set;

	fill_passed(&set);
	(void)sigprocmask(SIG_BLOCK, &set, &users_mask);
	(void)sigaction(SIGCHLD, &normal, &users_sigchld); /* ignored, children would leave no status */
}

static void restore_signals(void)
{
	(void)sigaction(SIGCHLD, &users_sigchld, NULL);
	(void)sigprocmask(SIG_SETMASK, &users_mask, NULL);
}

/* ---- the child's side -------------------------------------------------------------------- */

/* We may be a member already, when memctl itself runs in a group: then the slot changes groups. */
static int join(const struct segment *seg, const struct run_target *t, uint16_t group)
{
	uint32_t pid = (uint32_t)getpid();
	uint64_t start_time;
	uint32_t member;
	int err = member_read_start_time(0, &start_time);

	if (err)
		return err;
	if (member_find(seg, pid, start_time, &member) == 0) {
		mc_store_full(&member_of(seg, member)->group, group);
	} else {
		err = member_join(seg, pid, start_time, group, t->carries ? MEMBER_LIVE : MEMBER_OBSERVED, t->name,
				  &member);
		if (err)
			return err;
	}
	if (t->carries)
		member_set_flags(seg, member, MEMBER_EXECING, 0);
	return 0;
}

__attribute__((noreturn)) static void give_up(int tell, enum stage stage, int err)
{
	const struct failure f = { .stage = stage, .err = err };

	(void)!write(tell, &f, sizeof(f));
	_exit(SAY_RUN_FAILED);
}

__attribute__((noreturn)) static void become(const struct run_target *t, const struct segment *seg, uint16_t group,
					     int tell)
{
	int err = join(seg, t, group);

	if (err)
		give_up(tell, STAGE_JOIN, err);
	restore_signals();
	(void)execvp(t->argv[0], t->argv);
	give_up(tell, STAGE_EXEC, -errno);
}

/* ---- our side ---------------------------------------------------------------------------- */

static const char *join_words(int err)
{
	switch (err) {
	case -ENOSPC:
		return "there is no room for one more member";
	case -ENOMEM:
		return "the runtime directory's file system is full";
	case -ENOENT:
		return "the group was removed just now";
	default:
		return strerror(-err);
	}
}

static int explain(const struct run_target *t, const char *group, const struct failure *f)
{
	if (f->stage == STAGE_JOIN) {
		(void)say_failed("run", "%s cannot become a member of %s: %s", t->name, group, join_words(f->err));
		return SAY_RUN_FAILED;
	}
	(void)say_failed("run", "%s: cannot be executed: %s", t->argv[0], strerror(-f->err));
	return f->err == -ENOENT ? SAY_RUN_NOT_FOUND : SAY_RUN_NOT_EXECUTABLE;
}

/* Until exec closes the pipe, or the child has told why not. */
static bool read_failure(int fd, struct failure *f)
{
	ssize_t n;

	do
		n = read(fd, f, sizeof(*f));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*f);
}

static int start(const struct run_target *t, const struct segment *seg, const char *path, uint16_t group,
		 struct run_child *ret)
{
	struct failure f;
	int tell[2];

	if (pipe2(tell, O_CLOEXEC)) {
		(void)say_failed("run", "cannot make a pipe: %m");
		return SAY_RUN_FAILED;
	}
	hold_signals();
	run_orphans_adopt(true);
	ret->pid = fork();
	if (ret->pid == 0)
		become(t, seg, group, tell[1]);
	(void)close(tell[1]);
	if (ret->pid < 0)
		(void)say_failed("run", "cannot start a process: %m");
	else if (read_failure(tell[0], &f))
		ret->status = explain(t, path, &f);
	(void)close(tell[0]);
	if (ret->pid > 0 && ret->status)
		(void)waitpid(ret->pid, NULL, 0);
	return ret->pid < 0 ? SAY_RUN_FAILED : ret->status;
}

static const char *attach_words(int err)
{
	switch (err) {
	case -EPROTO:
		return "it is of another version of memctl; 'memctl daemon stop' and try again";
	case -EBADMSG:
		return "its header is damaged; stop the daemon and remove the directory";
	default:
		return strerror(-err);
	}
}

int run_child_start(const struct run_target *t, const char *dir, const char *path, struct run_child *ret)
{
	struct segment seg;
	uint16_t group;
	int err = segment_attach(dir, SEGMENT_MEMBER, &seg);

	*ret = (struct run_child){ .pid = -1 };
	if (err) {
		(void)say_failed("run", "cannot use the segment in %s: %s", dir, attach_words(err));
		return SAY_RUN_FAILED;
	}
	err = group_find(&seg, path, &group);
	if (err)
		(void)say_failed("run", "cannot find the group %s: %s", path, join_words(err));
	err = err ? SAY_RUN_FAILED : start(t, &seg, path, group, ret);
	segment_detach(&seg);
	return err;
}

/* ---- waiting ----------------------------------------------------------------------------- */

/* The kernel's own (the terminal's) reach COMMAND without us; its own it has sent on purpose. */
static void pass_on(const struct run_child *c, const siginfo_t *info)
{
	if (info->si_code == SI_KERNEL || info->si_pid == c->pid)
		return;
	(void)kill(c->pid, info->si_signo);
}

static void follow_stop(const struct run_child *c)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WNOHANG) || info.si_pid == 0)
		return;
	if (info.si_status == SIGTSTP || info.si_status == SIGTTIN || info.si_status == SIGTTOU)
		(void)raise(SIGSTOP);
}

static bool has_ended(struct run_child *c)
{
	siginfo_t info;

	if (!run_orphans_bury(c->pid, &info))
		return false;
	c->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	c->status = c->signal ? 128 + c->signal : info.si_status;
	return true;
}

/* While room is kept, not longer than until the next look at it. */
static int wait_for_signal(const sigset_t *set, siginfo_t *info, struct run_keep *keep)
{
	const struct timespec look = { .tv_nsec = KEEP_LOOK_MS * 1000000L };

	return run_keep_follow(keep) ? sigtimedwait(set, info, &look) : sigwaitinfo(set, info);
}

void run_child_wait(struct run_child *c, struct run_keep *keep)
{
	sigset_t set;

	fill_passed(&set);
	while (!has_ended(c)) {
		siginfo_t info;
		int signal = wait_for_signal(&set, &info, keep);

		if (signal == SIGCHLD)
			follow_stop(c);
		else if (signal > 0)
			pass_on(c, &info);
	}
	run_keep_close(keep);
	run_orphans_adopt(false); /* not a daemon that is started from now on */
}

struct search {
	pid_t pid;
	bool found;
};

static int is_there(const struct memctl_member *member, void *arg)
{
	struct search *s = arg;

	s->found |= member->pid == s->pid;
	return 0;
}

void run_child_settle(const struct run_child *c, struct memctl *m, const char *group)
{
	const struct timespec pause = { .tv_nsec = SETTLE_LOOK_MS * 1000000L };
	struct search s = { .pid = c->pid, .found = true };

	for (int waited = 0; s.found && waited < SETTLE_MS; waited += SETTLE_LOOK_MS) {
		s.found = false;
		if (memctl_members(m, group, 0, is_there, &s))
			break;
		if (s.found)
			(void)nanosleep(&pause, NULL);
	}
	(void)waitpid(c->pid, NULL, 0);
}
