/* SPDX-License-Identifier: MIT */
/* Being told of a crossed threshold.
 *
 *   notify latency ROUNDS        in the group /notify: from the call that crosses until the subscriber runs;
 *                                prints the median and the 99th percentile in microseconds
 *   notify kernel ROUNDS FOLDER  the same for a cgroup v1 of its own, made in FOLDER
 *   notify rate SECONDS COUNT    COUNT subscribers of one threshold, each with a connection and an eventfd of its own:
 *                                prints notifications a second and how many were lost
 *   notify hold COUNT SHARED     subscribes COUNT times to / and, told by a line, ends; SHARED: 1 eventfd for all
 *   notify cost                  a charge and an uncharge of 129 pages, two levels deep, in a segment of its own: prints
 *                                the ns with nothing armed, and with thresholds on all levels that are not crossed
 *   notify arm COUNT GROUP...    sets COUNT thresholds in all, far above what is used, and, told by a line, ends */
#include "tests/lib/ground.h"

#include "accounting/arm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 128u /* of the mapping that comes and goes: below 1 MiB, charged when it is asked for */
#define KERNEL_PAGES 1024u
#define CROSSED_AT 64u /* pages into it the threshold lies */
#define KERNEL_CROSSED_AT 256u
#define REST_NS 500000
#define DEADLINE_MS 60000

struct board {
	mc_word at_ns;			/* when the crossing call began */
	mc_word touch_ns[KERNEL_PAGES]; /* each touch, where touching is what crosses */
	mc_word32 cycles;		/* up and down, of "storm" */
};

static struct board *board;
static int to_crosser[2], from_crosser[2];

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the other process, which crosses ---------------------------------------------------------------------------- */

static void await_order(void)
{
	char c;

	if (read(STDIN_FILENO, &c, 1) != 1)
		_exit(0);
}

static void report(void)
{
	if (write(STDOUT_FILENO, "r", 1) != 1)
		_exit(0);
}

static void cross_once(unsigned pages)
{
	static const struct timespec rest = { .tv_nsec = REST_NS };
	char *p;

	await_order();
	(void)nanosleep(&rest, NULL); /* who waits for it sleeps by now */
	mc_store_full(&board->at_ns, now_ns());
	p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; pages == KERNEL_PAGES && i < pages; i++) {
		mc_store_relaxed(&board->touch_ns[i], now_ns());
		((volatile char *)p)[(size_t)i * PAGE] = 1;
	}
	await_order();
	(void)munmap(p, pages * PAGE);
}

static void storm(void)
{
	for (;;) {
		void *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		(void)munmap(p, PAGES * PAGE);
		mc_add_full(&board->cycles, 1);
	}
}

/* The kernel counts to 128 on each: who wanders is noticed late, or not at all. */
static void stay_on_this_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static int be_crosser(const char *how)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(getenv("BOARD")), 0);
	if (board == MAP_FAILED)
		return 1;
	if (strcmp(how, "kernel") == 0)
		stay_on_this_cpu();
	report();
	await_order();
	if (strcmp(how, "storm") == 0)
		storm();
	for (;;)
		cross_once(strcmp(how, "kernel") == 0 ? KERNEL_PAGES : PAGES);
}

static void order(void)
{
	if (write(to_crosser[1], "o", 1) != 1)
		ground_bail("the crossing process has ended");
}

static pid_t start_crosser(const char *how)
{
	int fd = memfd_create("board", 0);
	char number[16], c;
	pid_t pid;

	if (fd < 0 || ftruncate(fd, sizeof(*board)) || pipe2(to_crosser, O_CLOEXEC) || pipe2(from_crosser, O_CLOEXEC))
		ground_bail("cannot begin: %s", strerror(errno));
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)snprintf(number, sizeof(number), "%d", fd);
	pid = fork();
	if (pid == 0) {
		(void)dup2(to_crosser[0], STDIN_FILENO);
		(void)dup2(from_crosser[1], STDOUT_FILENO);
		(void)setenv("BOARD", number, 1);
		if (strcmp(how, "kernel") != 0) {
			(void)setenv("LD_PRELOAD", getenv("MEMCTL_PRELOAD"), 1);
			(void)setenv("MEMCTL_GROUP", "/notify", 1);
		}
		execl("/proc/self/exe", "notify", "cross", how, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || read(from_crosser[0], &c, 1) != 1)
		ground_bail("the crossing process did not start");
	return pid;
}

/* ---- the daemon -------------------------------------------------------------------------------------------------- */

static int connect_daemon(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/control.sock", getenv("MEMCTL_DIR"));
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		ground_bail("cannot connect to %s: %s", a.sun_path, strerror(errno));
	return fd;
}

