/* SPDX-License-Identifier: MIT */
/* A thread that notices when the daemon goes away, and brings the connection back.
 *
 * contract      Started with the first subscription: who has none gets no thread. It takes no signals, and holds the
 *               lock only while it connects. Requests of other threads may find out first, and connect themselves.
 * patience      A daemon that ends is often followed by another: for a second we only look for one. Then we start one,
 *               as any call would, for without a daemon there are no events. MEMCTL_NO_START: we go on looking.
 */
#include "memctl/reconnect.h"

#include "memctl/client.h"
#include "memctl/error.h"
#include "memctl/subscribe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK 262144
#define LOOK_MS 20
#define PATIENCE_LOOKS 50
#define RETRY_MS 1000

/* Sleeps until something changes, the connection hangs up, or the time is over (-1: none). */
static void wait_for_change(struct memctl *m, int ms)
{
	struct pollfd p[2] = { { .fd = m->wake, .events = POLLIN }, { .fd = m->fd, .events = POLLRDHUP } };
	eventfd_t seen;

	(void)eventfd_read(m->wake, &seen); /* what changed while we had the lock */
	(void)pthread_mutex_unlock(&m->lock);
	(void)poll(p, 2, ms); /* a descriptor of -1 is passed over */
	(void)pthread_mutex_lock(&m->lock);
	p[1].fd = m->fd; /* perhaps another connection by now, with the old one's number */
	if (p[1].revents && poll(&p[1], 1, 0) > 0)
		client_drop(m);
}

/* Returns how long to wait before the next look; 0 with a connection. */
static int look_for_daemon(struct memctl *m, unsigned looks)
{
	bool is_patient = looks < PATIENCE_LOOKS;

	if (client_connect(m, !is_patient) == 0)
		return 0;
	return is_patient ? LOOK_MS : RETRY_MS;
}

static void *revive(void *arg)
{
	struct memctl *m = arg;
	unsigned looks = 0;

	(void)pthread_mutex_lock(&m->lock);
	while (!m->reviver_shall_end) {
		int ms = -1;

		if (m->fd >= 0) {
			looks = 0;
			ms = subscribe_retry(m) ? RETRY_MS : -1;
		} else if (subscribe_is_used(m)) {
			ms = look_for_daemon(m, looks++);
		}
		wait_for_change(m, ms);
	}
	(void)pthread_mutex_unlock(&m->lock);
	return NULL;
}

static int create(struct memctl *m)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int err;

	(void)sigfillset(&all);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&m->reviver, &attributes, revive, m);
	if (err == EINVAL) /* the host's thread-local variables do not fit beside it */
		err = pthread_create(&m->reviver, NULL, revive, m);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return -err;
}

int reconnect_start(struct memctl *m)
{
	int err;

	if (m->has_reviver)
		return 0;
	m->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = m->wake < 0 ? -errno : create(m);
	if (!err) {
		m->has_reviver = true;
		return 0;
	}
	if (m->wake >= 0)
		(void)close(m->wake);
	m->wake = -1;
	return error_set(err, "cannot start the thread that watches the connection: %s", strerror(-err));
}

void reconnect_wake(struct memctl *m)
{
	if (m->wake >= 0)
		(void)eventfd_write(m->wake, 1);
}

void reconnect_stop(struct memctl *m)
{
	bool has_one;

	(void)pthread_mutex_lock(&m->lock);
	has_one = m->has_reviver;
	m->reviver_shall_end = true;
	reconnect_wake(m);
	(void)pthread_mutex_unlock(&m->lock);
	if (!has_one)
		return;
	(void)pthread_join(m->reviver, NULL);
	(void)close(m->wake);
	m->wake = -1;
}
