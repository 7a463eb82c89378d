/* SPDX-License-Identifier: MIT */
/* Handlers that map, unmap, attach and drop while they interrupt the same calls, and malloc: no deadlock,
 * errno as it was, and to the page what there was before.
 *
 *   signals            50,000 signals in each mode (make check)
 *   signals NUMBER     so many (make check-long: 1000000)
 *
 * What a handler may do: the calls around the kernel's mmap, always, for these hooks take no lock and allocate
 * nothing. malloc is another matter: neither glibc's nor jemalloc's may be interrupted by itself, and so
 * handlers here allocate only where they have not interrupted an allocation.
 */
#include "tests/preload/live.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define THREADS 4
#define SLOTS 16
#define DEPTH 3		 /* handlers within handlers */
#define PERIOD_NS 30000l /* of each thread's timer */
#define COMMON_PAGES 512 /* a range that all contexts of a thread use at once */
#define LARGE_PAGES 300	 /* granted where memory.charge is resident */
#define NUMBER "MEMCTL_TEST_SIGNALS"
#define MARK 4711 /* errno all the time */

/* What one context owns: a thread's main code, or its handlers of one depth. */
struct hand {
	uint64_t random;
	struct {
		char *at;
		size_t pages;
	} map[SLOTS];
	void *block[SLOTS];
};

struct worker {
	pthread_t thread;
	timer_t timer;
	char *common;
	struct hand hand[DEPTH + 1];
	volatile sig_atomic_t depth;
	volatile sig_atomic_t allocating;
};

static struct worker worker[THREADS];
static __thread struct worker *me;
static atomic_ulong handled, nested, in_malloc, wrong;
static atomic_bool stop;
static int segment;

static void is_mark(int line)
{
	if (errno == MARK)
		return;
	if (atomic_fetch_add(&wrong, 1) == 0)
		expect_equal_at((uint64_t)errno, MARK, line, "errno");
	errno = MARK;
}

#define must(good) \
	do { \
		if (!(good) && atomic_fetch_add(&wrong, 1) < 10) \
			expect_at(false, __LINE__, #good); \
	} while (0)

/* ---- what is done ----------------------------------------------------------------------------------------- */

static void touch(char *at, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		at[i * PAGE] = 1;
}

static void unmap_slot(struct hand *h, unsigned i)
{
	char *at = h->map[i].at;

	h->map[i].at = NULL; /* first: who interrupts must not see it */
	if (at)
		must(munmap(at, h->map[i].pages * PAGE) == 0);
}

static void map_slot(struct hand *h, unsigned i, uint64_t r)
{
	size_t pages = r % 16 == 0 ? LARGE_PAGES : 1 + r % 40;
	int prot = r % 5 == 0 ? PROT_NONE : RW;
	char *at;

	unmap_slot(h, i);
	at = mmap(NULL, pages * PAGE, prot, ANON, -1, 0);
	must(at != MAP_FAILED);
	if (prot == PROT_NONE)
		must(mprotect(at, pages * PAGE, RW) == 0);
	touch(at, pages > 8 ? 8 : pages);
	h->map[i].pages = pages;
	h->map[i].at = at;
}

static void remap_slot(struct hand *h, unsigned i, uint64_t r)
{
	size_t pages = 1 + r % 60;
	char *at = h->map[i].at;

	if (!at)
		return;
	h->map[i].at = NULL;
	at = mremap(at, h->map[i].pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);
	must(at != MAP_FAILED);
	h->map[i].pages = pages;
	h->map[i].at = at;
}

/* All of it: mremap wants one mapping. */
static void map_over_slot(struct hand *h, unsigned i)
{
	char *at = h->map[i].at;

	if (at)
		must(mmap(at, h->map[i].pages * PAGE, RW, ANON | MAP_FIXED, -1, 0) == at);
}

static void drop_slot(struct hand *h, unsigned i)
{
	if (h->map[i].at)
		must(madvise(h->map[i].at, h->map[i].pages * PAGE, MADV_DONTNEED) == 0);
}

static void lock_slot(struct hand *h, unsigned i)
{
	if (!h->map[i].at)
		return;
	must(mlock(h->map[i].at, PAGE) == 0);
	must(munlock(h->map[i].at, PAGE) == 0);
}

static void attach(void)
{
	char *at = shmat(segment, NULL, 0);

	must(at != (char *)-1);
	at[0] = 1;
	must(shmdt(at) == 0);
}

/* In all contexts of the thread at once: what one has just filled another drops. Mapping one address in two
 * contexts at once is left out: then nobody knows what is there. */
static void use_common(uint64_t r)
{
	char *at = me->common + r % (COMMON_PAGES - 64) * PAGE;

	if (r >> 32 & 1)
		touch(at, 64);
	else
		must(madvise(at, 64 * PAGE, MADV_DONTNEED) == 0);
}

static void allocate(struct hand *h, unsigned i, uint64_t r)
{
	void *p;

	me->allocating++;
	free(h->block[i]);
	p = malloc(r % 64 == 0 ? 1 + r % 300000 : 1 + r % 3000);
	must(p != NULL);
	memset(p, 1, 1);
	h->block[i] = p;
	me->allocating--;
}

/* One thing at random. */
static void act(struct hand *h, bool may_allocate)
{
	uint64_t r = ground_random(&h->random);
	unsigned i = (unsigned)(r >> 8) % SLOTS;

	switch (r >> 16 & 15) {
	case 0:
	case 1:
	case 2:
		map_slot(h, i, r >> 20);
		break;
	case 3:
		unmap_slot(h, i);
		break;
	case 4:
	case 5:
		remap_slot(h, i, r >> 20);
		break;
	case 6:
		drop_slot(h, i);
		break;
	case 7:
		attach();
		break;
	case 8:
		lock_slot(h, i);
		break;
	case 9:
		map_over_slot(h, i);
		break;
	case 10:
		use_common(r >> 20);
		break;
	default:
		if (may_allocate)
			allocate(h, i, r >> 20);
	}
}

static void release(struct hand *h)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		unmap_slot(h, i);
		free(h->block[i]);
		h->block[i] = NULL;
	}
}

