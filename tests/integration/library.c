/* SPDX-License-Identifier: MIT */
/* libmemctl from outside, with a daemon of its own. */
#include "tests/lib/unit.h"

#include "memctl/memctl.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 200

static char dir[64];

static struct memctl *open_it(void)
{
	struct memctl *m = NULL;

	assert_int_equal(memctl_open(dir, 0, &m), 0);
	assert_non_null(m);
	return m;
}

/* Returns when it has ended and with it all its connections. */
static void end_daemon(int signal)
{
	struct pollfd p = { .events = POLLIN };
	struct memctl *m;
	pid_t pid;

	if (memctl_open(dir, MEMCTL_NO_START, &m))
		return;
	pid = memctl_daemon_pid(m);
	memctl_close(m);
	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	(void)kill(pid, signal);
	(void)poll(&p, 1, 60000);
	(void)close(p.fd);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/dev/shm/memctl-lib-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "limits", "counters", "control.sock", "memctld.pid", "memctld.lock" };
	char path[128];

	(void)state;
	end_daemon(SIGTERM);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}

static void test_no_start(void **state)
{
	struct memctl *m = NULL;

	(void)state;
	assert_int_equal(memctl_open(dir, MEMCTL_NO_START, &m), -ENOTCONN);
	assert_null(m);
	assert_non_null(strstr(memctl_error(), "no daemon runs in"));
	assert_int_equal(memctl_open(dir, 0x80, &m), -EINVAL);
	assert_int_equal(memctl_open("relative", 0, &m), -EINVAL);
	assert_null(m);
	memctl_close(NULL);
}

static void test_open_says_where(void **state)
{
	struct memctl *m = open_it();

	(void)state;
	assert_string_equal(memctl_dir(m), dir);
	assert_true(memctl_daemon_pid(m) > 1);
	assert_true(strlen(memctl_version()) > 0);
	memctl_close(m);
}

