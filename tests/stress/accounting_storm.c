/* SPDX-License-Identifier: MIT */
/* Everything at once, between processes: charges, kills, stops, limits that move, groups that come and go,
 * recounts all the time, daemons that die. What is left at the end must be nothing, to the page.
 *
 *   accounting_storm [SECONDS [SEED]]
 *
 * The parent is the daemon. Below /s only what limits allow is charged, so its limit must hold at every
 * moment; below /f charges are forced too.
 */
#include "tests/lib/ground.h"

#include "accounting/check.h"
#include "accounting/ticket.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 4
#define THREADS 3
#define RECOUNTERS 2
#define MAX_OF_S 6000
#define LEAVES 6
#define GUESTS 8 /* groups that come and go */

static struct ground g;
static uint16_t top, forced_top, leaf[LEAVES], guest[GUESTS];

static struct shared {
	_Atomic bool quit;
	_Atomic uint32_t checks_failed, lost;
	_Atomic uint64_t ops, refused, recounts, execs;
} * shared;

static struct {
	uint64_t kills, stops, moves, made, removed, daemons, lingering;
} did;

static void on_check(const char *what, const char *file, int line)
{
	fprintf(stderr, "# %s:%d: %s\n", file, line, what);
	shared->checks_failed++;
}

/* ---- a member ---- */

static struct {
	struct segment seg;
	struct actor by;
	_Atomic int64_t held[MEMBER_ACCOUNTS_MAX]; /* what our threads think that each account holds */
	_Atomic bool pause;
	uint64_t seed;
} me;

static void nap(long ns)
{
	struct timespec t = { 0, ns };

	nanosleep(&t, NULL);
}

/* One thread's own share of each account. */
static void work(uint64_t *seed, int64_t *mine)
{
	uint64_t dice = ground_random(seed);
	uint16_t group = mc_load_full(&member_of(&me.seg, me.by.member)->group);
	int slot = dice % 8 ? (int)(dice >> 8 & 3) : member_account(&me.seg, me.by.member, RESOURCE_MEMORY, group);
	uint64_t n = 1 + (dice >> 16) % (dice >> 9 & 1 ? 9 : 300);
	uint32_t account;

	if (slot < 0 || !mc_load_full(&member_of(&me.seg, me.by.member)->account[slot]))
		return;
	account = member_account_at(&me.seg, me.by.member, (unsigned)slot);
	if (dice >> 40 & 1) {
		n = n > (uint64_t)mine[slot] ? (uint64_t)mine[slot] : n;
		charge_uncharge(&me.by, account, n);
		mine[slot] -= (int64_t)n;
		me.held[slot] -= (int64_t)n;
	} else if ((dice >> 41) % 16 == 0 &&
		   group_is_within(&me.seg, account_meta_group(mc_load_full(&account_of(&me.seg, account)->meta)),
				   forced_top)) {
		charge_force(&me.by, account, n, OVER_CREDIT);
		mine[slot] += (int64_t)n;
		me.held[slot] += (int64_t)n;
	} else if (charge_try(&me.by, account, n, NULL) == 0) {
		mine[slot] += (int64_t)n;
		me.held[slot] += (int64_t)n;
	} else {
		shared->refused++;
	}
	if ((dice >> 50) % 256 == 0)
		(void)stock_drain(&me.by, RESOURCE_MEMORY, dice >> 60 & 1 ? GROUP_ROOT : group);
}

static void *work_until_pause(void *number)
{
	uint64_t seed = me.seed + *(uint64_t *)number * 77777;
	int64_t mine[MEMBER_ACCOUNTS_MAX] = { 0 };

	while (!me.pause && !shared->quit) {
		for (int i = 0; i < 50; i++)
			work(&seed, mine);
		shared->ops += 50;
	}
	return NULL;
}

static void look_at_own_accounts(void)
{
	for (unsigned i = 0; i < MEMBER_ACCOUNTS_MAX; i++) {
		uint32_t account = mc_load_full(&member_of(&me.seg, me.by.member)->account[i]);
		uint64_t held = account ? ground_held(&g, account - 1) : 0;

		if ((int64_t)held == me.held[i])
			continue;
		fprintf(stderr, "# account %u: %llu held, %lld thought\n", account, (unsigned long long)held,
			(long long)me.held[i]);
		shared->lost++;
	}
}

