/* SPDX-License-Identifier: MIT */
/* A daemon without socket in a directory of its own, in a world that the test makes up. */
#ifndef TESTS_UNIT_CONTROLD_FIXTURE_H
#define TESTS_UNIT_CONTROLD_FIXTURE_H

#include "controld/heirs.h"
#include "controld/history.h"
#include "controld/command.h"
#include "controld/cycle.h"
#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/proto.h"

#include "accounting/region.h"
#include "accounting/member.h"
#include "accounting/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

/* One made-up process; pid 0: the row is free. */
struct fake_process {
	pid_t pid;
	pid_t parent;
	uint64_t start_time;
	enum world_image image;
	struct world_usage usage;
	uint64_t gives_back;   /* of usage.anon, right after it was measured */
	uint64_t proportional; /* its part of `anon` */
	uint64_t faults;
	uint64_t ran_ns;
	struct numa_spread spread;
	int oom_adj;
	int signal;   /* the last that it was sent */
	bool lingers; /* it does not die of that */
	int pidfd;    /* readable at death; the daemon has copies */
	bool no_pidfd;
};

static struct fake_process fake[16];
static struct fake_process *fake_of_fd[1024];
static uint64_t fake_now = 1000000000;
static uint64_t fake_spent;
static struct world_host fake_machine;
static struct daemon fixture;

static struct fake_process *fake_find(pid_t pid)
{
	for (size_t i = 0; i < 16; i++)
		if (fake[i].pid == pid && pid)
			return &fake[i];
	return NULL;
}

static uint64_t fake_now_ns(void)
{
	return fake_now;
}

static int fake_pidfd_open(pid_t pid)
{
	struct fake_process *p = fake_find(pid);
	int fd;

	if (!p)
		return -ESRCH;
	if (p->no_pidfd)
		return -EMFILE;
	if (!p->pidfd)
		p->pidfd = eventfd(0, EFD_CLOEXEC);
	fd = fcntl(p->pidfd, F_DUPFD_CLOEXEC, 0);
	if (fd > 1023) { /* as where the limit of open files is that */
		(void)close(fd);
		return -EMFILE;
	}
	fake_of_fd[fd] = p;
	return fd;
}

static int fake_pidfd_signal(int pidfd, int signal)
{
	fake_of_fd[pidfd]->signal = signal;
	return fake_of_fd[pidfd]->lingers ? 0 : eventfd_write(pidfd, 1);
}

static int fake_start_time(pid_t pid, uint64_t *ret_ticks)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret_ticks = p->start_time;
	return 0;
}

static int fake_usage(pid_t pid, struct world_usage *ret)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret = p->usage;
	return 0;
}

static int fake_resident(pid_t pid, struct world_resident *ret)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret = (struct world_resident){ .anon = p->usage.anon, .shared = p->usage.file };
	p->usage.anon -= p->gives_back;
	p->gives_back = 0;
	return 0;
}

static int fake_swapped(pid_t pid, bool shares, uint64_t *ret_pages)
{
	struct fake_process *p = fake_find(pid);

	(void)shares;
	if (!p)
		return -ESRCH;
	*ret_pages = p->usage.swap;
	return 0;
}

/* One mapping of all it has; none of it was touched since. */
static int fake_used(pid_t pid, smaps_take *take, void *to)
{
	struct fake_process *p = fake_find(pid);
	struct smaps_mapping m = { .start = 1 << 20, .is_anonymous = true };

	if (!p)
		return -ESRCH;
	m.end = m.start + (p->usage.anon << MC_PAGE_SHIFT);
	m.resident = p->usage.anon;
	if (m.resident)
		take(&m, to);
	return 0;
}

static bool fake_is_privileged;

static int fake_advise(pid_t pid, uint64_t start, uint64_t size, int advice)
{
	struct fake_process *p = fake_find(pid);

	(void)start;
	if (!p || !fake_is_privileged)
		return p ? -EPERM : -ESRCH;
	if (advice == 21) {
		p->usage.anon -= size >> MC_PAGE_SHIFT;
		p->usage.swap += size >> MC_PAGE_SHIFT;
	}
	return 0;
}

static int fake_proportional(pid_t pid, unsigned sharers, uint64_t *ret_pages)
{
	struct fake_process *p = fake_find(pid);

	(void)sharers;
	if (!p)
		return -ESRCH;
	*ret_pages = p->proportional;
	return 0;
}

static int fake_faults(pid_t pid, uint64_t *ret)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret = p->faults;
	return 0;
}

static uint64_t fake_spent_ns(void)
{
	return fake_spent;
}

static int fake_host(struct world_host *ret)
{
	*ret = fake_machine;
	return 0;
}

static struct numa_node fake_node[2];

static int fake_nodes(struct numa_node *ret, unsigned most)
{
	int n = 0;

	for (unsigned i = 0; i < 2 && i < most; i++) {
		ret[i] = fake_node[i];
		n += fake_node[i].total != 0;
	}
	return n;
}

