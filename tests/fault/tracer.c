/* SPDX-License-Identifier: MIT */
/* A process under single step, and copies of it as it stands between two instructions. */
#include "tests/fault/tracer.h"

#include "tests/lib/ground.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__

#ifndef MADV_KEEPONFORK
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_DOFORK
#define MADV_DOFORK 11
#endif

/* Nothing of it outlives the tracer. */
#define OPTIONS (PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK)

/* The mark, and behind it what makes a system call and comes back to the tracer. */
__asm__(".text\n"
	".globl tracer_mark\n"
	".type tracer_mark, @function\n"
	"tracer_mark:\n"
	"	int3\n"
	"	ret\n"
	"	syscall\n"
	"	int3\n");
#define AFTER_MARK 1 /* bytes: int3 */
#define CALLER 2     /* int3, ret */

static void call(long request, pid_t pid, const void *addr, const void *data)
{
	if (ptrace((enum __ptrace_request)request, pid, addr, data))
		ground_bail("ptrace %ld: %s", request, strerror(errno));
}

static struct user_regs_struct get_registers(pid_t pid)
{
	struct user_regs_struct r = { 0 };

	call(PTRACE_GETREGS, pid, NULL, &r);
	return r;
}

static void set_registers(pid_t pid, const struct user_regs_struct *r)
{
	call(PTRACE_SETREGS, pid, NULL, r);
}

static int end_status;

int tracer_end_status(void)
{
	return end_status;
}

/* False: it has ended. */
static bool wait_stop(pid_t pid, int *ret_status)
{
	if (waitpid(pid, ret_status, __WALL) != pid)
		ground_bail("waitpid: %s", strerror(errno));
	if (!WIFSTOPPED(*ret_status))
		end_status = *ret_status;
	return WIFSTOPPED(*ret_status);
}

static bool is_event(int status)
{
	return status >> 16 != 0;
}

/* A child that a fork of the traced program made, which is not the one to be followed. */
static void let_child_go(pid_t parent)
{
	unsigned long child = 0;
	int status;

	call(PTRACE_GETEVENTMSG, parent, NULL, &child);
	if (wait_stop((pid_t)child, &status))
		call(PTRACE_DETACH, (pid_t)child, NULL, NULL);
}

/* Goes on by `request` until a trap; signals are delivered, forks let go. False: it has ended. */
static bool go_on(pid_t pid, long request)
{
	long signal = 0;
	int status;

	for (;;) {
		call(request, pid, NULL, (void *)(uintptr_t)signal);
		if (!wait_stop(pid, &status))
			return false;
		signal = 0;
		if (is_event(status))
			let_child_go(pid);
		else if (WSTOPSIG(status) == SIGTRAP)
			return true;
		else
			signal = WSTOPSIG(status);
	}
}

static bool begin(struct tracee *ret, pid_t pid)
{
	int status;

	ret->pid = 0;
	if (pid < 0)
		ground_bail("fork: %s", strerror(errno));
	if (!wait_stop(pid, &status))
		return false;
	call(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)OPTIONS);
	if (!go_on(pid, PTRACE_CONT))
		return false;
	ret->pid = pid;
	ret->mark = get_registers(pid).rip - AFTER_MARK;
	return true;
}

static void become_traced(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(77);
}

bool tracer_start(struct tracee *ret, void (*play)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		become_traced();
		(void)raise(SIGSTOP);
		play(arg);
		_exit(0);
	}
	return begin(ret, pid);
}

bool tracer_exec(struct tracee *ret, char *const argv[])
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		become_traced();
		execv(argv[0], argv);
		_exit(127);
	}
	return begin(ret, pid);
}

static void try_a_step(void *arg)
{
	(void)arg;
	tracer_mark();
	tracer_mark();
}

bool tracer_works(const char **ret_why)
{
	struct tracee t;
	bool works = tracer_start(&t, try_a_step, NULL);

	*ret_why = "ptrace is not allowed here";
	if (!works)
		return false;
	works = tracer_step(&t, NULL) == TRACER_STEPPED;
	tracer_kill(&t);
	return works;
}

bool tracer_follow_fork(const struct tracee *parent, struct tracee *ret)
{
	unsigned long child = 0;
	int status;

	do {
		call(PTRACE_CONT, parent->pid, NULL, NULL);
		if (!wait_stop(parent->pid, &status))
			return false;
	} while (!is_event(status));
	call(PTRACE_GETEVENTMSG, parent->pid, NULL, &child);
	*ret = (struct tracee){ .pid = (pid_t)child, .mark = parent->mark };
	return wait_stop(ret->pid, &status);
}

enum tracer_at tracer_step(const struct tracee *t, uintptr_t *ret_ip)
{
	uintptr_t ip;

	if (!go_on(t->pid, PTRACE_SINGLESTEP))
		return TRACER_ENDED;
	errno = 0;
	ip = (uintptr_t)ptrace(PTRACE_PEEKUSER, t->pid, offsetof(struct user_regs_struct, rip), NULL);
	if (errno)
		ground_bail("ptrace: %s", strerror(errno));
	if (ret_ip)
		*ret_ip = ip;
	return ip == t->mark ? TRACER_MARK : TRACER_STEPPED;
}

