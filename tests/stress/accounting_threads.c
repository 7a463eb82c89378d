/* SPDX-License-Identifier: MIT */
/* All of accounting/ in the threads of one process, so that a race detector sees every side of it.
 *
 *   accounting_threads [SECONDS [SEED]]
 *
 * Workers are members that join, charge, give back and die by turns; one thread is the daemon (settles,
 * moves limits, makes and removes groups), one recounts, one looks. accounting_tsan builds this file and
 * accounting/ with ThreadSanitizer and runs it.
 */
#include "tests/lib/ground.h"

#include "accounting/bell.h"
#include "accounting/check.h"
#include "accounting/ticket.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS 4
#define LEAVES 4
#define MAX_OF_S 3000

/* What is read plainly while it may change, and is thrown away when it has: the names of groups, under
 * tree_seq (group.h). The sums of a recount are a thread's own, but their pages come from mmap directly, so
 * the detector takes the next thread's for the same. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:is_named\n"
	       "race:fill_group\n"
	       "race:visit\n"
	       "race:sum_up\n"
	       "race:release_pools\n";
}

static struct ground g;
static uint16_t top, leaf[LEAVES];
static _Atomic bool quit;
static _Atomic uint64_t ops, joins, recounts, looks, lost;
static _Atomic bool dead[MEMBERS_MAX]; /* a worker died in this slot: the daemon's now */
static _Atomic uint32_t next_pid = 1000;
static uint64_t first_seed = 42;

struct worker {
	struct actor by;
	uint64_t seed;
	uint64_t held[2];
	uint32_t account[2];
};

static bool live(struct worker *w)
{
	uint32_t pid = next_pid++;
	uint32_t member;
	uint16_t group = leaf[ground_random(&w->seed) % LEAVES];
	int second;

	if (member_join(&g.seg, pid, 1, group, MEMBER_LIVE, "worker", &member))
		return false;
	w->by = (struct actor){ &g.seg, &member_of(&g.seg, member)->open, member, pid };
	second = member_account(&g.seg, member, RESOURCE_MEMORY, leaf[ground_random(&w->seed) % LEAVES]);
	w->account[0] = member_account_at(&g.seg, member, 0);
	w->account[1] = member_account_at(&g.seg, member, (unsigned)second);
	w->held[0] = w->held[1] = 0;
	if (second == 0)
		w->account[1] = w->account[0];
	joins++;
	return true;
}

static void one_op(struct worker *w)
{
	uint64_t dice = ground_random(&w->seed);
	int i = w->account[0] == w->account[1] ? 0 : (int)(dice >> 8 & 1);
	uint64_t n = 1 + (dice >> 16) % (dice >> 9 & 1 ? 9 : 200);

	if (dice % 64 == 0) {
		(void)stock_drain(&w->by, RESOURCE_MEMORY, top);
	} else if (dice & 1) {
		n = n > w->held[i] ? w->held[i] : n;
		ticket_return(&w->by, w->account[i], n, CLASS_HEAP);
		w->held[i] -= n;
	} else {
		struct ticket t;

		if (ticket_reserve(&w->by, w->account[i], n, &t, NULL) == 0) {
			ticket_commit(&w->by, &t, n - n / 3, CLASS_HEAP);
			w->held[i] += n - n / 3;
		}
	}
	if (ground_held(&g, w->account[i]) != w->held[i])
		lost++;
}

static void *work(void *arg)
{
	struct worker w = { .seed = *(uint64_t *)arg };

	while (!quit) {
		if (!live(&w))
			continue;
		for (int i = 0; i < 400; i++)
			one_op(&w);
		ops += 400;
		if (ground_random(&w.seed) % 2)
			mc_add_full(w.by.open, 1); /* as if in a slow path */
		dead[w.by.member] = true;
	}
	return NULL;
}

static void settle_the_dead(void)
{
	struct actor daemon = ground_daemon(&g);
	uint32_t mark = member_mark(&g.seg);

	for (uint32_t m = 0; m < mark; m++)
		if (atomic_exchange(&dead[m], false))
			(void)settle_dead(&daemon, m);
}

static void change_the_tree(uint64_t *seed)
{
	static uint16_t guest;

	if (guest && ground_remove_group(&g, guest) == 0) {
		guest = 0;
		(void)tree_sweep(&g.seg);
	} else if (!guest) {
		guest = ground_group(&g, "/s/guest", 100 + ground_random(seed) % 100);
	}
}

static void *be_the_daemon(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;
	uint32_t bell = bell_read(&g.seg);

	while (!quit) {
		settle_the_dead();
		ground_set_max(&g, leaf[ground_random(&seed) % LEAVES], 100 + ground_random(&seed) % 900);
		change_the_tree(&seed);
		bell = bell_wait(&g.seg, bell, 200000);
	}
	return NULL;
}

static void *recount_now_and_then(void *unused)
{
	struct timespec t = { 0, 200000 };

	(void)unused;
	while (!quit) {
		recounts += recount(&g.seg, RESOURCE_MEMORY);
		nanosleep(&t, NULL);
	}
	return NULL;
}

static void *look(void *unused)
{
	(void)unused;
	while (!quit) {
		struct snapshot s;
		uint16_t group = 0;
		int err = group_find(&g.seg, "/s/leaf2", &group);

		if (err ? err != -EAGAIN : group != leaf[2])
			lost++;
		if (snapshot_take(&g.seg, RESOURCE_MEMORY, &s) == 0) {
			if (s.pool[top].usage > MAX_OF_S)
				lost++;
			snapshot_free(&s);
		}
		looks++;
		sched_yield();
	}
	return NULL;
}

static bool say(bool ok, const char *what)
{
	printf("%s: %s\n", ok ? "ok" : "FAILED", what);
	return ok;
}

static bool account_for_it(void)
{
	bool ok = say(lost == 0, "nothing was lost, no limit passed, nothing found that is not there");

	settle_the_dead();
	ok = say(ground_empty(&g), "drift 0 when all have gone") && ok;
	ok = say(tree_consistent(&g.seg), "the tree is sound") && ok;
	return say(check_failures() == 0, "no check failed") && ok;
}

static void run(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	pthread_t thread[WORKERS + 3];
	uint64_t seed[WORKERS + 1];
	int n = 0;

	for (int i = 0; i <= WORKERS; i++)
		seed[i] = first_seed + (uint64_t)i * 1000003;
	for (; n < WORKERS; n++)
		pthread_create(&thread[n], NULL, work, &seed[n]);
	pthread_create(&thread[n++], NULL, be_the_daemon, &seed[WORKERS]);
	pthread_create(&thread[n++], NULL, recount_now_and_then, NULL);
	pthread_create(&thread[n++], NULL, look, NULL);
	nanosleep(&t, NULL);
	quit = true;
	while (n)
		pthread_join(thread[--n], NULL);
}

int main(int argc, char **argv)
{
	bool ok;

	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 0) | 1;
	ground_up(&g);
	top = ground_group(&g, "/s", MAX_OF_S);
	for (int i = 0; i < LEAVES; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/s/leaf%d", i);
		leaf[i] = ground_group(&g, path, 1000);
	}
	run(atof(argc > 1 ? argv[1] : "3"));
	printf("%llu operations, %llu members, %llu recounts, %llu looks\n", (unsigned long long)ops,
	       (unsigned long long)joins, (unsigned long long)recounts, (unsigned long long)looks);
	ok = account_for_it();
	ground_down(&g);
	return !ok;
}
