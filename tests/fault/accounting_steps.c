/* SPDX-License-Identifier: MIT */
/* Real processes killed and stopped at every named step of the protocol, while others go on charging.
 *
 * A table: step -> who passes it -> what it leaves. For each row a victim is killed, and another stopped, at
 * the n-th time it comes by; three others charge, uncharge and drain in the same tight groups all the time.
 * They must get on while the victim is dead or stopped; limits must hold at every moment; what the daemon
 * finds must be what the row says; after settling, the pools are what the accounts say, the others hold what
 * they think they hold, and when all have gone nothing is left.
 *
 * A step in accounting/ that no row has fails the test. ACCOUNTING_STEPS.
 */
#include "tests/lib/ground.h"
#include "tests/lib/tap.h"

#include "accounting/check.h"
#include "accounting/step.h"
#include "accounting/transfer.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SRCDIR
#define SRCDIR "."
#endif

#define OTHERS 3
#define HANGS_AFTER 20 /* seconds */

void (*step_hook)(const char *name);

enum role { CHARGER, DAEMON, IMAGE };

/* What the victim's own open counter (the daemon's for DAEMON) says when it is dead. */
enum left { CLOSED, OPEN };

struct row {
	const char *step;
	enum role role;
	enum left left;
	const char *sentence;
};

static const struct row rows[] = {
	{ "C2", CHARGER, OPEN, "before any pool was charged: open alone is up" },
	{ "C4", CHARGER, OPEN, "some pools are charged and no account" },
	{ "C4r", CHARGER, OPEN, "a refused charge is half undone" },
	{ "C5", CHARGER, OPEN, "charged; open is still up" },
	{ "U1", CHARGER, CLOSED, "the stock was filled: nothing is open" },
	{ "U2", CHARGER, OPEN, "before the account was changed: open alone is up" },
	{ "U3", CHARGER, OPEN, "the account is lower, no pool is" },
	{ "U4", CHARGER, OPEN, "the account is lower, some pools are" },
	{ "T2", CHARGER, OPEN, "before any pool was charged for what changes hands" },
	{ "T3", CHARGER, OPEN, "some pools have room for what changes hands" },
	{ "T3r", CHARGER, OPEN, "a refused hand-over is half undone" },
	{ "T4", CHARGER, OPEN, "what changes hands is with nobody" },
	{ "T5", CHARGER, OPEN, "it is with the other one; the first one's own pools still have it" },
	{ "T6", CHARGER, OPEN, "some of these have given it back" },
	{ "D1", CHARGER, OPEN, "before any stock was taken: open alone is up" },
	{ "D2", CHARGER, OPEN, "another's stock is taken, no pool is lower" },
	{ "J1", DAEMON, CLOSED, "a slot has its pid and nothing else" },
	{ "J2", DAEMON, CLOSED, "a slot has its account and is not live" },
	{ "S0", DAEMON, CLOSED, "declared dead, nothing settled" },
	{ "S1", DAEMON, OPEN, "about to settle" },
	{ "S2", DAEMON, OPEN, "the dead one's account is empty, its pools are not" },
	{ "S3", DAEMON, OPEN, "the dead one's account and pools are down, the slot is not free" },
	{ "S4", DAEMON, OPEN, "recounted, the accounts are not free" },
	{ "S5", DAEMON, OPEN, "the accounts are free, the slot is not" },
	{ "R1", DAEMON, OPEN, "the epoch is new, every word is old" },
	{ "R2", DAEMON, OPEN, "some pools are held" },
	{ "R3", DAEMON, OPEN, "some accounts are counted" },
	{ "R4", DAEMON, OPEN, "some pools are released" },
	{ "L1", DAEMON, OPEN, "an account is another group's, no pool shows it" },
	{ "A1", DAEMON, OPEN, "an account was adjusted, no pool was" },
	{ "S1", IMAGE, OPEN, "a new image is about to settle the old one" },
	{ "S2", IMAGE, OPEN, "the old image's account is empty, its pools are not" },
	{ "S3", IMAGE, OPEN, "the old image's account and pools are down" },
	{ "S4", IMAGE, OPEN, "the old image's accounts are still listed" },
	{ "R2", IMAGE, OPEN, "a new image was recounting" },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- what all processes share ---- */

static struct shared {
	_Atomic bool quit;
	_Atomic uint64_t ops[OTHERS];
	_Atomic uint32_t checks_failed;
	_Atomic uint32_t lost; /* an account did not hold what its owner had put there */
	_Atomic uint32_t over; /* a limit was seen exceeded */
	_Atomic bool passed;   /* the victim has passed its step and gone on */
} * shared;

static struct ground g;
static uint16_t t, tx, ty;

static void on_check(const char *what, const char *file, int line)
{
	(void)what;
	(void)file;
	(void)line;
	shared->checks_failed++;
}

/* ---- the victim's hook ---- */

static struct {
	const char *step;
	unsigned left;
	int signal;
} strike;

static void at_step(const char *name)
{
	if (strcmp(name, strike.step) != 0 || --strike.left != 0)
		return;
	step_hook = NULL;
	(void)kill(getpid(), strike.signal);
	shared->passed = true;
}

/* ---- work ---- */

struct worker {
	struct segment seg;
	struct actor by;
	uint32_t account[2];
	uint64_t held[2];
	uint64_t seed;
};

static void attach(struct worker *w, uint64_t seed)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	check_on_failure = on_check;
	memset(w, 0, sizeof(*w));
	w->seed = seed * 2654435761u + 1;
	if (segment_attach(g.dir, SEGMENT_MEMBER, &w->seg))
		_exit(90);
}

