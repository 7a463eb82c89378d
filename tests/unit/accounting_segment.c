/* SPDX-License-Identifier: MIT */
/* The segment: making it, mapping it, and not trusting what is not what it says. */
#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static struct segment seg; /* as the daemon has it */

static int empty_up(void **state)
{
	(void)state;
	ground_make_dir(dir, sizeof(dir));
	return 0;
}

static int up(void **state)
{
	(void)empty_up(state);
	return segment_create(dir, &seg);
}

static int down(void **state)
{
	(void)state;
	segment_detach(&seg);
	(void)chown(dir, geteuid(), (gid_t)-1);
	(void)chmod(dir, 0700);
	ground_remove_dir(dir);
	return access(dir, F_OK) == 0; /* something else was left in it */
}

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned lines(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned n = 0;
	int c;

	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

/* Attaching fails in this way, in each role, and leaves nothing behind. */
static void assert_attach(int err)
{
	unsigned fds = entries("/proc/self/fd");
	unsigned maps = lines("/proc/self/maps");

	for (int role = SEGMENT_MEMBER; role <= SEGMENT_READER; role++) {
		struct segment s;
		struct segment untouched;

		memset(&s, 0x55, sizeof(s));
		memcpy(&untouched, &s, sizeof(s));
		assert_int_equal(segment_attach(dir, (enum segment_role)role, &s), err);
		if (err)
			assert_memory_equal(&s, &untouched, sizeof(s));
		else
			segment_detach(&s);
	}
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_in_range(lines("/proc/self/maps"), maps - 2, maps + 2);
}

/* ---- making one ---- */

static void a_new_one_is_whole(void **state)
{
	struct stat st;
	uint64_t instance = seg.limits->header.instance;

	(void)state;
	assert_true(segment_consistent(&seg));
	assert_int_equal(group_state(&seg, GROUP_ROOT), GROUP_LIVE);
	assert_int_equal(group_parent(&seg, GROUP_ROOT), GROUP_NIL);
	for (unsigned r = 0; r < RESOURCES_MAX; r++)
		assert_int_equal(mc_load_full(&seg.limits->limits[r][GROUP_ROOT].max), PAGES_MAX);
	assert_string_equal(seg.limits->header.region[RESOURCE_MEMORY].name, "memory");
	assert_int_equal(seg.limits->header.region[RESOURCE_MEMORY].unit, 4096);
	assert_int_equal(mc_load_full(&seg.limits->header.region[RESOURCE_SWAP].used), 1);
	assert_int_equal(mc_load_full(&seg.limits->header.region[RESOURCE_REGION_FIRST].used), 0);
	assert_int_equal(stat(in_dir(SEGMENT_LIMITS_NAME), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, seg.limits_size);
	assert_true((size_t)st.st_blocks * 512 < (size_t)4 << 20); /* sparse */
	assert_int_equal(stat(in_dir(SEGMENT_COUNTERS_NAME), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	segment_detach(&seg);
	ground_remove_dir(dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(segment_create(dir, &seg), 0);
	assert_int_not_equal(seg.limits->header.instance, instance);
}

static void a_second_one_is_refused_and_the_first_unharmed(void **state)
{
	struct segment s;
	struct segment again = { 0 };

	(void)state;
	assert_int_equal(segment_create(dir, &again), -EEXIST);
	assert_null(again.limits);
	assert_int_equal(segment_attach(dir, SEGMENT_DAEMON, &s), 0);
	assert_int_equal(s.limits->header.instance, seg.limits->header.instance);
	segment_detach(&s);
}

static void half_of_one_is_in_the_way_and_left_there(void **state)
{
	(void)state;
	assert_int_equal(unlink(in_dir(SEGMENT_LIMITS_NAME)), 0);
	segment_detach(&seg);
	assert_int_equal(segment_create(dir, &seg), -EEXIST);
	assert_int_equal(access(in_dir(SEGMENT_LIMITS_NAME), F_OK), -1);
	assert_int_equal(access(in_dir(SEGMENT_COUNTERS_NAME), F_OK), 0);
}

/* ---- the directory ---- */

static void the_directory_must_be_ours_and_closed(void **state)
{
	static const mode_t open_modes[] = { 0701, 0710, 0704, 0740, 0720, 0702, 0755, 01777 };
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
		assert_int_equal(chmod(dir, open_modes[i]), 0);
		assert_int_equal(segment_open_dir(dir), -EACCES);
		assert_attach(-EACCES);
		assert_int_equal(segment_create(dir, &seg), -EACCES);
	}
	assert_int_equal(chmod(dir, 0700), 0);
	fd = segment_open_dir(dir);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(fd);
	assert_int_equal(segment_open_dir(in_dir("none")), -ENOENT);
	assert_int_equal(segment_open_dir("/proc/self/comm"), -ENOTDIR);
}

static void the_directory_of_another_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		assert_int_equal(segment_open_dir("/"), -EPERM);
		return;
	}
	assert_int_equal(chown(dir, 12345, (gid_t)-1), 0);
	assert_int_equal(segment_open_dir(dir), -EPERM);
	assert_attach(-EPERM);
	assert_int_equal(segment_create(dir, &seg), -EPERM);
}

static void links_are_not_followed(void **state)
{
	char link_to_dir[80], moved[128];
	int err;

	(void)state;
	snprintf(link_to_dir, sizeof(link_to_dir), "%s-link", dir);
	assert_int_equal(symlink(dir, link_to_dir), 0);
	err = segment_open_dir(link_to_dir);
	unlink(link_to_dir);
	assert_true(err == -ENOTDIR || err == -ELOOP);
	snprintf(moved, sizeof(moved), "%s/moved", dir);
	assert_int_equal(rename(in_dir(SEGMENT_COUNTERS_NAME), moved), 0);
	assert_int_equal(symlink("moved", in_dir(SEGMENT_COUNTERS_NAME)), 0);
	assert_attach(-ELOOP);
	assert_int_equal(rename(moved, in_dir(SEGMENT_COUNTERS_NAME)), 0);
	assert_attach(0);
}

/* ---- what is there ---- */

static void none_and_being_made_are_told_apart(void **state)
{
	struct limits_header *l = &seg.limits->header;
	struct counters_header *c = &seg.counters->header;

	(void)state;
	mc_store_full(&l->ready, 0);
	assert_attach(-EAGAIN);
	mc_store_full(&l->ready, SEGMENT_READY);
	mc_store_full(&c->ready, 0);
	assert_attach(-EAGAIN);
	mc_store_full(&c->ready, SEGMENT_READY);
	l->magic = 0;
	assert_attach(-EAGAIN);
	l->magic = LIMITS_MAGIC;
	c->magic = 0;
	assert_attach(-EAGAIN);
	c->magic = COUNTERS_MAGIC;
	assert_attach(0);
	assert_int_equal(unlink(in_dir(SEGMENT_COUNTERS_NAME)), 0);
	assert_attach(-EAGAIN);
	assert_int_equal(unlink(in_dir(SEGMENT_LIMITS_NAME)), 0);
	assert_attach(-ENOENT);
}

static void an_empty_file_is_being_made_a_short_one_damaged(void **state)
{
	static const char *const names[] = { SEGMENT_LIMITS_NAME, SEGMENT_COUNTERS_NAME };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct stat st;

		assert_int_equal(stat(in_dir(names[i]), &st), 0);
		assert_int_equal(truncate(in_dir(names[i]), 8192), 0);
		assert_attach(-EBADMSG);
		assert_int_equal(truncate(in_dir(names[i]), 0), 0);
		assert_attach(-EAGAIN);
		segment_detach(&seg);
		ground_remove_dir(dir);
		assert_int_equal(mkdir(dir, 0700), 0);
		assert_int_equal(segment_create(dir, &seg), 0);
	}
}

/* Each word, set to something it may not be. */
static void assert_refused(uint32_t *word, uint32_t bad, int err)
{
	uint32_t good = *word;

	*word = bad;
	assert_attach(err);
	*word = good;
	assert_attach(0);
}

static void another_version_or_layout_is_refused(void **state)
{
	struct limits_header *l = &seg.limits->header;
	struct counters_header *c = &seg.counters->header;

	(void)state;
	assert_refused(&l->version, LAYOUT_VERSION + 1, -EPROTO);
	assert_refused(&c->version, LAYOUT_VERSION + 1, -EPROTO);
	assert_refused(&l->version, 0, -EPROTO);
	assert_refused(&l->layout_hash, segment_layout_hash() ^ 1, -EPROTO);
	assert_refused(&c->layout_hash, segment_layout_hash() + 1, -EPROTO);
}

static void a_damaged_header_is_refused(void **state)
{
	struct limits_header *l = &seg.limits->header;
	struct counters_header *c = &seg.counters->header;

	(void)state;
	l->magic ^= 1;
	assert_attach(-EBADMSG);
	l->magic ^= 1;
	c->magic ^= 1ull << 63;
	assert_attach(-EBADMSG);
	c->magic ^= 1ull << 63;
	l->instance++;
	assert_attach(-EBADMSG);
	l->instance--;
	assert_refused((uint32_t *)&l->ready, 1, -EBADMSG);
	assert_refused((uint32_t *)&c->ready, 1, -EBADMSG);
	assert_refused((uint32_t *)&l->groups_used, GROUPS_MAX + 1, -EBADMSG);
	assert_refused((uint32_t *)&c->accounts_used, ACCOUNTS_MAX + 1, -EBADMSG);
	assert_refused((uint32_t *)&c->members_used, MEMBERS_MAX + 1, -EBADMSG);
	assert_true(segment_consistent(&seg));
}

/* ---- roles ---- */

static int signal_of_write(volatile uint32_t *at)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*at = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void a_role_writes_what_it_may(void **state)
{
	static const struct {
		enum segment_role role;
		bool limits, counters, all;
	} rows[] = {
		{ SEGMENT_MEMBER, false, true, false },
		{ SEGMENT_DEVICE, false, true, true },
		{ SEGMENT_DAEMON, true, true, true },
		{ SEGMENT_READER, false, false, true },
	};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct segment s;

		assert_int_equal(segment_attach(dir, rows[i].role, &s), 0);
		assert_true(segment_consistent(&s));
		assert_int_equal(s.resources, rows[i].all ? RESOURCES_MAX : RESOURCE_REGION_FIRST);
		assert_int_equal(s.counters_size == seg.counters_size, rows[i].all);
		assert_string_equal(s.dir, dir);
		assert_int_equal(signal_of_write((uint32_t *)&s.limits->header.daemon_pid_ns),
				 rows[i].limits ? 0 : SIGSEGV);
		assert_int_equal(signal_of_write((uint32_t *)&s.counters->header.daemon_pid),
				 rows[i].counters ? 0 : SIGSEGV);
		segment_detach(&s);
		assert_null(s.limits);
		assert_null(s.counters);
		assert_int_equal(s.counters_size, 0);
	}
}

