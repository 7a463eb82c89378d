/* SPDX-License-Identifier: MIT */
/* The helper thread. */
#include "preload/helper.h"

#include "accounting/effort.h"
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/sys.h"
#include "preload/cold.h"
#include "preload/devices.h"
#include "preload/heap.h"
#include "preload/real.h"
#include "preload/self.h"
#include "preload/shrinker.h"
#include "preload/volatile.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#define STACK_SIZE (64u << 10) /* beside what libc needs of it, which is all threads' variables */
#define FAILURES_MAX 3
#define AFTER_FORK_MS 100u

enum helper_state {
	HELPER_NONE, /* zero: a fresh child's */
	HELPER_STARTING,
	HELPER_RUNNING,
	HELPER_ENDING,
};

/* In self_page: wiped on fork. */
struct helper {
	mc_word32 state;  /* sync: compare-and-swap; enum helper_state */
	mc_word32 held;	  /* sync: full; how many want none */
	mc_word32 tid;	  /* sync: release by itself */
	pthread_t thread; /* sync: owner of the state STARTING or ENDING */
};
_Static_assert(sizeof(struct helper) <= sizeof(((struct self *)0)->helper), "self.h keeps room for it");

REAL(pthread_create)

mc_word32 helper_wanted;
static mc_word32 never; /* off, or given up */
static mc_word32 failures;
static mc_word32 not_before; /* milliseconds; 0: whenever it is wanted */

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

	cold_prepare();
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

/* The helper is one; the program has another one at least. */
static bool has_many_threads(void)
{
	struct stat st;

	return sys_call6(SYS_newfstatat, AT_FDCWD, (long)"/proc/self/task", (long)&st, 0, 0, 0) == 0 &&
	       st.st_nlink > 2 + 2;
}

/* What other threads cached, they give back to the heap when they next enter it: those that run do so at once. */
static uint64_t from_caches(uint64_t wanted)
{
	const struct timespec ms = { .tv_nsec = 2000000 };

	heap_want_flush();
	if (!heap_is_ours || !has_many_threads())
		return 0;
	(void)sys_call3(SYS_nanosleep, &ms, 0, 0);
	return heap_reclaim(wanted);
}

/* What they freed is the heap's, this thread's cache's even. */
static uint64_t from_shrinkers(uint64_t wanted)
{
	uint64_t given = shrinker_call(RESOURCE_MEMORY, wanted);

	if (given && heap_is_ours) {
		heap_flush_thread();
		(void)heap_reclaim(given);
	}
	return given;
}

/* From free to costly. */
static uint64_t give(uint64_t wanted, bool is_helper)
{
	uint64_t given = heap_reclaim(wanted);

	if (given < wanted) {
		given += volatile_drop(wanted - given);
		helper_tell();
	}
	if (given < wanted && is_helper)
		given += from_shrinkers(wanted - given);
	if (given < wanted && is_helper)
		given += from_caches(wanted - given);
	return given;
}

static void meet(const struct segment *seg, struct member *m, uint64_t wanted, bool is_helper)
{
	uint32_t group = mc_exchange_full(&m->asked_for, 0);
	uint64_t had = heap_unused() + volatile_pages();
	uint64_t given = give(wanted, is_helper);

	mc_add_relaxed(&m->scanned, had > given ? had : given);
	mc_add_relaxed(&m->reclaimed, given);
	if (group)
		effort_book(seg, RESOURCE_MEMORY, (uint16_t)(group - 1), wanted, given);
}

void helper_meet(void)
{
	const struct segment *seg;
	int saved = errno;
	uint64_t wanted;
	uint32_t ask;

	if (!self_is_own_process())
		return;
	seg = self_page->actor.seg;
	wanted = reclaim_take(seg, self_page->member, &ask);
	if (wanted) {
		heap_flush_thread();
		meet(seg, member_of(seg, self_page->member), wanted, false);
	}
	reclaim_answer(seg, self_page->member, ask);
	errno = saved;
}

void helper_tell(void)
{
	const struct self *self = self_get();
	struct member *m = self ? member_of(self->actor.seg, self->member) : NULL;

	if (!m)
		return;
	mc_store_relaxed(&m->shrinkers, shrinker_any() || !heap_is_ours);
	mc_store_relaxed(&m->droppable, self_is_resident(self) ? volatile_pages() : 0);
}

