/* SPDX-License-Identifier: MIT */
/* A file system that is full: an error where something is asked for, never a SIGBUS, nothing half-made.
 *
 * In a mount namespace of its own, on a tmpfs of a few pages. */
#include "tests/lib/ground.h"
#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* A user namespace in which we are root. */
static bool become_root_of_our_own(void)
{
	char uid[32], gid[32];

	snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_to("/proc/self/setgroups", "deny") &&
	       write_to("/proc/self/uid_map", uid) && write_to("/proc/self/gid_map", gid);
}

static bool may_mount(void)
{
	if (unshare(CLONE_NEWNS) && !become_root_of_our_own())
		return false;
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_pages(unsigned pages)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%uk,mode=0700", pages * 4);
	return mount("memctl-test", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
}

static unsigned pages_free(void)
{
	unsigned n = 0;
	char path[128];
	int fd;
	static const char page[4096] = { 1 };

	snprintf(path, sizeof(path), "%s/ballast", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while (fd >= 0 && write(fd, page, sizeof(page)) == (ssize_t)sizeof(page))
		n++;
	close(fd);
	unlink(path);
	return n;
}

/* Takes all that is left, so that nothing more can be had. */
static void fill_up(void)
{
	static const char page[4096] = { 1 };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/ballast", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	while (fd >= 0 && write(fd, page, sizeof(page)) > 0)
		;
	close(fd);
}

static void remove_ballast(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/ballast", dir);
	unlink(path);
}

/* The test bodies run in a child: a SIGBUS there is a failure here. Their answer: what was wrong. */
static bool survives(const char *(*body)(unsigned), unsigned pages, const char *what)
{
	int status = 0;
	pid_t child;

	if (!mount_pages(pages))
		return tap_ok(false, "%s: cannot mount %u pages: %s", what, pages, strerror(errno));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		const char *wrong;

		alarm(30);
		wrong = body(pages);
		if (wrong)
			tap_note("%u pages: %s", pages, wrong);
		_exit(wrong != NULL);
	}
	waitpid(child, &status, 0);
	umount2(dir, MNT_DETACH);
	if (WIFSIGNALED(status))
		tap_note("%u pages: signal %d", pages, WTERMSIG(status));
	return status == 0;
}

/* ---- creation ---- */

static const char *creates_or_says_why_not(unsigned pages)
{
	struct segment seg = { 0 };
	unsigned before = pages_free();
	int err = segment_create(dir, &seg);

	if (err == 0) {
		if (!segment_consistent(&seg))
			return "created but not consistent";
		segment_detach(&seg);
		return pages < 16 ? "so few pages cannot be enough" : NULL;
	}
	if (err != -ENOSPC)
		return "another error than -ENOSPC";
	if (seg.limits || seg.counters)
		return "the answer was touched";
	if (pages_free() != before)
		return "something was left behind";
	return NULL;
}

/* ---- a segment on a full file system ---- */

static struct ground g; /* only the segment in it */

static int create_then_fill_up(void)
{
	int err;

	memset(&g, 0, sizeof(g));
	g.next_pid = 1000;
	err = segment_create(dir, &g.seg);
	fill_up();
	return err;
}

static const char *joins_until_it_is_said(unsigned pages)
{
	uint32_t member = 0;
	unsigned joined = 0;
	int err = 0;

	(void)pages;
	if (create_then_fill_up())
		return "not created";
	while (joined < MEMBERS_MAX && !err) {
		err = member_join(&g.seg, 1000 + joined * 40000u, 1, GROUP_ROOT, MEMBER_LIVE, "x", &member);
		joined += !err;
	}
	if (err != -ENOMEM)
		return "another error than -ENOMEM";
	for (uint32_t pid = 1; pid < 70000; pid += 997)
		if (member_find(&g.seg, pid, 1, &member) != -ESRCH && joined == 0)
			return "found who never joined";
	if (!recount(&g.seg, RESOURCE_MEMORY) || !ground_consistent(&g))
		return "not consistent";
	remove_ballast();
	err = member_join(&g.seg, 5, 1, GROUP_ROOT, MEMBER_LIVE, "x", &member);
	return err ? "cannot join when there is room again" : NULL;
}

static const char *claims_accounts_until_it_is_said(unsigned pages)
{
	uint32_t account = 0;
	unsigned claimed = 0;
	int err = 0;

	(void)pages;
	if (create_then_fill_up())
		return "not created";
	while (claimed < ACCOUNTS_MAX && !err) {
		err = account_claim(&g.seg, 7, RESOURCE_MEMORY, GROUP_ROOT, 0, &account);
		claimed += !err;
	}
	if (err != -ENOMEM)
		return "another error than -ENOMEM";
	if (!recount(&g.seg, RESOURCE_MEMORY) || !ground_consistent(&g))
		return "not consistent";
	remove_ballast();
	return account_claim(&g.seg, 7, RESOURCE_MEMORY, GROUP_ROOT, 0, &account) ? "no room again" : NULL;
}

static const char *makes_groups_until_it_is_said(unsigned pages)
{
	char path[32];
	uint16_t group = 0;
	unsigned made = 0;
	int err = 0;

	(void)pages;
	if (create_then_fill_up())
		return "not created";
	while (made < GROUPS_MAX && !err) {
		snprintf(path, sizeof(path), "/g%u", made);
		err = tree_create(&g.seg, path, &group);
		made += !err;
	}
	if (err != -ENOMEM)
		return "another error than -ENOMEM";
	for (unsigned i = 0; i < made; i++) {
		snprintf(path, sizeof(path), "/g%u", i);
		if (group_find(&g.seg, path, &group))
			return "a group that was made is not found";
	}
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "/none%u", i);
		if (group_find(&g.seg, path, &group) != -ENOENT)
			return "a group that is not there is found";
	}
	if (!tree_consistent(&g.seg) || !ground_consistent(&g))
		return "not consistent";
	(void)tree_sweep(&g.seg);
	tree_repair(&g.seg);
	remove_ballast();
	return tree_create(&g.seg, "/room", &group) ? "cannot make one when there is room again" : NULL;
}