static int fake_spread(pid_t pid, struct numa_spread *ret)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret = p->spread;
	return 0;
}

static int fake_ran_ns(pid_t pid, uint64_t *ret_ns)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret_ns = p->ran_ns;
	return 0;
}

static int fake_oom_adj(pid_t pid, int *ret)
{
	struct fake_process *p = fake_find(pid);

	if (!p)
		return -ESRCH;
	*ret = p->oom_adj;
	return 0;
}

static int fake_image(pid_t pid, dev_t device, ino_t counters, enum world_image *ret)
{
	struct fake_process *p = fake_find(pid);

	(void)device;
	(void)counters;
	if (!p)
		return -ESRCH;
	*ret = p->image;
	return 0;
}

static int fake_comm(pid_t pid, char ret_comm[16])
{
	(void)snprintf(ret_comm, 16, "new-%d", (int)pid);
	return 0;
}

static int fake_mappings(pid_t pid, world_take_mapping *take, void *to)
{
	(void)take;
	(void)to;
	return fake_find(pid) ? 0 : -ESRCH;
}

static int fake_children(pid_t pid, world_take_child *take, void *to)
{
	for (size_t i = 0; i < 16; i++)
		if (fake[i].pid && fake[i].parent == pid)
			take(fake[i].pid, fake[i].start_time, to);
	return fake_find(pid) ? 0 : -ESRCH;
}

static const struct world fake_world = {
	.now_ns = fake_now_ns,
	.pidfd_open = fake_pidfd_open,
	.pidfd_signal = fake_pidfd_signal,
	.start_time = fake_start_time,
	.usage = fake_usage,
	.resident = fake_resident,
	.proportional = fake_proportional,
	.faults = fake_faults,
	.swapped = fake_swapped,
	.used = fake_used,
	.advise = fake_advise,
	.spent_ns = fake_spent_ns,
	.host = fake_host,
	.nodes = fake_nodes,
	.spread = fake_spread,
	.ran_ns = fake_ran_ns,
	.oom_adj = fake_oom_adj,
	.image = fake_image,
	.comm = fake_comm,
	.children = fake_children,
	.mappings = fake_mappings,
};

static inline struct fake_process *fake_add(pid_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < 16; i++)
		if (!fake[i].pid) {
			fake[i] = (struct fake_process){ .pid = pid, .start_time = start_time };
			return &fake[i];
		}
	fail();
	return NULL;
}

/* The process ends; its pidfd tells. */
static inline void fake_end(struct fake_process *p)
{
	if (p->pidfd) {
		(void)eventfd_write(p->pidfd, 1);
		(void)close(p->pidfd);
	}
	p->pid = 0;
}

/* Lets the daemon see what has happened up to now. */
static inline void fixture_turn(void)
{
	for (int i = 0; i < 8; i++)
		(void)sd_event_run(fixture.event, 0);
	cycle_turn(&fixture);
	cycle_turn(&fixture);
}

static inline void fixture_pass(uint64_t ms)
{
	fake_now += ms * 1000000;
	fixture_turn();
}

static inline int fixture_setup(void **state)
{
	char dir[] = "/dev/shm/memctl-unit-XXXXXX"; /* a tmpfs, as where daemons have theirs */
	struct complaint why;

	(void)state;
	memset(fake, 0, sizeof(fake));
	fake_machine = (struct world_host){ .total = 1 << 20, .available = 1 << 20 };
	memset(&fixture, 0, sizeof(fixture));
	fixture.world = &fake_world;
	fixture.rundir.lock = -1;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(loop_open(&fixture, &why), 0);
	assert_int_equal(rundir_open(dir, &fixture.rundir, &why), 0);
	assert_int_equal(served_open(&fixture, dir, &fixture.served, &why), 0);
	return 0;
}

static inline int fixture_teardown(void **state)
{
	char dir[sizeof(fixture.rundir.path)];
	unsigned removed;

	(void)state;
	(void)removed;
	strcpy(dir, fixture.rundir.path);
	rundir_remove(&fixture.rundir, SEGMENT_LIMITS_NAME);
	rundir_remove(&fixture.rundir, SEGMENT_COUNTERS_NAME);
	rundir_remove(&fixture.rundir, HISTORY_NAME);
	rundir_remove(&fixture.rundir, HEIRS_NAME);
	rundir_remove(&fixture.rundir, RUNDIR_LOCK);
	daemon_close(&fixture);
	memset(fake_node, 0, sizeof(fake_node)); /* set before fixture_setup */
	return rmdir(dir);
}

