/* SPDX-License-Identifier: MIT */
/* Subscriptions of libmemctl, with a daemon that does as the test says: hangs up, refuses, comes back. */
#include "tests/lib/unit.h"

#include "memctl/memctl.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEADLINE_MS 60000
#define SEEN_MAX 4096

/* The daemon. Each connection has a thread of its own; the lock guards all. */
static struct {
	char dir[64];
	struct sockaddr_un address;
	int listening;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int connection;	       /* the last; -1: none */
	unsigned connections;  /* so far */
	int eventfd[SEEN_MAX]; /* by id, the daemon's own copies; -1: none came */
	unsigned ids;
	unsigned unsubscribed;
	const char *refusal; /* what subscribe answers; NULL: ok */
	bool is_removed;     /* what subscriptions answers */
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int received_descriptor(struct msghdr *message)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(message);
	int fd = -1;

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void answer(int to, const char *packet, int fd)
{
	char text[160] = "{\"ok\":true,\"v\":1}";

	(void)pthread_mutex_lock(&fake.lock);
	if (strstr(packet, "\"subscriptions\"")) {
		(void)snprintf(text, sizeof(text), "{\"ok\":true,\"subscriptions\":[{\"removed\":%s}],\"more\":false}",
			       fake.is_removed ? "true" : "false");
	} else if (strstr(packet, "\"unsubscribe\"")) {
		fake.unsubscribed++;
	} else if (strstr(packet, "\"subscribe\"") && fake.refusal) {
		(void)snprintf(text, sizeof(text), "{\"ok\":false,\"errno\":\"%s\",\"error\":\"refused\"}",
			       fake.refusal);
		(void)close(fd);
	} else if (strstr(packet, "\"subscribe\"")) {
		fake.eventfd[fake.ids] = fd;
		(void)snprintf(text, sizeof(text), "{\"ok\":true,\"id\":%u}", fake.ids++);
	}
	(void)send(to, text, strlen(text), MSG_NOSIGNAL);
	(void)pthread_cond_broadcast(&fake.changed);
	(void)pthread_mutex_unlock(&fake.lock);
}

/* Until the other side, or hang_up, ends it. */
static void serve(int connection)
{
	static char packet[65537];

	for (;;) {
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec iov = { .iov_base = packet, .iov_len = sizeof(packet) - 1 };
		struct msghdr message = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
		};
		ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return;
		packet[n] = 0;
		answer(connection, packet, received_descriptor(&message));
	}
}

static void *run_fake(void *arg)
{
	int connection;

	(void)arg;
	while ((connection = accept4(fake.listening, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		(void)pthread_mutex_lock(&fake.lock);
		fake.connection = connection;
		fake.connections++;
		(void)pthread_cond_broadcast(&fake.changed);
		(void)pthread_mutex_unlock(&fake.lock);
		serve(connection);
		(void)pthread_mutex_lock(&fake.lock);
		(void)close(connection);
		fake.connection = -1;
		(void)pthread_cond_broadcast(&fake.changed);
		(void)pthread_mutex_unlock(&fake.lock);
	}
	return NULL;
}

static void appear(void)
{
	fake.connection = -1;
	fake.listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake.listening, (struct sockaddr *)&fake.address, sizeof(fake.address)), 0);
	assert_int_equal(listen(fake.listening, 5), 0);
	assert_int_equal(pthread_create(&fake.thread, NULL, run_fake, NULL), 0);
}

static void hang_up(void)
{
	(void)pthread_mutex_lock(&fake.lock);
	if (fake.connection >= 0)
		(void)shutdown(fake.connection, SHUT_RDWR);
	(void)pthread_mutex_unlock(&fake.lock);
}

static void disappear(void)
{
	(void)shutdown(fake.listening, SHUT_RDWR);
	hang_up();
	(void)pthread_join(fake.thread, NULL);
	(void)close(fake.listening);
	(void)unlink(fake.address.sun_path);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(fake.dir, "/dev/shm/memctl-sub-XXXXXX");
	if (!mkdtemp(fake.dir))
		return -1;
	fake.address.sun_family = AF_UNIX;
	(void)snprintf(fake.address.sun_path, sizeof(fake.address.sun_path), "%s/control.sock", fake.dir);
	fake.ids = fake.connections = fake.unsubscribed = 0;
	fake.refusal = NULL;
	fake.is_removed = false;
	appear();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	disappear();
	for (unsigned i = 0; i < fake.ids; i++)
		if (fake.eventfd[i] >= 0)
			(void)close(fake.eventfd[i]);
	return rmdir(fake.dir);
}

static struct memctl *open_it(void)
{
	struct memctl *m = NULL;