static void enter(struct worker *w, uint32_t pid, uint16_t group, uint16_t second)
{
	uint32_t member;

	if (member_join(&w->seg, pid, 1, group, MEMBER_LIVE, "worker", &member))
		_exit(91);
	w->by = (struct actor){ &w->seg, &member_of(&w->seg, member)->open, member, pid };
	w->account[0] = member_account_at(&w->seg, member, 0);
	w->account[1] =
		member_account_at(&w->seg, member, (unsigned)member_account(&w->seg, member, RESOURCE_MEMORY, second));
}

static void charge_some(struct worker *w, int i, uint64_t n)
{
	if (charge_try(&w->by, w->account[i], n, NULL) == 0)
		w->held[i] += n;
}

static void uncharge_some(struct worker *w, int i, uint64_t n)
{
	if (n > w->held[i])
		n = w->held[i];
	charge_uncharge(&w->by, w->account[i], n);
	w->held[i] -= n;
}

static uint64_t epoch_of(const struct worker *w)
{
	return mc_load_full(&w->seg.counters->header.epoch[RESOURCE_MEMORY]);
}

/* From one of its accounts to the other. Room may be lost to a recount, of a stopped victim above all, each time it is tried;
 * without one it is where it was, or all of it has changed hands. */
static void hand_over(struct worker *w, int to, uint64_t n)
{
	uint32_t from = w->account[1 - to];
	uint64_t left, had = w->held[1 - to], epoch = epoch_of(w), moved = 0;

	if (transfer_try(&w->by, from, mc_load_full(&account_of(&w->seg, from)->meta), w->account[to], n) == 0) {
		w->held[to] += n;
		moved = n < had ? n : had;
	}
	left = account_held(mc_load_full(&account_of(&w->seg, from)->word));
	if (left > had || (left + moved != had && epoch_of(w) == epoch))
		shared->lost++;
	w->held[1 - to] = left;
}

static void one_op(struct worker *w)
{
	uint64_t dice = ground_random(&w->seed);
	int i = (int)(dice >> 8 & 1);
	uint64_t n = 1 + (dice >> 16) % (dice >> 9 & 1 ? 8 : 250);

	switch (dice % 16) {
	case 0:
		(void)stock_drain(&w->by, RESOURCE_MEMORY, dice >> 32 & 1 ? t : tx);
		break;
	case 8:
	case 9:
		hand_over(w, i, n);
		break;
	case 1 ... 7:
		uncharge_some(w, i, n);
		break;
	default:
		charge_some(w, i, n);
	}
}