/* As exec does it: the threads are gone, the new image starts from nothing in the old slot. */
static void become_a_new_image(void)
{
	if (ground_random(&me.seed) % 2)
		mc_add_full(me.by.open, 1);
	if (settle_exec(&me.seg, me.by.member, mc_load_full(&member_of(&me.seg, me.by.member)->asked), "image"))
		_exit(93);
	for (int i = 0; i < MEMBER_ACCOUNTS_MAX; i++)
		me.held[i] = 0;
	shared->execs++;
}

static void run_threads(void)
{
	pthread_t thread[THREADS];
	uint64_t number[THREADS];

	me.pause = false;
	me.seed += 1000003;
	for (uint64_t i = 0; i < THREADS; i++) {
		number[i] = i;
		if (pthread_create(&thread[i], NULL, work_until_pause, &number[i]))
			_exit(94);
	}
	for (int i = 0; i < 50 && !shared->quit; i++)
		nap(1000000);
	me.pause = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void be_a_member(uint64_t seed)
{
	uint16_t group = leaf[seed % LEAVES];
	uint32_t member;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(&me, 0, sizeof(me));
	me.seed = seed * 2654435761u + 1;
	if (segment_attach(g.dir, SEGMENT_MEMBER, &me.seg) ||
	    member_join(&me.seg, (uint32_t)getpid(), 1, group, MEMBER_LIVE, "storm", &member))
		_exit(91);
	me.by = (struct actor){ &me.seg, &member_of(&me.seg, member)->open, member, (uint32_t)getpid() };
	while (!shared->quit) {
		run_threads();
		look_at_own_accounts();
		if (!shared->quit)
			become_a_new_image();
	}
	_exit(0);
}

static void be_a_recounter(void)
{
	struct segment seg;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (segment_attach(g.dir, SEGMENT_MEMBER, &seg))
		_exit(90);
	while (!shared->quit) {
		shared->recounts += recount(&seg, RESOURCE_MEMORY);
		nap(300000);
	}
	_exit(0);
}

/* ---- the daemon ---- */

static pid_t child[PROCESSES];
static bool stopped[PROCESSES];
static pid_t recounter[RECOUNTERS];
static uint64_t seed = 42;

static void spawn(int i)
{
	uint64_t s = ground_random(&seed);

	fflush(stdout);
	stopped[i] = false;
	child[i] = fork();
	if (child[i] == 0)
		be_a_member(s);
}

static void settle_pid(pid_t pid)
{
	struct actor daemon = ground_daemon(&g);

	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_pid(mc_load_full(&member_of(&g.seg, m)->state)) == (uint32_t)pid)
			(void)settle_dead(&daemon, m);
}

/* A daemon that is killed somewhere in settling; the next one finishes what it began. */
static void settle_by_a_daemon_that_dies(pid_t pid)
{
	uint64_t spins = ground_random(&seed) % 200000;
	pid_t daemon;

	fflush(stdout);
	daemon = fork();
	if (daemon == 0) {
		settle_pid(pid);
		_exit(0);
	}
	for (uint64_t i = 0; i < spins; i++)
		mc_spin_hint();
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
	did.daemons++;
	(void)settle_daemon(&g.seg);
	settle_pid(pid);
}

static void kill_one(int i)
{
	kill(child[i], SIGKILL);
	waitpid(child[i], NULL, 0);
	if (ground_random(&seed) % 2)
		settle_pid(child[i]);
	else
		settle_by_a_daemon_that_dies(child[i]);
	did.kills++;
	spawn(i);
}

static void stop_or_go_on(int i)
{
	kill(child[i], stopped[i] ? SIGCONT : SIGSTOP);
	stopped[i] = !stopped[i];
	did.stops++;
}

static void move_a_limit(void)
{
	uint16_t which = leaf[ground_random(&seed) % LEAVES];

	ground_set_max(&g, which, 100 + ground_random(&seed) % 1500);
	did.moves++;
}

/* Members in it are moved out first, as the daemon does; what they have charged there lingers. */
static void remove_guest(int i)
{
	if (tree_close(&g.seg, guest[i]))
		return;
	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (mc_load_full(&member_of(&g.seg, m)->group) == guest[i])
			mc_store_full(&member_of(&g.seg, m)->group, leaf[0]);
	if (member_any_in(&g.seg, guest[i])) {
		tree_reopen(&g.seg, guest[i]);
		return;
	}
	tree_unlink(&g.seg, guest[i]);
	guest[i] = 0;
	did.removed++;
}