/* ---- the handler ------------------------------------------------------------------------------------------ */

/* errno is not put back: what is called must leave it alone. */
static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
	if (me->depth == DEPTH)
		return;
	me->depth++;
	atomic_fetch_add(&nested, me->depth > 1);
	atomic_fetch_add(&in_malloc, me->allocating != 0);
	act(&me->hand[me->depth], me->allocating == 0);
	is_mark(__LINE__);
	me->depth--;
}

static void mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(how, &set, NULL);
}

static void start_timer(struct worker *w)
{
	struct itimerspec every = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
	struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };

	e._sigev_un._tid = gettid();
	must(timer_create(CLOCK_MONOTONIC, &e, &w->timer) == 0);
	must(timer_settime(w->timer, 0, &every, NULL) == 0);
}

/* Signals come only while nothing else of libc is under way. */
static void *work(void *arg)
{
	me = arg;
	start_timer(me);
	errno = MARK;
	mask(SIG_UNBLOCK);
	while (!atomic_load(&stop)) {
		act(&me->hand[0], true);
		is_mark(__LINE__);
	}
	mask(SIG_BLOCK);
	timer_delete(me->timer);
	for (unsigned i = 0; i <= DEPTH; i++)
		release(&me->hand[i]);
	munmap(me->common, COMMON_PAGES * PAGE);
	return NULL;
}

/* ---- scenes ----------------------------------------------------------------------------------------------- */

static unsigned long wanted(void)
{
	const char *text = getenv(NUMBER);

	return text ? strtoul(text, NULL, 10) : 50000;
}

static void start_workers(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER | SA_RESTART };

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	mask(SIG_BLOCK);
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &worker[i];

		for (unsigned k = 0; k <= DEPTH; k++)
			w->hand[k].random = 1 + i * 100 + k;
		w->common = mmap(NULL, COMMON_PAGES * PAGE, RW, ANON, -1, 0);
		must(pthread_create(&w->thread, NULL, work, w) == 0);
	}
}

/* Beside the timers: a signal may come at any moment, not only at a tick. */
static void shower(void)
{
	uint64_t random = 99;

	while (atomic_load(&handled) < wanted() && atomic_load(&wrong) == 0) {
		uint64_t r = ground_random(&random);

		pthread_kill(worker[r % THREADS].thread, SIGUSR2);
		(void)nanosleep(&(struct timespec){ .tv_nsec = (long)(r >> 20) % 100000 }, NULL);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(worker[i].thread, NULL);
}

static const enum class exact_classes[] = { CLASS_ANON, CLASS_SHMEM, CLASS_STACK, CLASS_PINNED };

static uint64_t sum_of_classes(void)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < CLASSES; c++)
		n += stage_class((enum class)c);
	return n;
}

static void say_how_many(void)
{
	fprintf(stderr, "# %lu signals, %lu in a handler, %lu in malloc or free\n", atomic_load(&handled),
		atomic_load(&nested), atomic_load(&in_malloc));
	expect(atomic_load(&nested) > 0);
	expect(atomic_load(&in_malloc) > 0);
	expect_equal(atomic_load(&wrong), 0);
}

static void run(void)
{
	uint64_t before[CLASSES];

	segment = shmget(IPC_PRIVATE, 16 * PAGE, 0600);
	expect(segment >= 0);
	for (unsigned i = 0; i < sizeof(exact_classes) / sizeof(*exact_classes); i++)
		before[i] = stage_class(exact_classes[i]);
	start_workers();
	shower();
	shmctl(segment, IPC_RMID, NULL);
	for (unsigned i = 0; i < sizeof(exact_classes) / sizeof(*exact_classes); i++)
		expect_equal(stage_class(exact_classes[i]), before[i]);
	say_how_many();
}

static int committed(void)
{
	run();
	expect_equal(stage_held(), sum_of_classes());
	expect_equal(live_get("memory.current"), sum_of_classes() * PAGE);
	return stage_verdict();
}

/* Allowed apart: the kernel counts resident pages per processor, 64 a processor at most. */
static int resident(void)
{
	expect_true_within(128 * PAGE);
	run();
	expect_true_within(128 * PAGE);
	return stage_verdict();
}

static const struct live_scene scenes[] = {
	{ "committed",
	  "signals among mappings and malloc, memory.charge=commit: exact",
	  committed,
	  { "memory.charge=commit" } },
	{ "resident",
	  "signals among mappings and malloc, memory.charge=resident: as the kernel counts",
	  resident,
	  { NULL } },
};

int main(int argc, char *argv[])
{
	if (argc == 2 && strtoul(argv[1], NULL, 10)) {
		setenv(NUMBER, argv[1], 1);
		argc = 1;
	}
	return live_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
}