/* Who has joined goes on charging, looking, dying and being settled: all that needs no new page. */
static const char *goes_on_when_full(unsigned pages)
{
	struct actor daemon;
	struct party p;
	struct snapshot s;
	uint16_t group;

	(void)pages;
	if (segment_create(dir, &g.seg))
		return "not created";
	g.next_pid = 1000;
	group = ground_group(&g, "/a", 1000);
	p = ground_join(&g, group);
	daemon = ground_daemon(&g);
	fill_up();
	if (charge_try(&p.by, p.account, 999, NULL) || charge_try(&p.by, p.account, 2, NULL) != -ENOMEM)
		return "charging";
	charge_force(&p.by, p.account, 5, OVER_CREDIT);
	charge_uncharge(&p.by, p.account, 500);
	if (snapshot_take(&g.seg, RESOURCE_MEMORY, &s))
		return "snapshot";
	snapshot_free(&s);
	member_set_flags(&g.seg, p.member, MEMBER_EXECING, 0);
	if (settle_exec(&g.seg, p.member, group, "new"))
		return "exec in place";
	(void)settle_dead(&daemon, p.member);
	if (ground_remove_group(&g, group) || tree_sweep(&g.seg))
		return "removing the group";
	return ground_empty(&g) ? NULL : "not empty";
}

/* Attaching reads only what is there. */
static const char *attaches_when_full(unsigned pages)
{
	static const enum segment_role roles[] = { SEGMENT_MEMBER, SEGMENT_DEVICE, SEGMENT_READER, SEGMENT_DAEMON };
	uint16_t group = 0;

	(void)pages;
	if (create_then_fill_up())
		return "not created";
	for (int i = 0; i < 4; i++) {
		struct segment s;
		uint32_t member;

		if (segment_attach(dir, roles[i], &s))
			return "not attached";
		if (group_find(&s, "/anything", &group) != -ENOENT || member_find(&s, 12345, 1, &member) != -ESRCH ||
		    member_any_in(&s, GROUP_ROOT))
			return "found what is not there";
		segment_detach(&s);
	}
	return NULL;
}

int main(void)
{
	bool ok = true;
	unsigned enough = 400; /* two look-up tables of 32 pages each, and a root for 16 resources */

	ground_make_dir(dir, sizeof(dir));
	if (!may_mount()) {
		tap_skip("no mount namespace to be had", "a full file system");
		rmdir(dir);
		return tap_end();
	}
	for (unsigned pages = 1; pages <= 200; pages++)
		ok = survives(creates_or_says_why_not, pages, "creation") && ok;
	tap_ok(ok, "creation is whole or leaves nothing, on file systems of 1 to 200 pages");
	tap_ok(survives(joins_until_it_is_said, enough, "join"), "joins until it is said");
	tap_ok(survives(claims_accounts_until_it_is_said, enough, "accounts"), "claims accounts until it is said");
	tap_ok(survives(makes_groups_until_it_is_said, enough, "groups"), "makes groups until it is said");
	tap_ok(survives(goes_on_when_full, enough, "going on"), "who is there goes on when it is full");
	tap_ok(survives(attaches_when_full, enough, "attaching"), "attaches when it is full");
	rmdir(dir);
	return tap_end();
}