static void look(const struct worker *w)
{
	for (int i = 0; i < 2; i++) {
		uint64_t word = mc_load_full(&account_of(&w->seg, w->account[i])->word);

		if (account_held(word) != w->held[i])
			shared->lost++;
	}
}

static void be_one_of_the_others(int me, uint64_t seed)
{
	static struct worker w;

	attach(&w, seed);
	enter(&w, (uint32_t)getpid(), me == 0 ? tx : ty, me == 0 ? ty : tx);
	while (!shared->quit) {
		one_op(&w);
		look(&w);
		shared->ops[me]++;
	}
	_exit(0); /* with all it holds */
}

static void be_a_charger(struct worker *w)
{
	time_t give_up = time(NULL) + HANGS_AFTER;

	enter(w, (uint32_t)getpid(), tx, ty);
	step_hook = at_step;
	for (int i = 0; !shared->passed || i < 300; i++) {
		one_op(w);
		look(w);
		if (i % 256 == 255)
			sched_yield(); /* some steps need what the others leave */
		if (i % 256 == 255 && time(NULL) > give_up)
			_exit(92); /* never came by */
	}
}

/* Old images that died in a slow path, and such that did not. */
static void be_an_image(struct worker *w)
{
	enter(w, (uint32_t)getpid(), tx, ty);
	step_hook = at_step;
	for (int i = 0; !shared->passed || i < 30; i++) {
		for (int k = 0; k < 5; k++)
			one_op(w);
		if (i % 2)
			mc_add_full(w->by.open, 1);
		if (settle_exec(&w->seg, w->by.member, tx, "image"))
			_exit(93);
		w->account[0] = member_account_at(&w->seg, w->by.member, 0);
		w->account[1] = member_account_at(&w->seg, w->by.member,
						  (unsigned)member_account(&w->seg, w->by.member, RESOURCE_MEMORY, ty));
		w->held[0] = w->held[1] = 0;
		if (i == 20000)
			_exit(92);
	}
}

/* What the first account of a living member holds is found to be less; then it moves up, where it fits. */
static void adjust_and_move(struct worker *w, const struct actor *daemon)
{
	struct account *a = account_of(&w->seg, w->account[0]);
	uint64_t meta = mc_load_full(&a->meta);
	uint64_t held = account_held(mc_load_full(&a->word));

	if (charge_adjust(daemon, w->account[0], meta, held, held / 2, OVER_LAZY) && held)
		shared->lost++;
	w->held[0] = held / 2;
	mc_add_full(daemon->open, 1);
	recount_relabel(&w->seg, w->account[0], mc_load_full(&a->meta), t);
	mc_sub_full(daemon->open, 1);
}

/* A daemon, and the short-lived members it settles: every second one died in a slow path. */
static void be_a_daemon(struct worker *w)
{
	struct actor daemon = { &w->seg, &w->seg.counters->header.daemon_open, MEMBER_NIL, 0 };

	step_hook = at_step;
	for (int i = 0; !shared->passed || i < 30; i++) {
		memset(w->held, 0, sizeof(w->held));
		enter(w, 0x40000000u + (uint32_t)i, i % 3 ? tx : ty, t);
		for (int k = 0; k < 5; k++)
			one_op(w);
		adjust_and_move(w, &daemon);
		if (i % 2)
			mc_add_full(w->by.open, 1);
		(void)settle_dead(&daemon, w->by.member);
		if (i == 20000)
			_exit(92);
	}
}

static void be_the_victim(const struct row *row, unsigned n, int signal)
{
	static struct worker w;

	attach(&w, n * 7 + (uint64_t)(row - rows) * 1000);
	strike.step = row->step;
	strike.left = n;
	strike.signal = signal;
	if (row->role == CHARGER)
		be_a_charger(&w);
	else if (row->role == IMAGE)
		be_an_image(&w);
	else
		be_a_daemon(&w);
	_exit(0);
}

