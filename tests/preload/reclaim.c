/* SPDX-License-Identifier: MIT */
/* Reclaim in the member: the helper thread and what it must not disturb, memory given back by relatives at a refusal,
 * the delay above memory.high, waiting for room, and the room that is left to unwind. */
#include "accounting/reclaim.h"
#include "accounting/sys.h"
#include "tests/lib/tap.h"
#include "tests/preload/stage.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define BLOCK ((size_t)64 << 10)

static void pause_briefly(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	(void)nanosleep(&ms, NULL);
}

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned n = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

/* Without malloc: with so much unused, a child may be given a helper of its own as soon as it enters that. */
static unsigned long threads_by_links(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) == 0 ? (unsigned long)st.st_nlink - 2 : 0;
}

static struct member *slot(void)
{
	const struct segment *seg = stage_segment();

	for (uint32_t i = 0; i < member_mark(seg); i++)
		if (member_is_present(seg, i) &&
		    member_pid(mc_load_full(&member_of(seg, i)->state)) == (uint32_t)getpid())
			return member_of(seg, i);
	return NULL;
}

static bool listens(void *arg)
{
	struct member *m = slot();

	(void)arg;
	return m && mc_load_full(&m->answers);
}

/* Allocates, touches and frees: so much is charged and unused then. */
static bool churn(size_t bytes)
{
	size_t n = bytes / BLOCK;
	char **block = calloc(n, sizeof(*block));
	bool good = block != NULL;

	for (size_t i = 0; good && i < n; i++) {
		block[i] = malloc(BLOCK);
		good = block[i] != NULL;
		if (good)
			memset(block[i], 1, BLOCK);
	}
	for (size_t i = 0; block && i < n; i++)
		free(block[i]);
	free(block);
	return good;
}

/* With a helper that listens. */
static void get_a_helper(void)
{
	expect(churn(48 * MIB));
	expect(stage_until(listens, NULL));
	expect_equal(threads(), 2);
}

static int comes_and_goes(void)
{
	int status = 0;
	pid_t pid;

	expect(churn(4 * MIB));
	expect_equal(threads(), 1);
	get_a_helper();
	pid = fork();
	if (pid == 0)
		_exit(threads_by_links() == 1 && mc_load_full(&slot()->answers) == 0 ? 0 : 1);
	expect(waitpid(pid, &status, 0) == pid && status == 0);
	get_a_helper();
	expect(setgid(getgid()) == 0);
	get_a_helper();
	expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	get_a_helper();
	return stage_verdict();
}

/* As Python 3.12 counts, to warn who forks a process of several: between the fork and its own next step. */
static unsigned long threads_by_stat(void)
{
	FILE *f = fopen("/proc/self/stat", "r");
	char line[512] = "";
	unsigned long n = 0;
	char *p;

	if (f && fgets(line, sizeof(line), f) && (p = strrchr(line, ')')))
		(void)sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lu", &n);
	if (f)
		fclose(f);
	return n;
}

static int is_alone_after_fork(void)
{
	get_a_helper();
	expect_equal(threads_by_stat(), 2); /* from now on its blocks are in this thread's cache */
	for (int i = 0; i < 20; i++) {
		int to[2], status = 0;
		unsigned long seen;
		pid_t pid;

		expect(pipe(to) == 0);
		pid = fork();
		if (pid == 0) {
			close(to[1]);
			_exit(read(to[0], &status, 1) != 0);
		}
		seen = threads_by_stat();
		expect(seen == 1);
		expect(waitpid(pid, &status, WNOHANG) == 0 && threads_by_links() == 1);
		close(to[0]);
		close(to[1]);
		expect(waitpid(pid, &status, 0) == pid && status == 0);
		expect(stage_until(listens, NULL)); /* without entering malloc */
	}
	return stage_verdict();
}

/* The C library frees a thread's dtv by way of the dynamic linker, under its lock of the stacks: who made a thread there would
 * wait for himself. */
static int stays_away_from_the_linker(void)
{
	void *(*get)(void *) = (void *(*)(void *))dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
	void (*put)(void *, bool) = (void (*)(void *, bool))dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
	static void *tls[1000];

	if (!get || !put)
		return STAGE_SKIP;
	get_a_helper();
	for (int i = 0; i < 1000; i++)
		tls[i] = get(NULL);
	expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0); /* it goes, and is wanted again */
	expect_equal(threads_by_links(), 1);
	for (int i = 0; i < 1000; i++)
		put(tls[i], false); /* of the rest, what is freed last is freed by a jump */
	expect_equal(threads_by_links(), 1);
	get_a_helper();
	return stage_verdict();
}