static void test_groups(void **state)
{
	const char *limits[] = { "memory.max=64M", "memory.low=4k", NULL };
	const char *more[] = { "memory.max=max", NULL };
	struct memctl *m = open_it();
	uint64_t n = 5;

	(void)state;
	assert_int_equal(memctl_create(m, "/a/b", 0, limits), -ENOENT);
	assert_int_equal(memctl_create(m, "/a/b", MEMCTL_PARENTS, limits), 0);
	assert_int_equal(memctl_create(m, "/a/b", 0, NULL), -EEXIST);
	assert_int_equal(memctl_get_number(m, "/a/b", "memory.max", &n), 0);
	assert_int_equal(n, 64 << 20);
	assert_int_equal(memctl_set(m, "/a/b", more), 0);
	assert_int_equal(memctl_get_number(m, "/a/b", "memory.max", &n), 0);
	assert_true(n == MEMCTL_MAX);
	assert_int_equal(memctl_get_number(m, "/a/b", "memory.events.oom", &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(memctl_remove(m, "/a", 0), -EBUSY);
	assert_int_equal(memctl_remove(m, "/a", MEMCTL_RECURSIVE), 0);
	memctl_close(m);
}

static void test_failures_leave_results(void **state)
{
	const char *bad[] = { "memory.max=64M", "nonsense", NULL };
	struct memctl *m = open_it();
	uint64_t n = 4711;

	(void)state;
	assert_int_equal(memctl_get_number(m, "/nix", "memory.max", &n), -ENOENT);
	assert_non_null(strstr(memctl_error(), "/nix"));
	assert_int_equal(memctl_get_number(m, "/", "memory.nix", &n), -ENOENT);
	assert_int_equal(memctl_get_number(m, "/", "memory.charge", &n), -EINVAL);
	assert_int_equal(memctl_get_number(m, "/", "memory.kmem.usage_in_bytes", &n), -EOPNOTSUPP);
	assert_int_equal(n, 4711);
	assert_int_equal(memctl_create(m, "/a", 0, bad), -EINVAL);
	assert_int_equal(memctl_create(m, "/a", 0x40, NULL), -EINVAL);
	assert_int_equal(memctl_create(m, "/\xff", 0, NULL), -EINVAL);
	assert_int_equal(memctl_get_number(m, "/a", "memory.max", &n), -ENOENT);
	memctl_close(m);
}

static void test_parents_are_undone(void **state)
{
	const char *bad[] = { "memory.max=1x", NULL };
	struct memctl *m = open_it();
	uint64_t n;

	(void)state;
	assert_int_equal(memctl_create(m, "/a", 0, NULL), 0);
	assert_int_equal(memctl_create(m, "/a/b/c", MEMCTL_PARENTS, bad), -EINVAL);
	assert_non_null(strstr(memctl_error(), "1x"));
	assert_int_equal(memctl_get_number(m, "/a/b", "memory.max", &n), -ENOENT);
	assert_int_equal(memctl_get_number(m, "/a", "memory.max", &n), 0);
	assert_int_equal(memctl_remove(m, "/a", 0), 0);
	memctl_close(m);
}

static int count_groups(const struct memctl_group *g, void *arg)
{
	assert_true(g->path[0] == '/');
	assert_true(g->max == MEMCTL_MAX);
	return ++*(int *)arg == 3 ? 77 : 0;
}

static void test_a_callback_ends_the_walk(void **state)
{
	struct memctl *m = open_it();
	char path[16];
	int n = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		(void)snprintf(path, sizeof(path), "/g%d", i);
		assert_int_equal(memctl_create(m, path, 0, NULL), 0);
	}
	assert_int_equal(memctl_list(m, "/", 0, count_groups, &n), 77);
	assert_int_equal(n, 3);
	for (int i = 0; i < 5; i++) {
		(void)snprintf(path, sizeof(path), "/g%d", i);
		assert_int_equal(memctl_remove(m, path, 0), 0);
	}
	memctl_close(m);
}

struct seen {
	int numbers, words, fields;
};

static int see(const struct memctl_value *v, void *arg)
{
	struct seen *s = arg;

	s->numbers += v->is_number;
	s->words += !v->is_number;
	s->fields += v->field != NULL;
	if (strcmp(v->key, "memory.max") == 0) {
		assert_false(v->is_number);
		assert_string_equal(v->text, "max");
		assert_true(v->number == MEMCTL_MAX);
	}
	return 0;
}

static void test_all_values(void **state)
{
	struct memctl *m = open_it();
	struct seen s = { 0 };

	(void)state;
	assert_int_equal(memctl_get(m, "/", NULL, see, &s), 0);
	assert_true(s.numbers > 10 && s.words >= 3 && s.fields > 10);
	s = (struct seen){ 0 };
	assert_int_equal(memctl_status(m, see, &s), 0);
	assert_true(s.numbers > 3 && s.words >= 2);
	memctl_close(m);
}

static int count_keys(const struct memctl_key *key, void *arg)
{
	assert_true(*key->name && *key->access && *key->format && *key->help);
	++*(int *)arg;
	return 0;
}

static int count_members(const struct memctl_member *member, void *arg)
{
	(void)member;
	++*(int *)arg;
	return 0;
}

static void test_keys_members_kill(void **state)
{
	struct memctl *m = open_it();
	int n = 0;

	(void)state;
	assert_int_equal(memctl_keys(m, count_keys, &n), 0);
	assert_true(n > 20);
	n = 0;
	assert_int_equal(memctl_members(m, "/", 0, count_members, &n), 0);
	assert_int_equal(memctl_members(m, "/", MEMCTL_LOCAL, count_members, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(memctl_kill(m, "/", SIGTERM), 0);
	assert_int_equal(memctl_kill(m, "/", 0), -EINVAL);
	memctl_close(m);
}

static void test_raw_requests(void **state)
{
	struct memctl *m = open_it();
	char *reply = NULL;

	(void)state;
	assert_int_equal(memctl_request(m, "{\"v\":1,\"op\":\"hello\"}", &reply), 0);
	assert_non_null(strstr(reply, "\"ok\":true"));
	free(reply);
	reply = NULL;
	assert_int_equal(memctl_request(m, "{\"v\":1,\"op\":\"nix\"}", &reply), -EOPNOTSUPP);
	assert_int_equal(memctl_request(m, "{", &reply), -EINVAL);
	assert_null(reply);
	memctl_close(m);
}

static void test_oversized_requests(void **state)
{
	struct memctl *m = open_it();
	char *long_path = malloc(70000);
	uint64_t n;

	(void)state;
	memset(long_path, 'a', 69999);
	long_path[0] = '/';
	long_path[69999] = 0;
	assert_int_equal(memctl_get_number(m, long_path, "memory.max", &n), -EMSGSIZE);
	assert_int_equal(memctl_get_number(m, "/", "memory.max", &n), 0);
	free(long_path);
	memctl_close(m);
}

static void test_the_daemon_is_replaced(void **state)
{
	const char *limits[] = { "memory.max=64M", NULL };
	struct memctl *m = open_it();
	uint64_t n;

	(void)state;
	assert_int_equal(memctl_create(m, "/a", 0, limits), 0);
	end_daemon(SIGKILL);
	assert_int_equal(memctl_get_number(m, "/a", "memory.max", &n), 0);
	assert_int_equal(n, 64 << 20);
	assert_int_equal(memctl_remove(m, "/a", 0), 0);
	memctl_close(m);
}

static void test_transient_groups_go(void **state)
{
	struct memctl *m = open_it();
	uint64_t n;

	(void)state;
	assert_int_equal(memctl_create(m, "/t", MEMCTL_TRANSIENT, NULL), 0);
	assert_int_equal(memctl_get_number(m, "/t", "memory.max", &n), 0);
	memctl_close(m);
	m = open_it();
	for (int i = 0; i < 2000 && memctl_get_number(m, "/t", "memory.max", &n) == 0; i++) {
		const struct timespec pause = { .tv_nsec = 10000000 };

		(void)nanosleep(&pause, NULL);
	}
	assert_int_equal(memctl_get_number(m, "/t", "memory.max", &n), -ENOENT);
	memctl_close(m);
}

struct worker {
	pthread_t thread;
	struct memctl *m;
	int number;
	bool failed;
};

/* Each sees its own answers and its own errors. */
static void *work(void *arg)
{
	struct worker *w = arg;
	char path[16], setting[32];
	const char *settings[] = { setting, NULL };
	uint64_t n;

	(void)snprintf(path, sizeof(path), "/w%d", w->number);
	(void)snprintf(setting, sizeof(setting), "memory.max=%dM", w->number + 1);
	for (int i = 0; i < ROUNDS && !w->failed; i++) {
		w->failed = memctl_create(w->m, path, 0, settings) || memctl_get_number(w->m, path, "memory.max", &n) ||
			    n != (uint64_t)(w->number + 1) << 20 || memctl_remove(w->m, path, 0) ||
			    memctl_remove(w->m, path, 0) != -ENOENT || !strstr(memctl_error(), path);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct worker w[THREADS];
	struct memctl *m = open_it();

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .m = m, .number = i };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(w[i].thread, NULL);
		assert_false(w[i].failed);
	}
	memctl_close(m);
}

static int count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* Starting the daemon must not disturb the host: descriptors, children, signals. */
static void test_the_host_is_left_alone(void **state)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN }, normal = { .sa_handler = SIG_DFL };
	int before = count_descriptors();

	(void)state;
	end_daemon(SIGTERM);
	memctl_close(open_it());
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	end_daemon(SIGTERM);
	(void)sigaction(SIGCHLD, &ignore, NULL);
	memctl_close(open_it());
	(void)sigaction(SIGCHLD, &normal, NULL);
	assert_int_equal(count_descriptors(), before);
}