static void come_or_go(int i)
{
	char path[64];
	uint32_t m = (uint32_t)(ground_random(&seed) % (member_mark(&g.seg) + 1));

	if (guest[i]) {
		remove_guest(i);
		did.lingering = tree_sweep(&g.seg);
		return;
	}
	snprintf(path, sizeof(path), "/%c/%d/guest%d", i % 2 ? 's' : 'f', i % 3, i);
	guest[i] = ground_group(&g, path, 50 + ground_random(&seed) % 500);
	did.made++;
	if (m < member_mark(&g.seg) && member_is_present(&g.seg, m))
		mc_store_full(&member_of(&g.seg, m)->group, guest[i]);
}

static void act(void)
{
	uint64_t dice = ground_random(&seed);
	int i = (int)(dice >> 8) & (PROCESSES - 1);

	switch (dice % 16) {
	case 0 ... 2:
		kill_one(i);
		break;
	case 3 ... 5:
		stop_or_go_on(i);
		break;
	case 6 ... 9:
		move_a_limit();
		break;
	default:
		come_or_go((int)((dice >> 16) % GUESTS));
	}
}

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool storm(uint64_t ms)
{
	uint64_t until = milliseconds() + ms;
	bool held = true;

	while (milliseconds() < until) {
		act();
		for (int i = 0; i < 20; i++) {
			held = held && ground_usage(&g, top) <= MAX_OF_S;
			nap(50000);
		}
	}
	return held;
}

static bool all_end_well(void)
{
	bool well = true;
	int status;

	shared->quit = true;
	for (int i = 0; i < PROCESSES; i++) {
		kill(child[i], SIGCONT);
		well = waitpid(child[i], &status, 0) == child[i] && status == 0 && well;
	}
	for (int i = 0; i < RECOUNTERS; i++)
		well = waitpid(recounter[i], &status, 0) == recounter[i] && status == 0 && well;
	return well;
}

static void settle_all(void)
{
	struct actor daemon = ground_daemon(&g);

	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (mc_load_full(&member_of(&g.seg, m)->state))
			(void)settle_dead(&daemon, m);
}

static bool say(bool ok, const char *what)
{
	printf("%s: %s\n", ok ? "ok" : "FAILED", what);
	return ok;
}

static bool account_for_it(bool limits_held, bool ended)
{
	bool ok = say(limits_held, "the limit above what is only tried held at every look");

	ok = say(ended, "all that were not killed ended well") && ok;
	ok = say(shared->lost == 0, "every account held what its owner had put there") && ok;
	ok = say(ground_consistent(&g), "pools are what accounts say, before the last are settled") && ok;
	settle_all();
	ok = say(ground_empty(&g), "drift 0 when all have gone") && ok;
	ok = say(tree_sweep(&g.seg) == 0, "no removed group lingers") && ok;
	ok = say(tree_consistent(&g.seg), "the tree is sound") && ok;
	return say(shared->checks_failed == 0 && check_failures() == 0, "no check failed") && ok;
}

static void set_up(void)
{
	ground_up(&g);
	shared = ground_shared(sizeof(*shared));
	check_on_failure = on_check;
	top = ground_group(&g, "/s", MAX_OF_S);
	forced_top = ground_group(&g, "/f", 3000);
	for (int i = 0; i < LEAVES; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/%c/%d", i % 2 ? 's' : 'f', i % 3);
		(void)ground_group(&g, path, 2500);
		strcat(path, "/leaf");
		leaf[i] = ground_group(&g, path, 1000);
	}
	for (int i = 0; i < PROCESSES; i++)
		spawn(i);
	for (int i = 0; i < RECOUNTERS; i++) {
		recounter[i] = fork();
		if (recounter[i] == 0)
			be_a_recounter();
	}
}

int main(int argc, char **argv)
{
	uint64_t ms = (uint64_t)(atof(argc > 1 ? argv[1] : "5") * 1000);
	bool held, ended, ok;

	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0) | 1;
	set_up();
	held = storm(ms);
	ended = all_end_well();
	printf("%llu operations, %llu refused, %llu recounts, %llu execs; %llu kills, %llu stops, %llu limits,"
	       " %llu groups made, %llu removed, %llu daemons died\n",
	       (unsigned long long)shared->ops, (unsigned long long)shared->refused,
	       (unsigned long long)shared->recounts, (unsigned long long)shared->execs, (unsigned long long)did.kills,
	       (unsigned long long)did.stops, (unsigned long long)did.moves, (unsigned long long)did.made,
	       (unsigned long long)did.removed, (unsigned long long)did.daemons);
	ok = account_for_it(held, ended);
	ground_down(&g);
	return !ok;
}