static void what_one_writes_the_other_reads(void **state)
{
	struct segment s;
	uint32_t member = 0;

	(void)state;
	assert_int_equal(segment_attach(dir, SEGMENT_MEMBER, &s), 0);
	mc_store_full(&seg.limits->limits[RESOURCE_SWAP][GROUP_ROOT].max, 77);
	assert_int_equal(mc_load_full(&s.limits->limits[RESOURCE_SWAP][GROUP_ROOT].max), 77);
	assert_int_equal(member_join(&s, 5, 6, GROUP_ROOT, MEMBER_LIVE, "x", &member), 0);
	assert_int_equal(member_find(&seg, 5, 6, &member), 0);
	segment_detach(&s);
}

/* ---- at the same time ---- */

struct tally {
	_Atomic int round; /* -1: the end */
	_Atomic int started;
	_Atomic unsigned attached;
	_Atomic int wrong;
};

/* A directory for each round, so that what is seen is one segment and not the last one's half. */
static char *dir_of_round(char *path, size_t size, int round)
{
	snprintf(path, size, "%s/%d", dir, round);
	return path;
}

static void attach_all_the_time(struct tally *t)
{
	char path[96];

	t->started++;
	while (t->round >= 0) {
		struct segment s;
		int err = segment_attach(dir_of_round(path, sizeof(path), t->round), SEGMENT_MEMBER, &s);

		if (err == 0) {
			t->attached++;
			if (!segment_consistent(&s) || group_state(&s, GROUP_ROOT) != GROUP_LIVE ||
			    pool_max(&s, RESOURCE_MEMORY, GROUP_ROOT) != PAGES_MAX)
				t->wrong = 1;
			segment_detach(&s);
		} else if (err != -ENOENT && err != -EAGAIN) {
			t->wrong = err;
		}
	}
	_exit(0);
}