/* A second thread would make it fail with EINVAL. */
static int unshares(void)
{
	for (int i = 0; i < 20; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			get_a_helper();
			_exit(stage_verdict() || (unshare(CLONE_NEWUSER) && errno == EINVAL));
		}
		expect(waitpid(pid, &status, 0) == pid && status == 0);
	}
	return stage_verdict();
}

static int is_off(void)
{
	char *again[] = { (char *)(uintptr_t)stage_self(), stage_argument(0), NULL };

	if (!getenv("MEMCTL_HELPER")) {
		setenv("MEMCTL_HELPER", "off", 1);
		execv(again[0], again);
	}
	expect(churn(48 * MIB));
	expect(churn(48 * MIB));
	expect_equal(threads(), 1);
	return stage_verdict();
}

static void *outlive(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		pause_briefly();
	(void)churn(48 * MIB); /* no helper any more, or nobody would end this process */
	return NULL;
}

/* The exit status is 0 when the last thread ends by pthread_exit; here it must end at all. */
static int main_ends_first(void)
{
	pthread_t t;

	get_a_helper();
	if (stage_verdict() || pthread_create(&t, NULL, outlive, NULL))
		return 1;
	pthread_exit(NULL);
}

/* ---- asked, and asking -------------------------------------------------------------------------------------- */

static bool has_answered(void *arg)
{
	struct member *m = arg;

	return mc_load_full(&m->ask) == mc_load_full(&m->answered);
}

static int gives_when_asked(void)
{
	struct member *m = slot();
	struct segment seg; /* stage_segment's cannot be written */
	uint64_t before;

	get_a_helper();
	expect(segment_attach(getenv("MEMCTL_DIR"), SEGMENT_MEMBER, &seg) == 0);
	before = stage_held();
	reclaim_ask(&seg, (uint32_t)(m - stage_segment()->counters->member), STAGE_MIB(8), reclaim_now());
	expect(stage_until(has_answered, m));
	expect(stage_held() + STAGE_MIB(8) <= before);
	expect(mc_load_full(&m->reclaimed) >= STAGE_MIB(8));
	expect(mc_load_full(&m->scanned) >= mc_load_full(&m->reclaimed));
	return stage_verdict();
}

/* A child that has much unused and waits for its pipe to be closed. */
static pid_t start_idler(int to[2])
{
	int ready[2];
	char c;
	pid_t pid;

	expect(pipe(to) == 0 && pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		close(to[1]);
		get_a_helper();
		(void)!write(ready[1], "r", 1);
		(void)!read(to[0], &c, 1);
		_exit(stage_verdict());
	}
	close(ready[1]);
	expect(read(ready[0], &c, 1) == 1);
	close(ready[0]);
	return pid;
}

