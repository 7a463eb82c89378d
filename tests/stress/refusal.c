/* SPDX-License-Identifier: MIT */
/* Allocating against a limit: eight threads, and new ones all the while, that go on after being refused.
 *
 *   refusal                    a short run of each kind, and the price of a refusal (make check)
 *   refusal SECONDS REFUSALS   runs until both are reached, also with other settings of the system, which
 *                              are put back (make check-long: 10 10000000)
 */
#include "accounting/sys.h"
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS 8
#define SLOTS 4096
#define LIMIT_MIB 64
#define BRIEF_ALLOCATIONS 200
#define CREDIT 65536ull
#define THREADS_ENDING 128 /* whose credit is not back yet */
#define LOST 6144ull	   /* a thread ever: what others took of its memory before it could be given back */

#define THP "/sys/kernel/mm/transparent_hugepage/enabled"
#define OVERCOMMIT "/proc/sys/vm/overcommit_memory"

static atomic_ulong refused;
static atomic_ulong granted;
static atomic_ulong threads_ever;
static atomic_bool stop;

/* jemalloc's, that is the preload library's. */
extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* "RssAnon:" or "VmSize:", in bytes. */
static uint64_t status_of(const char *what)
{
	static char text[8192];
	int fd = sys_openat(AT_FDCWD, "/proc/self/status", O_RDONLY, 0);
	long n = sys_read(fd, text, sizeof(text) - 1);
	char *at;

	sys_close(fd);
	text[n < 0 ? 0 : n] = 0;
	at = strstr(text, what);
	return at ? strtoull(at + strlen(what), NULL, 10) << 10 : 0;
}

static uint64_t metadata(void)
{
	uint64_t epoch = 1;
	size_t value = 0;
	size_t size = sizeof(value);

	if (!mallctl)
		return 0;
	(void)mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	(void)mallctl("stats.metadata", &value, &size, NULL, 0);
	return value;
}

/* 16 B to 1 MiB, small ones as often as large ones. */
static size_t some_size(uint64_t r)
{
	size_t top = (size_t)16 << (r % 17);

	return top + (r >> 8) % top / 2;
}

/* One allocation; now and then something is freed, so that others get room. */
static void step(char **slot, uint64_t *random)
{
	uint64_t r = ground_random(random);
	char **at = &slot[(r >> 40) % SLOTS];
	size_t size = some_size(r);
	char *p;

	if (*at && r >> 52 < 64) {
		free(*at);
		*at = NULL;
	}
	p = malloc(size);
	if (!p) {
		if (errno != ENOMEM)
			abort();
		atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
		return;
	}
	atomic_fetch_add_explicit(&granted, 1, memory_order_relaxed);
	memset(p, 1, size);
	free(*at);
	*at = p;
}

static void *work(void *arg)
{
	static char *slots[THREADS][SLOTS];
	uintptr_t self = (uintptr_t)arg;
	uint64_t random = self * 7919 + 1;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		step(slots[self], &random);
	for (int i = 0; i < SLOTS; i++)
		free(slots[self][i]);
	return NULL;
}

/* A short life: what a thread's first allocations need must be there. */
static void *work_briefly(void *arg)
{
	char *slot[SLOTS] = { NULL };
	uint64_t random = (uintptr_t)arg + 1;

	for (int i = 0; i < BRIEF_ALLOCATIONS; i++)
		step(slot, &random);
	for (int i = 0; i < SLOTS; i++)
		free(slot[i]);
	return NULL;
}

/* Starting one may be refused as well. */
static bool start_thread(pthread_t *t, void *(*work_as)(void *), uintptr_t arg)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	err = pthread_create(t, &attr, work_as, (void *)arg);
	pthread_attr_destroy(&attr);
	if (!err)
		atomic_fetch_add(&threads_ever, 1);
	return !err;
}

/* Ground that is there whatever the heap does: the library's own, stacks, this program's. */
static bool is_resident_in_bounds(uint64_t before, bool say)
{
	uint64_t anon = status_of("RssAnon:");
	uint64_t meta = metadata();
	uint64_t bound = before + ((uint64_t)LIMIT_MIB << 20) + CREDIT * (THREADS + THREADS_ENDING) +
			 LOST * atomic_load(&threads_ever) + meta;

	if (say || anon > bound)
		fprintf(stderr, "# RssAnon %llu KiB, %llu before; metadata %llu KiB; bound %llu KiB\n",
			(unsigned long long)anon >> 10, (unsigned long long)before >> 10,
			(unsigned long long)meta >> 10, (unsigned long long)bound >> 10);
	return anon <= bound;
}

static void run_until(double seconds, unsigned long refusals, uint64_t before)
{
	double start = now();
	double end = start + STAGE_DEADLINE - 20;
	uint64_t warm = 0;
	uint64_t size = 0;
	bool within = true;

	while (within && now() < end && (now() - start < seconds || atomic_load(&refused) < refusals)) {
		pthread_t t;

		if (start_thread(&t, work_briefly, atomic_load(&threads_ever) * 104729))
			pthread_join(t, NULL);
		if (!warm && (now() - start > seconds / 3 && atomic_load(&refused) > refusals / 3))
			warm = status_of("VmSize:");
		within = is_resident_in_bounds(before, false);
	}
	expect(within);
	size = status_of("VmSize:");
	expect(atomic_load(&refused) >= refusals);
	expect(warm != 0 && size <= warm + (32ull << 20));
	fprintf(stderr, "# %lu refused, %lu granted, %lu threads, %.1f s; VSZ %llu -> %llu MiB\n",
		atomic_load(&refused), atomic_load(&granted), atomic_load(&threads_ever), now() - start,
		(unsigned long long)warm >> 20, (unsigned long long)size >> 20);
}

