/* SPDX-License-Identifier: MIT */
/* The helper thread. */
#include "preload/helper.h"

#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"
#include "preload/heap.h"
#include "preload/real.h"
#include "preload/self.h"
#include "preload/shrinker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define STACK_SIZE (64u << 10) /* beside what libc needs of it, which is all threads' variables */
#define FAILURES_MAX 3

enum helper_state {
	HELPER_NONE, /* zero: a fresh child's */
	HELPER_STARTING,
	HELPER_RUNNING,
	HELPER_ENDING,
};

/* In self_page: wiped on fork. */
struct helper {
	mc_word32 state;     /* sync: compare-and-swap; enum helper_state */
	mc_word32 held;	     /* sync: full; how many want none */
	mc_word32 tid;	     /* sync: release by itself */
	pthread_t thread;    /* sync: owner of the state STARTING or ENDING */
};
_Static_assert(sizeof(struct helper) <= sizeof(((struct self *)0)->helper), "self.h keeps room for it");

REAL(pthread_create)

mc_word32 helper_wanted;
static mc_word32 never; /* off, or given up */
static mc_word32 failures;

/* NULL where this process is no member, or it is a vfork child in another's memory. */
static struct helper *helper_of(const struct self *self)
{
	return self ? (struct helper *)(void *)self_page->helper : NULL;
}

static struct helper *own_helper(void)
{
	return self_is_own_process() ? helper_of(self_page) : NULL;
}

void helper_prepare(void)
{
	const char *value = getenv("MEMCTL_HELPER");

	if (value && strcmp(value, "off") == 0)
		mc_store_relaxed(&never, 1);
}

bool helper_listens(void)
{
	return self_page && mc_load_acquire(&helper_of(self_page)->state) == HELPER_RUNNING;
}

void helper_want(void)
{
	if (!mc_load_relaxed(&never) && !helper_is_wanted() && !helper_listens())
		mc_store_relaxed(&helper_wanted, 1);
}

static void meet(struct member *m, uint64_t wanted)
{
	uint64_t had = heap_unused();
	uint64_t given = heap_reclaim(wanted);

	mc_add_relaxed(&m->scanned, had > given ? had : given);
	mc_add_relaxed(&m->reclaimed, given);
	if (given < wanted)
		mc_add_relaxed(&m->reclaimed, shrinker_call(wanted - given));
}

/* All signals are blocked here: they are for the program's threads. */
static void *listen(void *arg)
{
	struct self *self = arg;
	struct helper *h = helper_of(self);
	const struct segment *seg = self->actor.seg;
	uint32_t ask;

	(void)sys_call3(SYS_prctl, PR_SET_NAME, "memctl", 0);
	mc_store_release(&h->tid, (uint32_t)sys_call3(SYS_gettid, 0, 0, 0));
	reclaim_listen(seg, self->member, true);
	for (;;) {
		uint64_t wanted = reclaim_take(seg, self->member, &ask);

		if (mc_load_full(&h->state) == HELPER_ENDING)
			break;
		if (wanted)
			meet(member_of(seg, self->member), wanted);
		reclaim_answer(seg, self->member, ask);
		reclaim_sleep(seg, self->member, ask);
	}
	reclaim_listen(seg, self->member, false);
	reclaim_answer(seg, self->member, ask);
	return NULL;
}

static int create(struct helper *h)
{
	pthread_attr_t attr;
	long least = sysconf(_SC_THREAD_STACK_MIN);
	int err;

	if (!real_pthread_create())
		return ENOSYS;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, (size_t)(least > 0 ? least : 0) + STACK_SIZE);
	err = real_pthread_create()(&h->thread, &attr, listen, self_page);
	(void)pthread_attr_destroy(&attr);
	return err;
}

/* Signals are blocked meanwhile, for the helper inherits that, and for a handler that forks would wait for the
 * state of the thread it interrupted. */
static void start(struct helper *h)
{
	uint32_t none = HELPER_NONE;

	if (!mc_cas_full(&h->state, &none, HELPER_STARTING))
		return;
	if (mc_load_full(&h->held)) { /* after the swap: a hold first says so, then looks at the state */
		mc_store_full(&h->state, HELPER_NONE);
		return;
	}
	mc_store_relaxed(&h->tid, 0);
	if (create(h) == 0) {
		mc_store_full(&h->state, HELPER_RUNNING);
		return;
	}
	mc_store_full(&h->state, HELPER_NONE);
	if (mc_add_relaxed(&failures, 1) + 1 >= FAILURES_MAX)
		mc_store_relaxed(&never, 1);
}

static void block_signals(sigset_t *ret_old)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, ret_old);
}

static bool is_worth_it(void)
{
	return !mc_load_relaxed(&never) && (heap_unused() >= HELPER_WORTH_PAGES || shrinker_any());
}

void helper_start(void)
{
	struct helper *h = own_helper();
	int saved = errno;
	sigset_t old;

	mc_store_relaxed(&helper_wanted, 0);
	if (!h || !is_worth_it())
		return;
	block_signals(&old);
	start(h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
}

/* Joined, a thread may still be seen for a moment, and unshare counts it. */
static void wait_until_gone(uint32_t tid)
{
	int pid = sys_getpid();

	while (tid && sys_call3(SYS_tgkill, pid, tid, 0) == 0)
		(void)sys_call3(SYS_sched_yield, 0, 0, 0);
}

/* True when there is none any more. */
static bool end(struct helper *h)
{
	uint32_t running = HELPER_RUNNING;
	int cancel;

	if (mc_load_full(&h->state) == HELPER_NONE)
		return true;
	if (!mc_cas_full(&h->state, &running, HELPER_ENDING)) {
		(void)sys_call3(SYS_sched_yield, 0, 0, 0); /* another one starts or ends it */
		return false;
	}
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	reclaim_rouse(self_page->actor.seg, self_page->member);
	(void)pthread_join(h->thread, NULL);
	(void)pthread_setcancelstate(cancel, NULL);
	wait_until_gone(mc_load_acquire(&h->tid));
	mc_store_full(&h->state, HELPER_NONE);
	return true;
}

void helper_hold(void)
{
	struct helper *h = own_helper();
	int saved = errno;
	sigset_t old;

	if (!h)
		return;
	mc_add_full(&h->held, 1);
	if (mc_load_full(&h->state) == HELPER_NONE)
		return;
	block_signals(&old);
	while (!end(h))
		;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
}

void helper_release(void)
{
	struct helper *h = own_helper();

	if (!h || mc_load_full(&h->held) == 0)
		return;
	mc_sub_full(&h->held, 1);
	if (heap_unused() >= HELPER_WORTH_PAGES)
		helper_want();
}

void helper_thread_ends(void)
{
	if (sys_call3(SYS_gettid, 0, 0, 0) != sys_getpid() || mc_exchange_full(&never, 1))
		return;
	helper_hold();
}