static void end_idler(pid_t pid, const int to[2])
{
	int status = 0;

	close(to[0]);
	close(to[1]);
	expect(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Again and again: who is to give may be about to listen. */
static void *ask_for(size_t size)
{
	void *p = NULL;

	for (int i = 0; i < 1000 && !p; i++) {
		p = malloc(size);
		if (!p)
			pause_briefly();
	}
	return p;
}

/* 64 MiB are the limit; the idler holds 20 at least. How long it takes is not for a test to say. */
static int takes_from_relatives(void)
{
	void *volatile p = NULL;
	int to[2];
	pid_t pid = start_idler(to);

	for (int i = 0; i < 1000 && !p; i++) {
		p = malloc(52 * MIB);
		if (!p)
			pause_briefly();
	}
	expect(p != NULL);
	free(p);
	end_idler(pid, to);
	return stage_verdict();
}

static int maps_from_relatives(void)
{
	void *p = MAP_FAILED;
	int to[2];
	pid_t pid = start_idler(to);

	for (int i = 0; i < 1000 && p == MAP_FAILED; i++) {
		p = mmap(NULL, 54 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			pause_briefly();
	}
	expect(p != MAP_FAILED);
	end_idler(pid, to);
	return stage_verdict();
}

/* By the slow path; not left out by a compiler that knows malloc. */
static void enter_malloc(void)
{
	void *volatile p = malloc(100 << 10);

	free(p);
}

/* Too little for a helper, with a limit far away: it gives when it next enters malloc. */
static int takes_from_the_deaf(void)
{
	int to[2], ready[2];
	char c = 'r';
	void *p;
	pid_t pid;

	expect(pipe(to) == 0 && pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		expect(churn(12 * MIB) && threads() == 1);
		(void)!write(ready[1], &c, 1);
		while (fcntl(to[0], F_SETFL, O_NONBLOCK) == 0 && read(to[0], &c, 1) != 1)
			enter_malloc();
		_exit(stage_verdict());
	}
	expect(read(ready[0], &c, 1) == 1);
	p = ask_for(54 * MIB);
	expect(p != NULL);
	free(p);
	(void)!write(to[1], &c, 1);
	end_idler(pid, to);
	return stage_verdict();
}

/* What a thread has cached of small blocks only itself can give back. */
static mc_word32 cache_stage;

static void *caches(void *arg)
{
	static void *block[64 << 10];

	(void)arg;
	for (size_t size = 1024; size <= 32 << 10; size += size / 4) {
		unsigned n = 0;

		while (n < 20)
			block[n++] = malloc(size);
		while (n--)
			free(block[n]);
	}
	mc_store_full(&cache_stage, 1);
	while (mc_load_full(&cache_stage) == 1) {
		enter_malloc();
		pause_briefly();
	}
	return NULL;
}

static bool is_caching(void *arg)
{
	(void)arg;
	return mc_load_full(&cache_stage) == 1;
}

static bool holds_less(void *arg)
{
	struct segment seg;
	struct member *m = slot();
	bool less;

	if (segment_attach(getenv("MEMCTL_DIR"), SEGMENT_MEMBER, &seg))
		return false;
	reclaim_ask(&seg, (uint32_t)(m - stage_segment()->counters->member), STAGE_MIB(64), reclaim_now());
	less = stage_until(has_answered, m) && stage_held() < *(uint64_t *)arg;
	segment_detach(&seg);
	return less;
}

static int flushes_caches(void)
{
	uint64_t bare, full, half;
	pthread_t t;

	get_a_helper();
	half = stage_held() - STAGE_MIB(16);
	expect(stage_until(holds_less, &half));
	bare = stage_held();
	expect(pthread_create(&t, NULL, caches, NULL) == 0 && stage_until(is_caching, NULL));
	full = stage_held();
	expect(full > bare + STAGE_MIB(2));
	half = (bare + full) / 2;
	expect(stage_until(holds_less, &half));
	mc_store_full(&cache_stage, 2);
	expect(pthread_join(t, NULL) == 0);
	return stage_verdict();
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A thousand refusals while the idler cannot answer: were each to wait for it, it would take 50 s. */
static int stopped_relative(void)
{
	int to[2];
	pid_t pid = start_idler(to);
	uint64_t since = now_ms();

	expect(kill(pid, SIGSTOP) == 0);
	for (int i = 0; i < 1000; i++) {
		void *volatile p = malloc(60 * MIB);

		expect(p == NULL);
	}
	expect(now_ms() - since < 25000);
	expect(kill(pid, SIGCONT) == 0);
	end_idler(pid, to);
	return stage_verdict();
}

/* ---- the room to unwind --------------------------------------------------------------------------------------- */

static int leaves_room(void)
{
	unsigned large = 0, small = 0;

	while (malloc(MIB))
		large++;
	while (malloc(72 << 10))
		large++;
	while (small < 1000 && malloc(BLOCK / 16))
		small++;
	expect(large > 50);
	if (small < 16 || small >= 500)
		fprintf(stderr, "# %u small ones\n", small);
	expect(small >= 16 && small < 500);
	return stage_verdict();
}

/* ---- policies ------------------------------------------------------------------------------------------------- */

/* Takes 24 MiB in small pieces: 1 when one was refused. */
static int fills(void)
{
	for (unsigned i = 0; i < 24 * 16; i++) {
		char *p = malloc(BLOCK);

		if (!p)
			return 1;
		memset(p, 1, BLOCK);
	}
	return 0;
}

/* The same in mappings, each of which would fit. */
static int maps(void)
{
	for (int i = 0; i < 4; i++)
		if (mmap(NULL, 6 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			return 1;
	return 0;
}

static struct stage stage;

static struct pool *pool(void)
{
	return ground_pool(&stage.ground, stage.group);
}

static bool somebody_waits(void *arg)
{
	(void)arg;
	return mc_load_full(&pool()->waited) != 0;
}

static bool a_kill_is_asked_for(void *arg)
{
	(void)arg;
	return mc_load_full(&pool()->oom) != 0;
}

/* A process that plays `name` where 16 MiB are the limit. */
static pid_t start_under(enum oom_policy policy, const char *name)
{
	char *argv[] = { (char *)(uintptr_t)stage_self(), (char *)(uintptr_t)name, NULL };

	stage_up(&stage, STAGE_MIB(16));
	stage.ground.seg.limits->group[stage.group].oom_policy = (uint8_t)policy;
	return stage_start(&stage, argv, NULL);
}

static void end_of(pid_t pid, bool good, int status, const char *sentence)
{
	good = stage_wait(pid) == status && good;
	good = stage_is_empty(&stage) && good;
	(void)tap_ok(good, "%s", sentence);
	stage_down(&stage);
}

static void waits_until_the_limit_is_raised(const char *name, const char *sentence)
{
	pid_t pid = start_under(OOM_WAIT, name);
	bool good = stage_until(somebody_waits, NULL);

	good = good && kill(pid, 0) == 0;
	ground_set_max(&stage.ground, stage.group, STAGE_MIB(64));
	reclaim_wake(&stage.ground.seg);
	end_of(pid, good, 0, sentence);
}

static void a_waiting_process_can_be_ended(void)
{
	pid_t pid = start_under(OOM_WAIT, "fills");
	bool good = stage_until(somebody_waits, NULL);

	(void)kill(pid, SIGTERM);
	end_of(pid, good, SIGTERM, "wait: SIGTERM ends who waits");
}

static void fails_once_the_policy_does(void)
{
	pid_t pid = start_under(OOM_WAIT, "fills");
	bool good = stage_until(somebody_waits, NULL);

	stage.ground.seg.limits->group[stage.group].oom_policy = OOM_FAIL;
	end_of(pid, good, 1 << 8, "wait: who waits is refused when the policy becomes fail");
}

static void asks_for_a_kill(void)
{
	pid_t pid = start_under(OOM_KILL, "fills");
	bool good = stage_until(a_kill_is_asked_for, NULL);

	good = good && (uint32_t)mc_load_full(&pool()->oom) > 0;
	(void)kill(pid, SIGKILL); /* as the daemon may decide */
	end_of(pid, good, SIGKILL, "kill: who is refused asks for it, and waits");
}

static void nobody_kills(void)
{
	pid_t pid = start_under(OOM_KILL, "fills");

	end_of(pid, true, 1 << 8, "kill: where nobody answers, a request fails in the end");
}

/* 4 MiB that the dynamic linker writes, before anything of ours runs. */
static char *relocated[512 << 10] = { [0 ...(512 << 10) - 1] = (char *)relocated };

static int starts_counted(void)
{
	expect(relocated[stage_argument(0) != NULL] != NULL);
	expect(stage_held_by(getpid()) >= STAGE_MIB(4));
	return stage_verdict();
}

static const struct scene hidden[] = {
	{ "fills", "", fills, 0 },
	{ "maps", "", maps, 0 },
	{ "starts_counted", "", starts_counted, 0 },
};

/* Without a daemon that would look. */
static void is_counted_at_the_start(void)
{
	char *argv[] = { (char *)(uintptr_t)stage_self(), (char *)(uintptr_t) "starts_counted", NULL };
	struct stage s;

	stage_up(&s, STAGE_MIB(64));
	s.ground.seg.limits->group[s.group].charge_mode = CHARGE_RESIDENT;
	tap_ok(stage_wait(stage_start(&s, argv, NULL)) == 0, "what the dynamic linker wrote is charged at the start");
	stage_down(&s);
}

static const struct scene scenes[] = {
	{ "comes_and_goes", "the helper comes with what it can give, and goes before fork, setgid and prctl",
	  comes_and_goes, 0 },
	{ "is_alone_after_fork", "who forks is alone right afterwards, and has a helper when it waits",
	  is_alone_after_fork, 0 },
	{ "stays_away_from_the_linker", "no helper is made where the dynamic linker frees", stays_away_from_the_linker,
	  0 },
	{ "unshares", "unshare finds one thread", unshares, 0 },
	{ "is_off", "MEMCTL_HELPER=off: there is none", is_off, 0 },
	{ "main_ends_first", "a process ends though its first thread ended before the last", main_ends_first, 0 },
	{ "gives_when_asked", "who is asked gives, and counts it", gives_when_asked, 0 },
	{ "takes_from_relatives", "malloc gets what an idle relative does not use", takes_from_relatives,
	  STAGE_MIB(64) },
	{ "takes_from_the_deaf", "malloc gets what a busy relative without a helper does not use", takes_from_the_deaf,
	  STAGE_MIB(64) },
	{ "flushes_caches", "what other threads have cached is given back", flushes_caches, 0 },
	{ "maps_from_relatives", "mmap gets what an idle relative does not use", maps_from_relatives, STAGE_MIB(64) },
	{ "stopped_relative", "who cannot answer holds nobody up", stopped_relative, STAGE_MIB(64) },
	{ "leaves_room", "small requests are granted after large ones are refused", leaves_room, STAGE_MIB(64) },
};

int main(int argc, char *argv[])
{
	for (unsigned i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		if (argc > 1 && strcmp(argv[1], hidden[i].name) == 0)
			return hidden[i].play();
	if (argc == 1) {
		waits_until_the_limit_is_raised("fills", "wait: malloc goes on when the limit is raised");
		waits_until_the_limit_is_raised("maps", "wait: mmap, too");
		a_waiting_process_can_be_ended();
		fails_once_the_policy_does();
		asks_for_a_kill();
		nobody_kills();
		is_counted_at_the_start();
	}
	return stage_main(argc, argv, scenes, sizeof(scenes) / sizeof(scenes[0]));
}