/* All signals are blocked here: they are for the program's threads. */
static void *listen(void *arg)
{
	struct self *self = arg;
	struct helper *h = helper_of(self);
	const struct segment *seg = self->actor.seg;
	uint32_t ask, again_ms;

	cold_begin();
	(void)sys_call3(SYS_prctl, PR_SET_NAME, "memctl", 0);
	heap_start_thread();
	helper_tell();
	mc_store_release(&h->tid, (uint32_t)sys_call3(SYS_gettid, 0, 0, 0));
	reclaim_listen(seg, self->member, true);
	for (;;) {
		uint64_t wanted = reclaim_take(seg, self->member, &ask);

		if (mc_load_full(&h->state) == HELPER_ENDING)
			break;
		if (wanted)
			meet(seg, member_of(seg, self->member), wanted, true);
		reclaim_answer(seg, self->member, ask);
		devices_meet(self);
		again_ms = cold_work(self);
		if (again_ms)
			reclaim_sleep(seg, self->member, ask, again_ms);
	}
	reclaim_listen(seg, self->member, false);
	reclaim_answer(seg, self->member, ask);
	cold_end(self);
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

static bool is_near(void)
{
	const struct self *self = self_page;

	return self && mc_load_acquire(&self->state) == SELF_MEMBER &&
	       charge_is_near(&self->actor, self_target(self).account);
}

bool helper_is_worth(uint64_t unused)
{
	return unused >= HELPER_WORTH_PAGES || (unused >= HELPER_WORTH_NEAR_PAGES && is_near());
}

static uint64_t held(void)
{
	const struct self *self = self_page;

	return self && mc_load_acquire(&self->state) == SELF_MEMBER
		       ? account_held(mc_load_relaxed(&account_of(self->actor.seg, self_target(self).account)->word))
		       : 0;
}

static bool is_worth_it(void)
{
	return !mc_load_relaxed(&never) &&
	       (helper_is_worth(heap_unused()) || (!heap_is_ours && held() >= HELPER_WORTH_PAGES) || shrinker_any() ||
		volatile_pages() || devices_any() || cold_is_worth_it());
}

void helper_start(void)
{
	struct helper *h = own_helper();
	int saved = errno;
	sigset_t old;

	mc_store_relaxed(&helper_wanted, 0);
	mc_store_relaxed(&not_before, 0);
	if (!h || !is_worth_it())
		return;
	block_signals(&old);
	start(h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
}

static bool is_too_early(void)
{
	uint32_t at = mc_load_relaxed(&not_before);

	return at && (int32_t)(reclaim_now() - at) < 0;
}

/* Else it stays wanted. */
void helper_start_by_and_by(void)
{
	if (!is_too_early())
		helper_start();
}

/* No handler is running in this thread: each would have its signal blocked, unless it was set up not to. */
static bool is_outside_handlers(void)
{
	uint64_t blocked = 0;

	if (sys_call6(SYS_rt_sigprocmask, 0, 0, (long)&blocked, sizeof(blocked), 0, 0))
		return false;
	for (long sig = 1; sig <= 64; sig++) {
		struct {
			void (*handler)(int);
			unsigned long flags;
			void (*restorer)(void);
			uint64_t mask;
		} is = { 0 };

		if (sys_call6(SYS_rt_sigaction, sig, 0, (long)&is, sizeof(is.mask), 0, 0) || is.handler == SIG_DFL ||
		    is.handler == SIG_IGN)
			continue;
		if (is.flags & SA_NODEFER || blocked >> (sig - 1) & 1)
			return false;
	}
	return true;
}

/* In steps of 4 MiB. */
static uint32_t steps_held(void)
{
	return (uint32_t)(held() >> 10);
}

static mc_word32 looked_at;

bool helper_is_to_be_considered(void)
{
	uint32_t steps = steps_held();

	return steps >= HELPER_WORTH_PAGES >> 10 && !mc_load_relaxed(&never) &&
	       (steps != mc_load_relaxed(&looked_at) || helper_is_wanted()) && !is_too_early();
}

void helper_consider(void)
{
	if (!helper_is_to_be_considered())
		return;
	mc_store_relaxed(&looked_at, steps_held());
	mc_store_relaxed(&helper_wanted, 0);
	if (!helper_listens() && is_outside_handlers())
		helper_start();
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

	if (!h)
		return;
	if (mc_load_full(&h->held) == 0) { /* a child */
		if (shrinker_any() || volatile_pages())
			helper_want();
		return;
	}
	mc_sub_full(&h->held, 1);
	if (is_worth_it())
		helper_want();
}

/* Of this thread's fork. */
static __thread bool was_held, is_to_return;

/* A purge takes the locks that fork takes, too: no handler that interrupted them gets here. */
void helper_before_fork(void)
{
	uint64_t unused = heap_unused();
	int saved = errno;

	if (unused >= HELPER_WORTH_NEAR_PAGES && is_near() && own_helper())
		(void)heap_reclaim(unused);
	is_to_return = helper_listens();
	was_held = !is_to_return || !has_many_threads();
	if (was_held)
		helper_hold();
	errno = saved;
}

void helper_after_fork(bool is_parent)
{
	uint32_t at = is_parent && was_held && is_to_return ? reclaim_now() + AFTER_FORK_MS : 0;

	mc_store_relaxed(&not_before, at);
	if (was_held)
		helper_release();
}

void helper_before_wait(void)
{
	if (is_outside_handlers())
		helper_start();
}

void helper_thread_ends(void)
{
	if (sys_call3(SYS_gettid, 0, 0, 0) != sys_getpid() || mc_exchange_full(&never, 1))
		return;
	helper_hold();
}
