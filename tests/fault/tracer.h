/* SPDX-License-Identifier: MIT */
/* A process under single step, and copies of it as it stands between two instructions.
 *
 * A copy is made by a clone that is injected into the traced process: private memory and registers are the
 * same, shared mappings are shared. So each instruction needs one step and one copy, not a run from the start:
 * the way through n instructions costs n, not n * n / 2. What a copy does not share is its pid; its real
 * parent is the traced process's.
 *
 * x86-64 only (tracer_works). One thread drives all of them. Every failure of ptrace itself ends the program.
 */
#ifndef TESTS_FAULT_TRACER_H
#define TESTS_FAULT_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In the traced process: says "here" to the tracer. The first mark ends tracer_start, the second the way. */
void tracer_mark(void);

struct tracee {
	pid_t pid;
	uintptr_t mark; /* where its tracer_mark lies */
};

/* False, with the reason, where a process cannot be stepped. */
bool tracer_works(const char **ret_why);

/* A child that calls play(arg), or one that execs argv; stopped just after its first mark. False: it ended
 * before, ret->pid is 0 then. */
bool tracer_start(struct tracee *ret, void (*play)(void *arg), void *arg);
bool tracer_exec(struct tracee *ret, char *const argv[]);

/* Goes on to the next fork: *ret is the child, before its first instruction. */
bool tracer_follow_fork(const struct tracee *parent, struct tracee *ret);

enum tracer_at {
	TRACER_STEPPED,
	TRACER_MARK,  /* at its second mark */
	TRACER_ENDED, /* exited or killed; reaped */
};

/* One instruction on. *ret_ip (may be NULL) is the next one's address. */
enum tracer_at tracer_step(const struct tracee *t, uintptr_t *ret_ip);

/* Runs to the second mark. */
enum tracer_at tracer_run(const struct tracee *t);

/* The wait status of the last one that ended by itself. */
int tracer_end_status(void);

/* A copy, stopped where the original is. */
struct tracee tracer_copy(const struct tracee *t);

/* SIGKILL, where it stands; reaped. */
void tracer_kill(const struct tracee *t);

/* A system call in the traced process, which then is where it was. */
long tracer_call(const struct tracee *t, long nr, long a, long b, long c);

/* Copies shall have what madvise(MADV_WIPEONFORK) and madvise(MADV_DONTFORK) keep from forked children. */
void tracer_keep_wiped(const struct tracee *t);

#endif
