/* SPDX-License-Identifier: MIT */
/* The first and only process of a virtual machine: the kernel's own soft limits (cgroup v1) when memory runs short.
 *
 * Words after "--" on the kernel's command line are our arguments: NAME:HELD:SOFT for each group, MiB. Each group's
 * process touches HELD; then memory is taken and locked, MiB by MiB, until STOP has been taken from the groups.
 * On the console: "usage KIB KIB ..." whenever it has changed by a MiB, at the end "over" or "failed: why". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROOT "/memory"
#define GROUPS_MOST 8
#define MIB (1ul << 20)
#define STOP (72 * MIB)
#define STEPS_MOST 4096

struct group {
	char name[32];
	unsigned long held, soft; /* MiB */
};

static struct group group[GROUPS_MOST];
static int groups;

static void over(const char *why)
{
	if (why)
		printf("failed: %s: %s\n", why, strerror(errno));
	else
		puts("over");
	fflush(stdout);
	(void)reboot(RB_AUTOBOOT); /* with qemu's -no-reboot: the end */
	for (;;)
		pause();
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		over(path);
	close(fd);
}

static unsigned long get(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		over(path);
	close(fd);
	return strtoul(text, NULL, 10);
}

static void load(const char *module)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		over(module);
	close(fd);
}

/* A page of one and the same word takes no memory in zram. */
static void swap_on(void)
{
	unsigned char head[4096] = { 0 };
	unsigned last = (512 << 8) - 1;
	int fd;

	put("/sys/block/zram0/disksize", "536870912");
	head[1024] = 1; /* version */
	memcpy(head + 1028, &last, sizeof(last));
	memcpy(head + sizeof(head) - 10, "SWAPSPACE2", 10);
	fd = open("/dev/zram0", O_WRONLY);
	if (fd < 0 || write(fd, head, sizeof(head)) != (ssize_t)sizeof(head) || fsync(fd) || close(fd) ||
	    swapon("/dev/zram0", 0))
		over("swap");
}

static void mount_all(void)
{
	(void)mkdir("/proc", 0755);
	(void)mkdir("/sys", 0755);
	(void)mkdir("/dev", 0755);
	(void)mkdir(ROOT, 0755);
	(void)mount("proc", "/proc", "proc", 0, NULL);
	(void)mount("sys", "/sys", "sysfs", 0, NULL);
	(void)mount("dev", "/dev", "devtmpfs", 0, NULL);
	if (mount("memory", ROOT, "cgroup", 0, "memory"))
		over("cgroup v1");
}

static unsigned long usage(const struct group *g)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s/memory.usage_in_bytes", g->name);
	return get(path);
}

static void hold(const struct group *g)
{
	char path[128];
	void *memory = mmap(NULL, g->held * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	snprintf(path, sizeof(path), ROOT "/%s/cgroup.procs", g->name);
	put(path, "0");
	if (memory == MAP_FAILED)
		over("mmap");
	memset(memory, 1, g->held * MIB);
	raise(SIGSTOP);
	_exit(0);
}

static void begin(const struct group *g)
{
	char path[128], text[32];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), ROOT "/%s", g->name);
	if (mkdir(path, 0755))
		over(path);
	snprintf(path, sizeof(path), ROOT "/%s/memory.soft_limit_in_bytes", g->name);
	snprintf(text, sizeof(text), "%lu", g->soft * MIB);
	put(path, text);
	pid = fork();
	if (pid == 0)
		hold(g);
	if (pid < 0 || waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		over("a group's process");
}

/* Prints what has changed; returns what was taken since the first look. */
static unsigned long look(void)
{
	static unsigned long first[GROUPS_MOST], told[GROUPS_MOST];
	unsigned long taken = 0, now[GROUPS_MOST];
	int changed = 0;

	for (int i = 0; i < groups; i++) {
		now[i] = usage(&group[i]);
		first[i] = first[i] ? first[i] : now[i];
		taken += first[i] > now[i] ? first[i] - now[i] : 0;
		changed |= now[i] + MIB <= told[i] || now[i] >= told[i] + MIB;
	}
	if (!changed)
		return taken;
	printf("usage");
	for (int i = 0; i < groups; i++)
		printf(" %lu", (told[i] = now[i]) >> 10);
	puts("");
	fflush(stdout);
	return taken;
}

static void press(void)
{
	const struct timespec a_while = { .tv_nsec = 20000000 };

	(void)look();
	for (int i = 0; i < STEPS_MOST && look() < STOP; i++) {
		void *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);

		if (p == MAP_FAILED)
			over("no more to take");
		(void)nanosleep(&a_while, NULL); /* kswapd's turn */
	}
}

int main(int argc, char **argv)
{
	mount_all();
	load("/zsmalloc.ko");
	load("/lzo-rle.ko");
	load("/zram.ko");
	swap_on();
	for (int i = 1; i < argc && groups < GROUPS_MOST; i++)
		if (sscanf(argv[i], "%31[a-z]:%lu:%lu", group[groups].name, &group[groups].held, &group[groups].soft) ==
		    3)
			begin(&group[groups++]);
	if (!groups)
		over("no groups");
	press();
	over(NULL);
}