/* The number behind "name": in the answer. */
static long long ask(int fd, const char *request, int eventfd, const char *name)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)request, .iov_len = strlen(request) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	static char answer[65537];
	char *at;
	ssize_t n;

	if (eventfd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &eventfd, sizeof(int));
	}
	n = sendmsg(fd, &m, 0) < 0 ? -1 : recv(fd, answer, sizeof(answer) - 1, 0);
	answer[n > 0 ? n : 0] = 0;
	at = strstr(answer, name);
	if (n <= 0 || !at)
		ground_bail("%s: %s", request, n > 0 ? answer : strerror(errno));
	return atoll(at + strlen(name));
}

static long long usage(int fd)
{
	return ask(fd, "{\"v\":1,\"op\":\"get\",\"group\":\"/notify\",\"keys\":[\"memory.current\"]}", -1,
		   "memory.current\":");
}

static void subscribe(int fd, const char *group, long long threshold, int eventfd)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "{\"v\":1,\"op\":\"subscribe\",\"group\":\"%s\",\"event\":\"usage:%lld\"}",
		       group, threshold);
	(void)ask(fd, text, eventfd, "\"id\":");
}

/* ---- what is measured -------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void await_event(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, DEADLINE_MS) != 1 || read(fd, &n, sizeof(n)) != sizeof(n))
		ground_bail("no notification came");
}

/* Pages that the cgroup counts, some of which nobody has touched: the kernel charges 64 at a time. */
static unsigned counted(int file)
{
	char text[32] = "";

	if (pread(file, text, sizeof(text) - 1, 0) <= 0)
		ground_bail("memory.usage_in_bytes: %s", strerror(errno));
	return (unsigned)(atoll(text) / PAGE);
}

/* `file`: usage_in_bytes of a cgroup; -1: ours. There it is the touch that may have crossed at the earliest. */
static void measure(int rounds, int event, int file)
{
	double *us = calloc((size_t)rounds, sizeof(*us));

	order();
	for (int i = 0; us && i < rounds; i++) {
		mc_word *at = &board->at_ns;

		if (file >= 0) {
			unsigned before = counted(file);

			at = &board->touch_ns[before < KERNEL_CROSSED_AT ? KERNEL_CROSSED_AT - before : 0];
		}
		order();
		await_event(event);
		us[i] = (double)(now_ns() - mc_load_full(at)) / 1000;
		order();
		await_event(event);
	}
	if (!us)
		ground_bail("no memory");
	qsort(us, (size_t)rounds, sizeof(*us), compare);
	printf("%.1f %.1f\n", us[rounds / 2], us[rounds * 99 / 100]);
	free(us);
}

static int latency(int rounds)
{
	int fd = connect_daemon(), event = eventfd(0, EFD_CLOEXEC);

	(void)start_crosser("ours");
	subscribe(fd, "/notify", usage(fd) + CROSSED_AT * PAGE, event);
	measure(rounds, event, -1);
	return 0;
}

static void put(const char *folder, const char *name, const char *text)
{
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ground_bail("%s: %s", path, strerror(errno));
	(void)close(fd);
}

static int kernel(int rounds, const char *parent)
{
	char folder[256], path[512], text[96], number[32] = "";
	int event = eventfd(0, EFD_CLOEXEC), file;
	pid_t pid = start_crosser("kernel");

	(void)snprintf(folder, sizeof(folder), "%s/memctl-notify-%d", parent, (int)getpid());
	if (mkdir(folder, 0700))
		ground_bail("%s: %s", folder, strerror(errno));
	(void)snprintf(number, sizeof(number), "%d", (int)pid);
	put(folder, "cgroup.procs", number);
	(void)snprintf(path, sizeof(path), "%s/memory.usage_in_bytes", folder);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || counted(file) >= KERNEL_CROSSED_AT / 2)
		ground_bail("%s: %s", path, file < 0 ? strerror(errno) : "is charged already");
	(void)snprintf(text, sizeof(text), "%d %d %u", event, file, KERNEL_CROSSED_AT * PAGE);
	put(folder, "cgroup.event_control", text);
	measure(rounds, event, file);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	while (rmdir(folder) && errno == EBUSY)
		(void)poll(NULL, 0, 10);
	return 0;
}

static uint64_t drain(int all)
{
	struct epoll_event e[256];
	int n = epoll_wait(all, e, 256, 0);
	uint64_t sum = 0, one;

	for (int i = 0; i < n; i++)
		if (read(e[i].data.fd, &one, sizeof(one)) == sizeof(one))
			sum += one;
	return sum;
}

