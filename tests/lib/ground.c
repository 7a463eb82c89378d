/* SPDX-License-Identifier: MIT */
/* A private segment to test on. */
#include "tests/lib/ground.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char left_behind[64]; /* the directory to remove at exit */
static pid_t left_by;

void ground_bail(const char *format, ...)
{
	va_list args;

	fputs("Bail out! ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	exit(99);
}

void ground_remove_dir(const char *dir)
{
	static const char *const names[] = { SEGMENT_LIMITS_NAME, SEGMENT_COUNTERS_NAME };
	char path[128];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(dir);
}

static void at_exit(void)
{
	if (left_behind[0] && left_by == getpid())
		ground_remove_dir(left_behind);
	left_behind[0] = 0;
}

void ground_make_dir(char *dir, size_t size)
{
	const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(dir, size, "%s/memctl-test-XXXXXX", top);
	if (!mkdtemp(dir))
		ground_bail("mkdtemp %s: %s", dir, strerror(errno));
}

void ground_up(struct ground *g)
{
	static bool registered;
	int err;

	at_exit(); /* a test that failed in its teardown */
	memset(g, 0, sizeof(*g));
	g->next_pid = 100000;
	ground_make_dir(g->dir, sizeof(g->dir));
	if (!registered)
		registered = atexit(at_exit) == 0;
	left_by = getpid();
	strcpy(left_behind, g->dir);
	err = segment_create(g->dir, &g->seg);
	if (err)
		ground_bail("segment_create %s: %s", g->dir, strerror(-err));
}

void ground_down(struct ground *g)
{
	segment_detach(&g->seg);
	ground_remove_dir(g->dir);
	left_behind[0] = 0;
}

void ground_set_max(struct ground *g, uint16_t group, uint64_t max)
{
	mc_store_full(&ground_limits(g, group)->max, max);
}

uint16_t ground_group(struct ground *g, const char *path, uint64_t max)
{
	char above[GROUP_PATH_MAX];
	uint16_t group = 0;

	for (const char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
		snprintf(above, sizeof(above), "%.*s", (int)(end - path), path);
		if (group_find(&g->seg, above, &group) == -ENOENT)
			(void)tree_create(&g->seg, above, &group);
	}
	if (group_find(&g->seg, path, &group) && tree_create(&g->seg, path, &group))
		ground_bail("tree_create %s", path);
	ground_set_max(g, group, max);
	return group;
}

int ground_remove_group(struct ground *g, uint16_t group)
{
	int err = tree_close(&g->seg, group);

	if (err)
		return err;
	if (member_any_in(&g->seg, group)) {
		tree_reopen(&g->seg, group);
		return -EBUSY;
	}
	tree_unlink(&g->seg, group);
	return 0;
}

struct party ground_join(struct ground *g, uint16_t group)
{
	uint32_t pid = g->next_pid++;
	struct party p = { 0 };
	int err = member_join(&g->seg, pid, pid * 7ull, group, MEMBER_LIVE, "party", &p.member);
	int slot = err ? err : member_account(&g->seg, p.member, g->resource, group);

	if (slot < 0)
		ground_bail("member_join: %s", strerror(-slot));
	p.account = member_account_at(&g->seg, p.member, (unsigned)slot);
	p.by.seg = &g->seg;
	p.by.open = &member_of(&g->seg, p.member)->open;
	p.by.member = p.member;
	p.by.pid = pid;
	return p;
}

struct actor ground_daemon(struct ground *g)
{
	return (struct actor){
		.seg = &g->seg,
		.open = &g->seg.counters->header.daemon_open,
		.member = MEMBER_NIL,
		.pid = (uint32_t)getpid(),
	};
}

struct pool *ground_pool(const struct ground *g, uint16_t group)
{
	return pool_of(&g->seg, g->resource, group);
}

struct limits *ground_limits(const struct ground *g, uint16_t group)
{
	return &g->seg.limits->limits[g->resource][group];
}

uint64_t ground_usage(const struct ground *g, uint16_t group)
{
	return pool_usage(mc_load_full(&ground_pool(g, group)->word));
}

uint64_t ground_held(const struct ground *g, uint32_t account)
{
	return account_held(mc_load_full(&account_of(&g->seg, account)->word));
}

uint64_t ground_stock(const struct ground *g, uint32_t account)
{
	return account_stock(mc_load_full(&account_of(&g->seg, account)->word));
}

bool ground_consistent(const struct ground *g)
{
	char path[GROUP_PATH_MAX];
	uint16_t group = 0;

	if (snapshot_consistent(&g->seg, g->resource, &group))
		return true;
	(void)group_path(&g->seg, group, path);
	fprintf(stderr, "# %s (%u): usage %llu is not accounts + children\n", path, group,
		(unsigned long long)ground_usage(g, group));
	return false;
}

bool ground_empty(const struct ground *g)
{
	uint32_t groups = mc_load_full(&g->seg.limits->header.groups_used);
	bool empty = ground_consistent(g);

	for (uint32_t i = 0; i < groups; i++) {
		if (ground_usage(g, (uint16_t)i) == 0)
			continue;
		fprintf(stderr, "# group %u: %llu left\n", i, (unsigned long long)ground_usage(g, (uint16_t)i));
		empty = false;
	}
	return empty;
}

void *ground_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		ground_bail("mmap: %s", strerror(errno));
	return p;
}

uint64_t ground_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