/* ---- the observer: the parent ---- */

static uint64_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

static void look_at_limits(void)
{
	const uint16_t all[] = { t, tx, ty };

	for (int i = 0; i < 3; i++)
		if (ground_usage(&g, all[i]) > mc_load_full(&ground_limits(&g, all[i])->max))
			shared->over++;
}

/* Each of the others gets `n` operations further, whatever the victim is. */
static bool others_go_on(uint64_t n)
{
	uint64_t until = seconds() + HANGS_AFTER;
	uint64_t goal[OTHERS];

	for (int i = 0; i < OTHERS; i++)
		goal[i] = shared->ops[i] + n;
	for (int i = 0; i < OTHERS; i++)
		while (shared->ops[i] < goal[i]) {
			look_at_limits();
			if (seconds() > until)
				return false;
			sched_yield();
		}
	return true;
}

static bool is_one_of(pid_t pid, const pid_t *others)
{
	for (int i = 0; i < OTHERS; i++)
		if (others[i] == pid)
			return true;
	return false;
}

static void settle_all_but(const pid_t *others)
{
	struct actor daemon = ground_daemon(&g);

	for (uint32_t m = 0; m < member_mark(&g.seg); m++) {
		uint64_t state = mc_load_full(&member_of(&g.seg, m)->state);

		if (member_state(state) != MEMBER_FREE && !is_one_of((pid_t)member_pid(state), others))
			(void)settle_dead(&daemon, m);
	}
}

static uint32_t open_of(pid_t pid)
{
	for (uint32_t m = 0; m < member_mark(&g.seg); m++)
		if (member_pid(mc_load_full(&member_of(&g.seg, m)->state)) == (uint32_t)pid)
			return mc_load_full(&member_of(&g.seg, m)->open);
	return 0;
}

static const char *what_the_dead_left(const struct row *row, pid_t victim)
{
	uint32_t open = row->role == DAEMON ? mc_load_full(&g.seg.counters->header.daemon_open) : open_of(victim);

	if (row->left == OPEN)
		return open ? NULL : "open is not up";
	return open ? "open is up" : NULL;
}

/* The victim is dead: what it left, the others, then the new daemon. */
static const char *after_the_kill(const struct row *row, pid_t victim, const pid_t *others)
{
	const char *wrong = what_the_dead_left(row, victim);

	if (!others_go_on(30))
		return "the others are held up by the dead";
	(void)settle_daemon(&g.seg);
	settle_all_but(others);
	if (!others_go_on(30))
		return "the others are held up after settling";
	return wrong;
}

/* The victim is stopped, then goes on to its end. */
static const char *after_the_stop(pid_t victim, const pid_t *others)
{
	int status = 0;

	if (!others_go_on(60)) {
		(void)kill(victim, SIGKILL);
		(void)waitpid(victim, &status, 0);
		return "the others are held up by the stopped";
	}
	(void)kill(victim, SIGCONT);
	if (waitpid(victim, &status, 0) != victim || status != 0)
		return "the stopped one did not end well";
	settle_all_but(others);
	return others_go_on(10) ? NULL : "the others are held up after settling";
}