static int watch(int all)
{
	struct epoll_event e = { .events = EPOLLIN };

	e.data.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e.data.fd < 0 || epoll_ctl(all, EPOLL_CTL_ADD, e.data.fd, &e))
		ground_bail("an eventfd: %s", strerror(errno));
	return e.data.fd;
}

static const char status[] = "{\"v\":1,\"op\":\"status\"}";

static int rate(double seconds, int count)
{
	int fd = connect_daemon(), all = epoll_create1(EPOLL_CLOEXEC);
	pid_t pid = start_crosser("storm");
	long long threshold = usage(fd) + CROSSED_AT * PAGE, sent;
	uint64_t got = 0, begin, end;

	for (int i = 0; i < count; i++)
		subscribe(connect_daemon(), "/notify", threshold, watch(all));
	sent = -ask(fd, status, -1, "\"notified\":");
	order();
	begin = now_ns();
	while (now_ns() - begin < (uint64_t)(seconds * 1e9))
		got += drain(all);
	end = now_ns();
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	while (usage(fd) != 0) /* its end is the last crossing */
		got += drain(all);
	sent += ask(fd, status, -1, "\"notified\":");
	for (uint64_t more = 1; more; got += more)
		more = drain(all);
	printf("%.0f %lld\n", (double)got / (double)(end - begin) * 1e9, sent - (long long)got);
	return 0;
}

static int await_line(void)
{
	char line[16];

	puts("held");
	(void)fflush(stdout);
	(void)!fgets(line, sizeof(line), stdin);
	return 0;
}

static int arm(int count, char **groups, int of)
{
	int fd = connect_daemon(), event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	for (int i = 0; i < count; i++)
		subscribe(fd, groups[i % of], (1ll << 33) + ((long long)i << 24), event);
	return await_line();
}

static int hold(int count, bool shared)
{
	int fd = connect_daemon(), event = -1;

	for (int i = 0; i < count; i++) {
		if (event < 0 || !shared)
			event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		subscribe(fd, "/", (1ll << 40) + (long long)i * PAGE, event);
	}
	return await_line();
}

#define PAIRS 20000
#define TURNS 200

static double pair_ns(const struct party *p)
{
	struct timespec a, b;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < PAIRS; i++) {
		(void)charge_try(&p->by, p->account, 129, NULL);
		charge_uncharge(&p->by, p->account, 129);
	}
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / PAIRS;
}

static void arm_all(struct ground *g, const uint16_t *groups, unsigned count, bool on)
{
	for (unsigned i = 0; i < count; i++)
		mc_store_full(arm_of(&g->seg, RESOURCE_MEMORY, groups[i]), on ? arm_word(1u << 30, 0) : 0);
	mc_store_full(&g->seg.limits->header.watched, on ? 1u << MARK_CROSSED : 0);
}

/* The least of many turns of 4 ms: what else runs on the machine is in the others. */
static int cost(void)
{
	struct ground g;
	double least[2] = { 1e9, 1e9 };
	uint16_t groups[3] = { GROUP_ROOT };
	struct party p;

	ground_up(&g);
	groups[1] = ground_group(&g, "/a", PAGES_MAX);
	groups[2] = ground_group(&g, "/a/b", PAGES_MAX);
	p = ground_join(&g, groups[2]);
	for (int i = 0; i < TURNS; i++) {
		double ns;

		arm_all(&g, groups, 3, i % 2);
		ns = pair_ns(&p);
		least[i % 2] = ns < least[i % 2] ? ns : least[i % 2];
	}
	ground_down(&g);
	printf("%.1f %.1f\n", least[0], least[1]);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit most;

	if (argc == 2 && strcmp(argv[1], "cost") == 0)
		return cost();

	if (argc == 3 && strcmp(argv[1], "cross") == 0)
		return be_crosser(argv[2]);
	if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
		most.rlim_cur = most.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &most);
	}
	if (argc == 3 && strcmp(argv[1], "latency") == 0)
		return latency(atoi(argv[2]));
	if (argc == 4 && strcmp(argv[1], "kernel") == 0)
		return kernel(atoi(argv[2]), argv[3]);
	if (argc == 4 && strcmp(argv[1], "rate") == 0)
		return rate(atof(argv[2]), atoi(argv[3]));
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		return hold(atoi(argv[2]), atoi(argv[3]) != 0);
	if (argc >= 4 && strcmp(argv[1], "arm") == 0)
		return arm(atoi(argv[2]), argv + 3, argc - 3);
	(void)fputs(
		"usage: notify latency ROUNDS | kernel ROUNDS FOLDER | rate SECONDS COUNT | hold COUNT SHARED | cost | "
		"arm COUNT GROUP...\n",
		stderr);
	return 2;
}
