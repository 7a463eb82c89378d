/* SPDX-License-Identifier: MIT */
/* Stacks as the preload library walks them, against libunwind at the same place. */
#define UNW_LOCAL_ONLY

#include "preload/unwind.c"	  /* NOLINT: the library exports nothing of it */
#include "preload/unwind_rules.c" /* NOLINT */
#include "tests/lib/tap.h"

#include <alloca.h>
#include <libunwind.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define FRAMES 256

static struct unwind_cache cache;
static unsigned long stacks, frames, different, unfinished;

/* Both begin in this function; where in it, each has its own. */
static __attribute__((noinline)) int look(void)
{
	uint64_t ours[FRAMES], theirs[FRAMES];
	struct unwind_registers here;
	struct unwind_result r;
	unw_context_t context;
	unw_cursor_t cursor;
	unsigned n = 0;

	unwind_here(&here);
	r = unwind_walk(&cache, &here, 0, 0, ours, FRAMES, NULL, NULL);
	(void)unw_getcontext(&context);
	(void)unw_init_local(&cursor, &context);
	while (n < FRAMES && unw_step(&cursor) > 0) {
		unw_word_t pc;

		(void)unw_get_reg(&cursor, UNW_REG_IP, &pc);
		if (pc)
			theirs[n++] = pc;
	}
	stacks++;
	unfinished += r.cut;
	frames += n;
	different += n > r.frames ? n - r.frames : r.frames - n;
	for (unsigned i = 0; i < n && i < r.frames; i++)
		different += (ours[i] & ~ADDRESS_STRUCK) != theirs[i];
	return (int)n;
}

static void begin(void)
{
	stacks = frames = different = unfinished = 0;
}

/* At least this many frames were seen: a walk that ends at once is no success. */
static void judge(const char *what, unsigned long at_least)
{
	(void)tap_ok(different == 0 && unfinished == 0 && stacks > 0 && frames >= at_least * stacks,
		     "%s: %lu stacks of %lu frames in all, %lu not libunwind's, %lu not to the end", what, stacks,
		     frames, different, unfinished);
}

/* ---- shapes of functions ---------------------------------------------------------------------------------- */

static __attribute__((noinline)) int deep(int n)
{
	volatile char *room = alloca(16 + (size_t)n * 7 % 200);
	int seen;

	room[0] = (char)n;
	seen = n ? deep(n - 1) : look();
	return seen + room[0];
}

typedef int wide __attribute__((vector_size(64)));

/* Its stack is aligned: the frame's beginning lies in memory. */
static __attribute__((noinline)) int aligned(int n)
{
	volatile wide v = { 0 };

	v[0] = look();
	return v[0] + deep(n);
}

static int compare(const void *a, const void *b)
{
	(void)look();
	return *(const int *)a - *(const int *)b;
}

static void handle(int signal)
{
	(void)signal;
	(void)look();
}

static void *in_thread(void *arg)
{
	for (int i = 0; i < 30; i++)
		(void)deep(i);
	(void)aligned(5);
	return arg;
}

static ucontext_t back, there;

/* On a stack that the walk knows nothing of. */
static void in_context(void)
{
	(void)deep(10);
}

static void run_in_context(void)
{
	size_t size = 256 << 10;

	(void)getcontext(&there);
	there.uc_stack.ss_sp = malloc(size);
	there.uc_stack.ss_size = size;
	there.uc_link = &back;
	makecontext(&there, in_context, 0);
	(void)swapcontext(&back, &there);
	free(there.uc_stack.ss_sp);
}

/* A rule for these addresses that is of another file: what was learned must not be believed for ever. */
static void forget(void)
{
	struct unwind_registers here;

	unwind_here(&here);
	for (unsigned i = 0; i < UNWIND_CACHE; i++) {
		uint64_t data = mc_load_relaxed(&cache.rule[i].data);
		uint64_t pc = mc_load_relaxed(&cache.rule[i].check) ^ data;

		mc_store_relaxed(&cache.rule[i].data, data ^ 0x100);
		mc_store_relaxed(&cache.rule[i].check, pc ^ data ^ 0x100);
	}
	begin();
	(void)deep(3);
	(void)tap_ok(different > 0 || unfinished > 0, "wrong rules are noticed by this test");
	unwind_forget(&cache);
}

/* Frames as code made at run time has them, without a description. */
static void by_frame_pointer(void)
{
	uint64_t stack[16] = { 0 };
	struct walk w = { .cache = &cache,
			  .pc = 5000,
			  .sp = (uint64_t)&stack[0],
			  .fp = (uint64_t)&stack[4],
			  .top = (uint64_t)&stack[15] };

	stack[4] = (uint64_t)&stack[8];
	stack[5] = 6000;
	(void)tap_ok(leave(&w) == STEP_ON && w.pc == 6000 && w.fp == (uint64_t)&stack[8] && w.sp == (uint64_t)&stack[6],
		     "code without a description is left by the frame pointer");
	w.fp = 8;
	(void)tap_ok(leave(&w) == STEP_LOST, "a frame pointer to somewhere else is not followed");
	w.fp = (uint64_t)&stack[15] + 4096;
	(void)tap_ok(leave(&w) == STEP_LOST, "nor one above the stack");
}

int main(void)
{
	struct sigaction on = { .sa_handler = handle };
	int numbers[200];
	pthread_t thread;

	if (!unwind_is_possible()) {
		tap_skip("no _dl_find_object here", "stacks are walked as libunwind walks them");
		return tap_end();
	}
	for (int i = 0; i < 100; i++)
		(void)deep(i);
	judge("recursion with variable frames", 20);
	begin();
	for (int i = 0; i < 20; i++)
		(void)aligned(i);
	judge("an aligned stack", 4);
	begin();
	for (int i = 0; i < 200; i++)
		numbers[i] = i * 7919 % 200;
	qsort(numbers, 200, sizeof(numbers[0]), compare);
	judge("called back by libc", 5);
	begin();
	(void)sigaction(SIGUSR1, &on, NULL);
	(void)raise(SIGUSR1);
	judge("in a signal handler", 5);
	begin();
	(void)pthread_create(&thread, NULL, in_thread, NULL);
	(void)pthread_join(thread, NULL);
	judge("in a thread", 3);
	begin();
	run_in_context();
	unfinished = 0; /* where a context begins nobody has written down who called it: libunwind ends there, too */
	judge("on a stack of the program's own", 11);
	forget();
	by_frame_pointer();
	return tap_end();
}