enum tracer_at tracer_run(const struct tracee *t)
{
	while (go_on(t->pid, PTRACE_CONT))
		if (get_registers(t->pid).rip - AFTER_MARK == t->mark)
			return TRACER_MARK;
	return TRACER_ENDED;
}

/* At the system call, all arguments in place. */
static struct user_regs_struct about_to_call(const struct tracee *t, const struct user_regs_struct *now, long nr,
					     long a, long b, long c)
{
	struct user_regs_struct r = *now;

	r.rip = t->mark + CALLER;
	r.rax = (unsigned long)nr;
	r.orig_rax = (unsigned long)-1; /* no restart of what it was in */
	r.rdi = (unsigned long)a;
	r.rsi = (unsigned long)b;
	r.rdx = (unsigned long)c;
	r.r10 = r.r8 = r.r9 = 0;
	return r;
}

long tracer_call(const struct tracee *t, long nr, long a, long b, long c)
{
	struct user_regs_struct now = get_registers(t->pid);
	struct user_regs_struct r = about_to_call(t, &now, nr, a, b, c);

	set_registers(t->pid, &r);
	if (!go_on(t->pid, PTRACE_CONT))
		ground_bail("a traced process ended in an injected call");
	r = get_registers(t->pid);
	set_registers(t->pid, &now);
	return (long)r.rax;
}

struct tracee tracer_copy(const struct tracee *t)
{
	struct user_regs_struct now = get_registers(t->pid);
	struct user_regs_struct r = about_to_call(t, &now, SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0);
	struct tracee copy = { .mark = t->mark };
	unsigned long child = 0;
	int status;

	set_registers(t->pid, &r);
	call(PTRACE_CONT, t->pid, NULL, NULL);
	if (!wait_stop(t->pid, &status) || !is_event(status))
		ground_bail("no copy was made: wait status %#x", (unsigned)status);
	call(PTRACE_GETEVENTMSG, t->pid, NULL, &child);
	copy.pid = (pid_t)child;
	if (!wait_stop(copy.pid, &status))
		ground_bail("a copy has ended at once");
	set_registers(copy.pid, &now);
	if (!go_on(t->pid, PTRACE_CONT))
		ground_bail("a traced process ended while it was copied");
	set_registers(t->pid, &now);
	return copy;
}

void tracer_kill(const struct tracee *t)
{
	int status;

	if (t->pid == 0 || waitpid(t->pid, &status, __WALL | WNOHANG) < 0) /* it has ended, and been reaped */
		return;
	(void)kill(t->pid, SIGKILL);
	while (waitpid(t->pid, &status, __WALL) == t->pid && WIFSTOPPED(status))
		;
}

static void keep(const struct tracee *t, unsigned long from, unsigned long to, int advice)
{
	if (tracer_call(t, SYS_madvise, (long)from, (long)(to - from), advice))
		ground_bail("madvise in a traced process failed");
}

/* "7f0000000000-7f0000001000 ..." begins a mapping in smaps, "VmFlags: rd wr ... wf ..." ends it. */
void tracer_keep_wiped(const struct tracee *t)
{
	unsigned long from = 0, to = 0, a, b;
	char line[512];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/smaps", (int)t->pid);
	f = fopen(line, "r");
	if (!f)
		ground_bail("smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
			from = a;
			to = b;
		}
		if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " wf"))
			keep(t, from, to, MADV_KEEPONFORK);
		if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dc") && !strstr(line, " io"))
			keep(t, from, to, MADV_DOFORK);
	}
	fclose(f);
}

#else

void tracer_mark(void)
{
}

bool tracer_works(const char **ret_why)
{
	*ret_why = "written for x86-64";
	return false;
}

bool tracer_start(struct tracee *ret, void (*play)(void *arg), void *arg)
{
	(void)ret;
	(void)play;
	(void)arg;
	return false;
}

bool tracer_exec(struct tracee *ret, char *const argv[])
{
	(void)ret;
	(void)argv;
	return false;
}

bool tracer_follow_fork(const struct tracee *parent, struct tracee *ret)
{
	(void)parent;
	(void)ret;
	return false;
}

enum tracer_at tracer_step(const struct tracee *t, uintptr_t *ret_ip)
{
	(void)t;
	(void)ret_ip;
	return TRACER_ENDED;
}

enum tracer_at tracer_run(const struct tracee *t)
{
	(void)t;
	return TRACER_ENDED;
}

struct tracee tracer_copy(const struct tracee *t)
{
	return *t;
}

void tracer_kill(const struct tracee *t)
{
	(void)t;
}

int tracer_end_status(void)
{
	return 0;
}

long tracer_call(const struct tracee *t, long nr, long a, long b, long c)
{
	(void)t;
	(void)nr;
	(void)a;
	(void)b;
	(void)c;
	return -1;
}

void tracer_keep_wiped(const struct tracee *t)
{
	(void)t;
}

#endif