/* Descriptors 0 to 2 closed: the pipes then have these numbers. */
static void test_a_host_without_stdio(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	end_daemon(SIGTERM);
	pid = fork();
	if (pid == 0) {
		struct memctl *m;

		for (int fd = 0; fd <= 2; fd++)
			(void)close(fd);
		_exit(memctl_open(dir, 0, &m) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- a daemon that answers nonsense --------------------------------------------------------- */

#define FAKE_DIR "/dev/shm/memctl-fake-XXXXXX"
#define HELLO "{\"ok\":true,\"v\":1}"

struct fake {
	char dir[sizeof(FAKE_DIR)];
	struct sockaddr_un address;
	int listening;
	pthread_t thread;
	const char *hello;
	const char *answer; /* to what follows; NULL: hangs up */
	size_t size;
};

/* Two connections at most: libmemctl tries a greeting that was cut off again. */
static void *serve_fake(void *arg)
{
	struct fake *f = arg;
	static char packet[70000];
	int fd;

	while ((fd = accept(f->listening, NULL, NULL)) >= 0) {
		if (recv(fd, packet, sizeof(packet), 0) > 0)
			(void)send(fd, f->hello, strlen(f->hello), MSG_NOSIGNAL);
		if (recv(fd, packet, sizeof(packet), 0) > 0 && f->answer)
			(void)send(fd, f->answer, f->size, MSG_NOSIGNAL);
		(void)close(fd);
	}
	return NULL;
}

static void start_fake(struct fake *f, const char *hello, const char *answer, size_t size)
{
	*f = (struct fake){ .dir = FAKE_DIR, .hello = hello, .answer = answer, .size = size };
	f->address.sun_family = AF_UNIX;
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->address.sun_path, sizeof(f->address.sun_path), "%s/control.sock", f->dir);
	f->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listening, (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	assert_int_equal(listen(f->listening, 5), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve_fake, f), 0);
}

static void end_fake(struct fake *f)
{
	(void)shutdown(f->listening, SHUT_RDWR);
	(void)pthread_join(f->thread, NULL);
	(void)close(f->listening);
	(void)unlink(f->address.sun_path);
	(void)rmdir(f->dir);
}

/* What a request gets from a daemon that says this. */
static int ask_fake(const char *hello, const char *answer, size_t size)
{
	struct memctl *m;
	struct fake f;
	uint64_t n = 4711;
	int err;

	start_fake(&f, hello, answer, size);
	err = memctl_open(f.dir, MEMCTL_NO_START, &m);
	if (!err) {
		err = memctl_get_number(m, "/", "memory.max", &n);
		memctl_close(m);
	}
	end_fake(&f);
	assert_int_equal(n, 4711);
	return err;
}

static int answer_fake(const char *answer)
{
	return ask_fake(HELLO, answer, strlen(answer));
}

static void test_nonsense_is_refused(void **state)
{
	static char oversized[66000];

	(void)state;
	assert_int_equal(ask_fake("hello", NULL, 0), -EPROTO);
	assert_int_equal(ask_fake("{\"ok\":true,\"v\":2}", NULL, 0), -EPROTO);
	assert_non_null(strstr(memctl_error(), "version 2"));
	assert_int_equal(ask_fake("{\"ok\":true}", NULL, 0), -EPROTO);
	assert_int_equal(ask_fake("{\"ok\":false}", NULL, 0), -EIO);
	assert_int_equal(ask_fake(HELLO, NULL, 0), -ECONNRESET);
	assert_int_equal(answer_fake("[]"), -EPROTO);
	assert_int_equal(answer_fake("\xff"), -EPROTO);
	assert_int_equal(answer_fake("{}"), -EIO);
	assert_int_equal(answer_fake("{\"ok\":1}"), -EIO);
	assert_int_equal(answer_fake("{\"ok\":false,\"errno\":\"ENIX\",\"error\":5}"), -EIO);
	assert_int_equal(answer_fake("{\"ok\":false,\"errno\":\"EBUSY\",\"error\":\"%s%n\"}"), -EBUSY);
	assert_string_equal(memctl_error(), "%s%n");
	assert_int_equal(answer_fake("{\"ok\":true}"), -EINVAL);
	assert_int_equal(answer_fake("{\"ok\":true,\"values\":[1]}"), -EINVAL);
	assert_int_equal(answer_fake("{\"ok\":true,\"values\":{\"memory.max\":null}}"), -EINVAL);
	memset(oversized, ' ', sizeof(oversized));
	assert_int_equal(ask_fake(HELLO, oversized, sizeof(oversized)), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_start),
		cmocka_unit_test(test_open_says_where),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_failures_leave_results),
		cmocka_unit_test(test_parents_are_undone),
		cmocka_unit_test(test_a_callback_ends_the_walk),
		cmocka_unit_test(test_all_values),
		cmocka_unit_test(test_keys_members_kill),
		cmocka_unit_test(test_raw_requests),
		cmocka_unit_test(test_oversized_requests),
		cmocka_unit_test(test_the_daemon_is_replaced),
		cmocka_unit_test(test_transient_groups_go),
		cmocka_unit_test(test_nonsense_is_refused),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_the_host_is_left_alone),
		cmocka_unit_test(test_a_host_without_stdio),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