static const char *strike_victim(const struct row *row, unsigned n, int signal, const pid_t *others)
{
	int status = 0;
	pid_t victim;

	shared->passed = false;
	fflush(stdout);
	victim = fork();
	if (victim == 0)
		be_the_victim(row, n, signal);
	if (waitpid(victim, &status, WUNTRACED) != victim)
		return "waitpid";
	if (signal == SIGKILL && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return after_the_kill(row, victim, others);
	if (signal == SIGSTOP && WIFSTOPPED(status))
		return after_the_stop(victim, others);
	return WIFEXITED(status) && WEXITSTATUS(status) == 92 ? "never came by" : "the victim ended otherwise";
}

static void fork_the_others(pid_t *others, uint64_t seed)
{
	for (int i = 0; i < OTHERS; i++) {
		others[i] = fork();
		if (others[i] == 0)
			be_one_of_the_others(i, seed + (uint64_t)i);
	}
}

static const char *end_the_others(const pid_t *others)
{
	static const pid_t none[OTHERS];
	const char *wrong = NULL;
	int status;

	shared->quit = true;
	for (int i = 0; i < OTHERS; i++)
		if (waitpid(others[i], &status, 0) != others[i] || status != 0)
			wrong = "one of the others did not end well";
	if (!wrong && !ground_consistent(&g))
		wrong = "not consistent";
	settle_all_but(none);
	if (!wrong && !ground_empty(&g))
		wrong = "not empty when all have gone";
	return wrong;
}

static const char *what_was_seen(void)
{
	if (shared->lost)
		return "an account did not hold what its owner had put there";
	if (shared->over)
		return "a limit was exceeded";
	if (shared->checks_failed || check_failures())
		return "a check failed";
	return NULL;
}

static const char *scenario(const struct row *row, unsigned n, int signal)
{
	pid_t others[OTHERS];
	const char *wrong, *also;

	memset(shared, 0, sizeof(*shared));
	fflush(stdout);
	fork_the_others(others, n + 10);
	wrong = others_go_on(1) ? NULL : "the others never began";
	if (!wrong)
		wrong = strike_victim(row, n, signal, others);
	also = end_the_others(others);
	if (!wrong)
		wrong = also;
	return wrong ? wrong : what_was_seen();
}

static void row_is_true(const struct row *row)
{
	static const char *const roles[] = { "charger", "daemon", "new image" };
	static const unsigned passes[] = { 1, 2, 13 };
	static const int signals[] = { SIGKILL, SIGSTOP };
	bool ok = true;

	for (int s = 0; s < 2; s++)
		for (int i = 0; i < 3; i++) {
			const char *wrong = scenario(row, passes[i], signals[s]);

			if (!wrong)
				continue;
			ok = false;
			tap_note("%s at pass %u: %s", s ? "stopped" : "killed", passes[i], wrong);
		}
	tap_ok(ok, "%s, %s: %s", row->step, roles[row->role], row->sentence);
}

/* ---- the table against the code ---- */

static bool has_row(const char *step, size_t n)
{
	for (size_t i = 0; i < ROWS; i++)
		if (strlen(rows[i].step) == n && memcmp(rows[i].step, step, n) == 0)
			return true;
	return false;
}

static unsigned steps_without_row(const char *path, unsigned *found)
{
	char line[1024];
	unsigned missing = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		ground_bail("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "STEP(");
		size_t n = at ? strcspn(at + 5, ")") : 0;

		if (!at || (at > line && (isalnum((unsigned char)at[-1]) || at[-1] == '_')))
			continue;
		(*found)++;
		if (has_row(at + 5, n))
			continue;
		missing++;
		tap_note("%s: step %.*s has no row", path, (int)n, at + 5);
	}
	fclose(f);
	return missing;
}

static void every_step_has_a_row(void)
{
	const char *top = getenv("srcdir") ? getenv("srcdir") : SRCDIR;
	char path[4096];
	unsigned found = 0;
	unsigned missing = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/accounting", top);
	d = opendir(path);
	if (!d)
		ground_bail("%s: %s", path, strerror(errno));
	while ((e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (n < 3 || strcmp(e->d_name + n - 2, ".c") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/accounting/%s", top, e->d_name);
		missing += steps_without_row(path, &found);
	}
	closedir(d);
	tap_ok(missing == 0 && found >= 20, "each of the %u steps in accounting/ has a row", found);
}

int main(void)
{
	ground_up(&g);
	shared = ground_shared(sizeof(*shared));
	check_on_failure = on_check;
	t = ground_group(&g, "/t", 900);
	tx = ground_group(&g, "/t/x", 700);
	ty = ground_group(&g, "/t/y", 500);
	every_step_has_a_row();
	for (size_t i = 0; i < ROWS; i++)
		row_is_true(&rows[i]);
	ground_down(&g);
	return tap_end();
}