	assert_int_equal(memctl_open(fake.dir, MEMCTL_NO_START, &m), 0);
	return m;
}

/* Waits until so many subscriptions were made in all. */
static void wait_for_ids(unsigned ids)
{
	(void)pthread_mutex_lock(&fake.lock);
	while (fake.ids < ids)
		(void)pthread_cond_wait(&fake.changed, &fake.lock);
	(void)pthread_mutex_unlock(&fake.lock);
}

/* Closes, and waits until the daemon has noticed. */
static void close_it(struct memctl *m)
{
	memctl_close(m);
	(void)pthread_mutex_lock(&fake.lock);
	while (fake.connection >= 0)
		(void)pthread_cond_wait(&fake.changed, &fake.lock);
	(void)pthread_mutex_unlock(&fake.lock);
}

static void fire(unsigned id, unsigned times)
{
	assert_int_equal(eventfd_write(fake.eventfd[id], times), 0);
}

/* Waits until the subscription has something to tell. */
static struct memctl_notice hear(struct memctl *m, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct memctl_notice n = { 0 };

	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	assert_int_equal(memctl_notice(m, fd, &n), 0);
	return n;
}

static void expect(struct memctl_notice n, uint64_t fired, unsigned missed, bool is_removed)
{
	assert_int_equal(n.fired, fired);
	assert_int_equal(n.missed, missed);
	assert_int_equal(n.is_removed, is_removed);
}

static void test_notifications_are_counted(void **state)
{
	struct memctl *m = open_it();
	int fd = memctl_subscribe(m, "/a", "oom");
	struct memctl_notice n;

	(void)state;
	assert_true(fd >= 0);
	fire(0, 3);
	expect(hear(m, fd), 3, 0, false);
	assert_int_equal(memctl_notice(m, fd, &n), 0);
	expect(n, 0, 0, false);
	memctl_close(m);
}

/* The same descriptor, with nobody asking for anything. */
static void test_a_lost_connection_comes_back(void **state)
{
	struct memctl *m = open_it();
	int first = memctl_subscribe(m, "/a", "oom"), second = memctl_subscribe(m, "/b", "events");

	(void)state;
	for (unsigned round = 1; round <= 3; round++) {
		hang_up();
		wait_for_ids(2 * round + 2);
		expect(hear(m, first), 0, 1, false);
		expect(hear(m, second), 0, 1, false);
		fire(2 * round, 2);
		fire(2 * round + 1, 5);
		expect(hear(m, first), 2, 0, false);
		expect(hear(m, second), 5, 0, false);
	}
	memctl_close(m);
}

/* What fired before the daemon went and what it means that it went are told apart. */
static void test_a_loss_and_notifications_at_once(void **state)
{
	struct memctl *m = open_it();
	int fd = memctl_subscribe(m, "/a", "oom");

	(void)state;
	fire(0, 2);
	hang_up();
	wait_for_ids(2);
	assert_int_equal(memctl_set(m, "/a", NULL), 0); /* the reply was read, so the wake-up is there */
	hang_up();
	wait_for_ids(3);
	assert_int_equal(memctl_set(m, "/a", NULL), 0);
	fire(2, 1);
	expect(hear(m, fd), 3, 2, false);
	memctl_close(m);
}

static void test_a_daemon_that_was_away(void **state)
{
	struct memctl *m = open_it();
	int fd = memctl_subscribe(m, "/a", "oom");

	(void)state;
	disappear();
	assert_int_equal(memctl_set(m, "/a", NULL), -ENOTCONN);
	appear();
	wait_for_ids(2);
	expect(hear(m, fd), 0, 1, false);
	memctl_close(m);
}

static void test_the_group_went_with_the_daemon(void **state)
{
	struct memctl *m = open_it();
	int fd = memctl_subscribe(m, "/a", "oom");
	struct memctl_notice n;

	(void)state;
	fake.refusal = "ENOENT";
	hang_up();
	expect(hear(m, fd), 0, 1, true);
	assert_int_equal(memctl_notice(m, fd, &n), 0);
	expect(n, 0, 0, true);
	assert_int_equal(memctl_unsubscribe(m, fd), 0);
	memctl_close(m);
}

static void test_refused_anew_and_tried_again(void **state)
{
	struct memctl *m = open_it();
	int fd = memctl_subscribe(m, "/a", "oom");
	struct memctl_notice n;

	(void)state;
	fake.refusal = "EMFILE";
	hang_up();
	assert_int_equal(memctl_set(m, "/a", NULL), 0); /* other requests go on */
	assert_int_equal(memctl_notice(m, fd, &n), 0);
	expect(n, 0, 0, false);
	fake.refusal = NULL;
	wait_for_ids(2);
	expect(hear(m, fd), 0, 1, false);
	memctl_close(m);
}

