/* SPDX-License-Identifier: MIT */
/* The bell: who waits is woken, no ring is lost, nobody waits in vain. */
#include "tests/lib/grounded.h"

#include "accounting/bell.h"
#include "accounting/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void a_ring_before_the_wait_is_not_lost(void **state)
{
	uint32_t seen = bell_read(&g.seg);

	(void)state;
	errno = 1234;
	bell_ring(&g.seg);
	assert_int_equal(errno, 1234);
	alarm(5);
	assert_int_equal(bell_wait(&g.seg, seen, 0), seen + 1);
	alarm(0);
	assert_int_equal(mc_load_full(&g.seg.counters->header.bell_waiting), 0);
}

static void a_wait_ends_with_its_time(void **state)
{
	uint64_t from = clock_now_ns();

	(void)state;
	assert_int_equal(bell_wait(&g.seg, bell_read(&g.seg), 20000000), bell_read(&g.seg));
	assert_true(clock_now_ns() - from >= 20000000);
	assert_int_equal(mc_load_full(&g.seg.counters->header.bell_waiting), 0);
}

static void *ring_once_somebody_waits(void *unused)
{
	(void)unused;
	while (!mc_load_full(&g.seg.counters->header.bell_waiting))
		sched_yield();
	bell_ring(&g.seg);
	return NULL;
}

static void a_sleeper_is_woken(void **state)
{
	pthread_t thread;

	(void)state;
	alarm(10);
	for (int i = 0; i < 200; i++) {
		uint32_t seen = bell_read(&g.seg);

		assert_int_equal(pthread_create(&thread, NULL, ring_once_somebody_waits, NULL), 0);
		while (bell_wait(&g.seg, seen, 0) == seen)
			;
		pthread_join(thread, NULL);
	}
	alarm(0);
}

/* Another process, through a mapping of its own, and as fast as it can: each wait ends. */
static void rings_of_another_process_arrive(void **state)
{
	enum { RINGS = 20000 };
	uint32_t first = bell_read(&g.seg);
	uint32_t seen = first;
	int status = -1;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct segment seg;

		alarm(10);
		if (segment_attach(g.dir, SEGMENT_MEMBER, &seg))
			_exit(1);
		for (int i = 0; i < RINGS; i++)
			bell_ring(&seg);
		_exit(0);
	}
	alarm(10);
	while (seen != first + RINGS)
		seen = bell_wait(&g.seg, seen, 0);
	alarm(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, grounded_up, grounded_down)
	static const struct CMUnitTest tests[] = {
		TEST(a_ring_before_the_wait_is_not_lost),
		TEST(a_wait_ends_with_its_time),
		TEST(a_sleeper_is_woken),
		TEST(rings_of_another_process_arrive),
	};

	return cmocka_run_group_tests_name("accounting_bell", tests, NULL, NULL);
}
