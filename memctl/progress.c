/* SPDX-License-Identifier: MIT */
/* A line at a terminal while something takes long. It has a thread and a connection of its own. */
#include "memctl/progress.h"

#include "accounting/units.h"
#include "memctl/memctl.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_NS 300000000
#define NEXT_NS 200000000

static struct {
	const char *command, *group;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool has_thread, is_over, is_shown;
} now = { .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };

/* False: it is over. With the lock held. */
static bool rest(long ns)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ns;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (!now.is_over)
		if (pthread_cond_timedwait(&now.over, &now.lock, &until))
			break;
	return !now.is_over;
}

static double seconds_since(const struct timespec *begin)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)(t.tv_sec - begin->tv_sec) + (double)(t.tv_nsec - begin->tv_nsec) / 1e9;
}

static void *show(void *arg)
{
	struct memctl *m = NULL;
	struct timespec begin;
	char size[UNITS_BUF];

	(void)arg;
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	(void)pthread_mutex_lock(&now.lock);
	for (bool more = rest(FIRST_NS); more; more = rest(NEXT_NS)) {
		uint64_t held = 0;

		(void)pthread_mutex_unlock(&now.lock);
		if ((m || memctl_open(NULL, MEMCTL_NO_START, &m) == 0) &&
		    memctl_get_number(m, now.group, "memory.current", &held) == 0) {
			(void)fprintf(stderr, "\r\033[Kmemctl: %s: %.1f s, %s holds %s", now.command,
				      seconds_since(&begin), now.group, units_format(held, size));
			now.is_shown = true;
		}
		(void)pthread_mutex_lock(&now.lock);
	}
	(void)pthread_mutex_unlock(&now.lock);
	memctl_close(m);
	return NULL;
}

void progress_start(const char *command, const char *group)
{
	now.command = command;
	now.group = group;
	now.is_over = now.is_shown = false;
	now.has_thread = isatty(STDERR_FILENO) && pthread_create(&now.thread, NULL, show, NULL) == 0;
}

void progress_stop(void)
{
	if (!now.has_thread)
		return;
	(void)pthread_mutex_lock(&now.lock);
	now.is_over = true;
	(void)pthread_cond_signal(&now.over);
	(void)pthread_mutex_unlock(&now.lock);
	(void)pthread_join(now.thread, NULL);
	if (now.is_shown)
		(void)fputs("\r\033[K", stderr);
}