/* Sends text as the packet of `caller`; the reply, or the test fails. */
static inline json_t *fixture_ask_as(const struct caller *caller, const char *packet, size_t size)
{
	size_t reply_size = 0;
	char *text = proto_handle(&fixture, caller, packet, size, &reply_size);
	json_t *reply;

	assert_non_null(text);
	assert_true(reply_size <= PROTO_PACKET_MAX);
	reply = json_loadb(text, reply_size, 0, NULL);
	assert_non_null(reply);
	assert_true(json_is_boolean(json_object_get(reply, "ok")));
	free(text);
	return reply;
}

/* Sends {"v":1,"op":OP, MORE}; returns the reply. */
static inline json_t *fixture_ask(const char *op, const char *more)
{
	static const struct caller caller = { .pid = 1 };
	char packet[4096];

	(void)snprintf(packet, sizeof(packet), "{\"v\":1,\"op\":\"%s\"%s%s}", op, *more ? "," : "", more);
	return fixture_ask_as(&caller, packet, strlen(packet));
}

/* The same, where success is expected. */
static inline json_t *fixture_do(const char *op, const char *more)
{
	json_t *reply = fixture_ask(op, more);

	if (!json_is_true(json_object_get(reply, "ok")))
		print_error("%s %s: %s\n", op, more, json_string_value(json_object_get(reply, "error")));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	return reply;
}

/* The same, where `name` is the errno expected; the sentence is not empty. */
static inline void fixture_refuse(const char *op, const char *more, const char *name)
{
	json_t *reply = fixture_ask(op, more);

	if (json_is_true(json_object_get(reply, "ok")))
		print_error("%s %s was not refused\n", op, more);
	assert_true(json_is_false(json_object_get(reply, "ok")));
	assert_string_equal(json_string_value(json_object_get(reply, "errno")), name);
	assert_true(strlen(json_string_value(json_object_get(reply, "error"))) > 5);
	json_decref(reply);
}

/* A key's value; the caller gives it back by json_decref. */
static inline json_t *fixture_get(const char *group, const char *key)
{
	char more[256];
	json_t *reply, *value;

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"keys\":[\"%s\"]", group, key);
	reply = fixture_do("get", more);
	value = json_incref(json_object_get(json_object_get(reply, "values"), key));
	assert_non_null(value);
	json_decref(reply);
	return value;
}

static inline long long fixture_number(const char *group, const char *key)
{
	json_t *value = fixture_get(group, key);
	long long n = json_integer_value(value);

	assert_true(json_is_integer(value));
	json_decref(value);
	return n;
}

/* One row of a key that is a table. */
static inline long long fixture_row(const char *group, const char *key, const char *row)
{
	json_t *table = fixture_get(group, key);
	json_t *value = json_object_get(table, row);
	long long n = json_integer_value(value);

	assert_true(json_is_integer(value));
	json_decref(table);
	return n;
}

/* Makes a made-up process a member; returns its slot. */
static inline uint32_t fixture_join(const struct fake_process *p, const char *group)
{
	const struct segment *seg = &fixture.served->seg;
	uint32_t member;
	uint16_t g;

	assert_int_equal(group_find(seg, group, &g), 0);
	assert_int_equal(member_join(seg, (uint32_t)p->pid, p->start_time, g, MEMBER_LIVE, "test", &member), 0);
	return member;
}

/* The member charges `pages` of heap. */
static inline void fixture_charge(uint32_t member, uint64_t pages)
{
	const struct segment *seg = &fixture.served->seg;
	struct actor by = { .seg = seg, .open = &member_of(seg, member)->open, .member = member };
	uint32_t account = member_account_at(seg, member, 0);

	assert_int_equal(charge_try(&by, account, pages, NULL), 0);
	account_class_add(seg, account, CLASS_HEAP, (int64_t)pages);
}

#define FIXTURE_REGION "cuda/GPU-00000000-0000-0000-0000-000000000001/vram"

/* A device's memory of 1 GiB. */
static inline unsigned fixture_region(void)
{
	unsigned region = 0;

	assert_int_equal(region_register(&fixture.served->seg, FIXTURE_REGION, "", 1u << 30, &region), 0);
	return region;
}

/* The member's account there, in the group in which it is. */
static inline uint32_t fixture_region_account(uint32_t member, unsigned region)
{
	const struct segment *seg = &fixture.served->seg;
	int slot = member_account(seg, member, region, mc_load_full(&member_of(seg, member)->group));

	assert_true(slot >= 0);
	return member_account_at(seg, member, (unsigned)slot);
}

static inline void fixture_charge_region(uint32_t member, unsigned region, uint64_t units)
{
	const struct segment *seg = &fixture.served->seg;
	struct actor by = { .seg = seg, .open = &member_of(seg, member)->open, .member = member };

	charge_force(&by, fixture_region_account(member, region), units, OVER_LAZY);
}

static inline enum member_state fixture_state(uint32_t member)
{
	return member_state(mc_load_full(&member_of(&fixture.served->seg, member)->state));
}

static inline void fixture_drop(json_t *reply)
{
	json_decref(reply);
}

#endif