static void one_round(struct tally *t, int round)
{
	char path[96];

	assert_int_equal(mkdir(dir_of_round(path, sizeof(path), round), 0700), 0);
	t->round = round;
	sched_yield();
	assert_int_equal(segment_create(path, &seg), 0);
	sched_yield();
	segment_detach(&seg);
	snprintf(path, sizeof(path), "%s/%d/limits", dir, round);
	unlink(path); /* first, so that nobody sees a half that is being made */
	ground_remove_dir(dir_of_round(path, sizeof(path), round));
}

static void who_attaches_meanwhile_waits_or_has_it_whole(void **state)
{
	struct tally *t = ground_shared(sizeof(*t));
	pid_t child[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		child[i] = fork();
		if (child[i] == 0)
			attach_all_the_time(t);
	}
	while (t->started < 2)
		sched_yield();
	for (int i = 0; i < 100 || (t->attached < 20 && i < 20000); i++)
		one_round(t, i);
	t->round = -1;
	for (int i = 0; i < 2; i++)
		assert_int_equal(waitpid(child[i], NULL, 0), child[i]);
	assert_int_equal(t->wrong, 0);
	assert_int_not_equal(t->attached, 0);
	munmap(t, sizeof(*t));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
#define TEST_EMPTY(f) cmocka_unit_test_setup_teardown(f, empty_up, down)
	static const struct CMUnitTest tests[] = {
		TEST(a_new_one_is_whole),
		TEST(a_second_one_is_refused_and_the_first_unharmed),
		TEST(half_of_one_is_in_the_way_and_left_there),
		TEST_EMPTY(the_directory_must_be_ours_and_closed),
		TEST_EMPTY(the_directory_of_another_is_refused),
		TEST(links_are_not_followed),
		TEST(none_and_being_made_are_told_apart),
		TEST(an_empty_file_is_being_made_a_short_one_damaged),
		TEST(another_version_or_layout_is_refused),
		TEST(a_damaged_header_is_refused),
		TEST(a_role_writes_what_it_may),
		TEST(what_one_writes_the_other_reads),
		TEST_EMPTY(who_attaches_meanwhile_waits_or_has_it_whole),
	};

	return cmocka_run_group_tests_name("accounting_segment", tests, NULL, NULL);
}