static int fire(void)
{
	double seconds = stage_argument(1) ? strtod(stage_argument(1), NULL) : 1;
	unsigned long refusals = stage_argument(1) && stage_argument(2) ? strtoul(stage_argument(2), NULL, 10) : 300000;
	pthread_t t[THREADS];
	uint64_t before;

	(void)stage_segment();
	(void)stage_held();
	before = status_of("RssAnon:") + THREADS * (64 << 10) + (1 << 20);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (!start_thread(&t[i], work, i))
			return 1;
	run_until(seconds, refusals, before);
	(void)is_resident_in_bounds(before, true);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	expect(stage_class(CLASS_HEAP) == stage_held());
	free(malloc(1 << 20));
	return stage_verdict();
}

/* What the threads freed must serve again. */
static int recovers(void)
{
	static char *p[1 << 14];
	unsigned n = 0;
	unsigned again = 0;

	for (; n < 1 << 14 && (p[n] = malloc(8192)) != NULL; n++)
		memset(p[n], 1, 8192);
	expect(n > 8000 && n <= 8192);
	for (int i = 0; i < 100000; i++)
		expect(malloc(8192) == NULL);
	for (unsigned i = 0; i < n; i++)
		free(p[i]);
	for (; again < 1 << 14 && (p[again] = malloc(8192)) != NULL; again++)
		;
	expect(again + 16 >= n); /* the helper thread has started in between: its variables, its name for glibc */
	return stage_verdict();
}

/* A request that can never be met must not stand in the way of one that can. */
static int falls_back(void)
{
	uint64_t size = status_of("VmSize:");
	size_t n = (size_t)1 << 40;

	for (int i = 0; i < 1000; i++)
		expect(malloc((size_t)4 << 30) == NULL);
	while (n && !malloc(n))
		n >>= 1;
	expect_equal(n, 32 << 20);
	expect(malloc(16 << 20) != NULL);
	expect(status_of("VmSize:") - size < (1 << 30));
	return stage_verdict();
}

static int price(void)
{
	enum { N = 200000 };
	static const size_t sizes[] = { 16, 4096, 65536, 1 << 20 };
	void *volatile p;

	while (malloc(1 << 20))
		;
	while (malloc(4096))
		;
	for (unsigned s = 0; s < 4; s++) {
		double best = 1e9;

		while ((p = malloc(sizes[s])) != NULL)
			;
		for (int round = 0; round < 5; round++) {
			double start = now();

			for (int i = 0; i < N / 5; i++) {
				p = malloc(sizes[s]);
				expect(p == NULL);
			}
			if ((now() - start) * 5 / N < best)
				best = (now() - start) * 5 / N;
		}
		fprintf(stderr, "# refused malloc(%zu): %.0f ns\n", sizes[s], best * 1e9);
	}
	return stage_verdict();
}

static const struct scene scenes[] = {
	{ "fire", "eight threads under refusals stay within their limit", fire, STAGE_MIB(LIMIT_MIB) },
	{ "recovers", "freed memory is there again after 100,000 refusals", recovers, STAGE_MIB(LIMIT_MIB) },
	{ "falls_back", "what fits is granted after what does not", falls_back, STAGE_MIB(LIMIT_MIB) },
	{ "price", "a refusal has its price", price, STAGE_MIB(LIMIT_MIB) },
};

/* ---- the system's settings ----------------------------------------------------------------------------------- */

static const char *changed;
static const char *old_value;

static bool write_setting(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void put_back(void)
{
	if (changed)
		(void)write_setting(changed, old_value);
	changed = NULL;
}

static void put_back_and_die(int sig)
{
	put_back();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* "0", or the word in brackets. */
static const char *read_setting(const char *file)
{
	static char text[128];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	char *from;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return NULL;
	text[n] = 0;
	from = strchr(text, '[') ? strchr(text, '[') + 1 : text;
	from[strcspn(from, "]\n")] = 0;
	return from;
}

static void play_with(const char *file, const char *value, char *const more[], const char *conf, const char *note)
{
	old_value = read_setting(file);
	changed = old_value ? file : NULL;
	if (old_value && write_setting(file, value))
		stage_play(&scenes[0], more, conf, note);
	else
		tap_skip("only root may change this setting", "%s%s", scenes[0].sentence, note);
	put_back();
}

static void play_all(char *const more[], bool with_settings)
{
	stage_play(&scenes[0], more, "narenas:2", " (2 arenas)");
	stage_play(&scenes[0], more, "narenas:256", " (256 arenas)");
	stage_play(&scenes[1], NULL, NULL, "");
	stage_play(&scenes[2], NULL, NULL, "");
	stage_play(&scenes[3], NULL, NULL, "");
	if (!with_settings)
		return;
	play_with(THP, "always", more, "narenas:2", " (huge pages always, 2 arenas)");
	play_with(THP, "always", more, "narenas:256", " (huge pages always, 256 arenas)");
	play_with(THP, "madvise", more, "narenas:2", " (huge pages by madvise)");
	play_with(OVERCOMMIT, "2", more, "narenas:2", " (no overcommit)");
}

int main(int argc, char *argv[])
{
	static char seconds[] = "1";
	static char refusals[] = "300000";
	static char *brief[] = { seconds, refusals, NULL };

	for (unsigned i = 0; i < 4; i++)
		if (argc > 1 && strcmp(argv[1], scenes[i].name) == 0)
			return scenes[i].play();
	signal(SIGTERM, put_back_and_die);
	signal(SIGINT, put_back_and_die);
	atexit(put_back);
	play_all(argc > 2 ? argv + 1 : brief, argc > 2);
	return tap_end();
}