static void test_removal_is_no_notification(void **state)
{
	struct memctl *m = open_it();
	int fd = memctl_subscribe(m, "/a", "oom");

	(void)state;
	fake.is_removed = true;
	fire(0, 3);
	expect(hear(m, fd), 2, 0, true);
	hang_up(); /* it is not subscribed again */
	assert_int_equal(memctl_set(m, "/a", NULL), 0);
	assert_int_equal(fake.ids, 1);
	memctl_close(m);
}

static void test_ending(void **state)
{
	struct memctl *m = open_it();
	int first = memctl_subscribe(m, "/a", "oom"), second = memctl_subscribe(m, "/a", "events");
	struct memctl_notice n;

	(void)state;
	assert_int_equal(memctl_unsubscribe(m, first), 0);
	assert_int_equal(fake.unsubscribed, 1);
	assert_int_equal(memctl_unsubscribe(m, first), -EBADF);
	assert_int_equal(memctl_notice(m, first, &n), -EBADF);
	assert_int_equal(memctl_unsubscribe(m, 0), -EBADF);
	fire(1, 1);
	expect(hear(m, second), 1, 0, false);
	memctl_close(m);
}

static unsigned count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* A thread that was joined may be seen for a moment more. */
static void expect_entries(const char *path, unsigned n)
{
	for (int waited = 0; count_entries(path) != n && waited < DEADLINE_MS; waited++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(count_entries(path), n);
}

/* Neither a thread nor a descriptor for who subscribes to nothing, and none left by who did. */
static void test_what_it_costs_the_host(void **state)
{
	unsigned descriptors, threads;
	struct memctl *m = open_it();

	(void)state;
	descriptors = count_entries("/proc/self/fd");
	threads = count_entries("/proc/self/task");
	close_it(m);
	m = open_it();
	expect_entries("/proc/self/task", threads);
	fake.refusal = "EINVAL";
	assert_int_equal(memctl_subscribe(m, "/a", "nonsense"), -EINVAL);
	assert_string_equal(memctl_error(), "refused");
	fake.refusal = NULL;
	for (int i = 0; i < 10; i++)
		assert_true(memctl_subscribe(m, "/a", "oom") >= 0);
	close_it(m);
	m = open_it();
	for (unsigned i = 0; i < fake.ids; i++) {
		(void)close(fake.eventfd[i]);
		fake.eventfd[i] = -1;
	}
	expect_entries("/proc/self/fd", descriptors);
	expect_entries("/proc/self/task", threads);
	close_it(m);
}

static void *subscribe_again_and_again(void *arg)
{
	struct memctl *m = arg;

	for (int i = 0; i < 100; i++) {
		int fd = memctl_subscribe(m, "/a", "oom");
		struct memctl_notice n;

		/* hung up on once too often at a stretch: said so, and nothing is left of it */
		if (fd == -ECONNRESET || fd == -ENOTCONN || fd == -ECONNREFUSED)
			continue;
		if (fd < 0 || memctl_notice(m, fd, &n) || memctl_unsubscribe(m, fd))
			return (void *)(uintptr_t)memctl_error();
	}
	return NULL;
}

static void test_threads_and_hang_ups(void **state)
{
	struct memctl *m = open_it();
	int kept = memctl_subscribe(m, "/a", "oom");
	struct memctl_notice n;
	pthread_t thread[4];
	void *bad = NULL;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, subscribe_again_and_again, m), 0);
	for (int i = 0; i < 50; i++) {
		(void)poll(NULL, 0, 1);
		hang_up();
	}
	for (int i = 0; i < 4; i++) {
		void *one;

		(void)pthread_join(thread[i], &one);
		bad = bad ? bad : one;
	}
	if (bad)
		print_message("# %s\n", (const char *)bad);
	assert_null(bad);
	while (memctl_set(m, "/a", NULL))
		;
	n = hear(m, kept);
	assert_int_equal(n.fired, 0);
	assert_true(n.missed >= 1);
	memctl_close(m);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_notifications_are_counted),	     TEST(test_a_lost_connection_comes_back),
		TEST(test_a_loss_and_notifications_at_once), TEST(test_a_daemon_that_was_away),
		TEST(test_the_group_went_with_the_daemon),   TEST(test_refused_anew_and_tried_again),
		TEST(test_removal_is_no_notification),	     TEST(test_ending),
		TEST(test_what_it_costs_the_host),	     TEST(test_threads_and_hang_ups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
