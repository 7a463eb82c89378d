/* SPDX-License-Identifier: MIT */
/* The event loop. */
#include "controld/loop.h"

#include "accounting/bell.h"
#include "controld/cycle.h"
#include "controld/listen.h"
#include "controld/log.h"
#include "controld/watch_socket.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

/* A storm of bells makes at most five hundred turns a second; a short-lived member that nobody has
 * seen yet keeps its charges so long at most. */
#define BELL_REST_NS 2000000
#define BELL_STACK 65536
/* Whoever removes the directory shall be through with it before we make a new one. */
#define DIR_REST_NS 200000000
#define TIMER_ACCURACY_US 20000
#define TIMER_SOON_NS 20000000 /* what is so near is not put off: somebody waits */

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	struct daemon *d = userdata;

	(void)source;
	log_line(LOG_INFO, "signal %d: ending", (int)si->ssi_signo);
	return sd_event_exit(d->event, 0);
}

static int on_turn(sd_event_source *source, void *userdata)
{
	struct daemon *d = userdata;

	(void)source;
	cycle_turn(d);
	loop_rearm(d);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;
	return on_turn(source, userdata);
}

static bool is_idle(const struct daemon *d)
{
	return listen_connections(d->listener) + watch_socket_connections(d->watch_socket) == 0 && daemon_is_unused(d);
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct daemon *d = userdata;

	(void)source;
	(void)usec;
	if (is_idle(d))
		return sd_event_exit(d->event, 0);
	return 0;
}

static void arm(sd_event_source *timer, uint64_t at_ns)
{
	(void)sd_event_source_set_time_accuracy(timer, TIMER_ACCURACY_US);
	(void)sd_event_source_set_time(timer, at_ns / 1000 + 1);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static int on_dir(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct daemon *d = userdata;

	(void)source;
	(void)event;
	arm(d->check, d->world->now_ns() + DIR_REST_NS);
	return 0;
}

static int on_check(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	daemon_check_dir(userdata);
	return 0;
}

static void arm_idle(struct daemon *d)
{
	int enabled = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(d->idle, &enabled);
	if (!d->idle_exit_ns || !is_idle(d))
		(void)sd_event_source_set_enabled(d->idle, SD_EVENT_OFF);
	else if (enabled == SD_EVENT_OFF)
		arm(d->idle, d->world->now_ns() + d->idle_exit_ns);
}

void loop_rearm(struct daemon *d)
{
	uint64_t next = 0;

	for (struct served *s = d->served; s; s = s->next)
		if (s->next_look_ns && (!next || s->next_look_ns < next))
			next = s->next_look_ns;
	if (next)
		arm(d->timer, next);
	if (next && next < d->world->now_ns() + TIMER_SOON_NS)
		(void)sd_event_source_set_time_accuracy(d->timer, 1);
	else if (!next)
		(void)sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	arm_idle(d);
}

void loop_request_turn(struct daemon *d)
{
	(void)sd_event_source_set_enabled(d->turn, SD_EVENT_ONESHOT);
}

static int add_timer(struct daemon *d, sd_event_source **ret, sd_event_time_handler_t handler)
{
	int err = sd_event_add_time(d->event, ret, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, handler, d);

	return err < 0 ? err : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int add_timers(struct daemon *d)
{
	int err = add_timer(d, &d->timer, on_timer);

	if (err >= 0)
		err = add_timer(d, &d->idle, on_idle);
	return err < 0 ? err : add_timer(d, &d->check, on_check);
}

static int add_signals(struct daemon *d)
{
	sigset_t set;
	int err;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL); /* the bell threads inherit it */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* ulimit -f: an error that we can tell */
	(void)signal(SIGHUP, SIG_IGN);
	err = sd_event_add_signal(d->event, NULL, SIGTERM, on_signal, d);
	return err < 0 ? err : sd_event_add_signal(d->event, NULL, SIGINT, on_signal, d);
}

int loop_open(struct daemon *d, struct complaint *why)
{
	int err = sd_event_new(&d->event);

	if (err >= 0)
		err = add_signals(d);
	if (err >= 0)
		err = add_timers(d);
	if (err >= 0)
		err = sd_event_add_defer(d->event, &d->turn, on_turn, d); /* the first turn at once */
	if (err >= 0)
		(void)sd_event_set_watchdog(d->event, true); /* where the service manager wants to hear of us */
	return err < 0 ? complain(why, err, "cannot make the event loop: %s", strerror(-err)) : 0;
}

int loop_run(struct daemon *d)
{
	int err = sd_event_loop(d->event);

	return err < 0 ? err : 0;
}

void loop_close(struct daemon *d)
{
	d->turn = sd_event_source_unref(d->turn);
	d->timer = sd_event_source_unref(d->timer);
	d->idle = sd_event_source_unref(d->idle);
	d->notice = sd_event_source_unref(d->notice);
	d->check = sd_event_source_unref(d->check);
	d->event = sd_event_unref(d->event);
}

/* By the path, no descriptor kept: an open one would keep the removed directory's inode alive. */
void loop_watch_dir(struct daemon *d)
{
	int err;

	d->notice = sd_event_source_unref(d->notice);
	err = sd_event_add_inotify(d->event, &d->notice, d->rundir.path,
				   IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVE_SELF, on_dir, d);
	if (err < 0)
		log_line(LOG_WARNING, "cannot watch %s: %s, ignoring", d->rundir.path, strerror(-err));
}

static void *bell_thread(void *arg)
{
	static const struct timespec rest = { .tv_nsec = BELL_REST_NS };
	struct served *s = arg;
	uint32_t seen = s->bell_seen;

	while (!mc_load_acquire(&s->bell_stop)) {
		uint32_t now = bell_wait(&s->seg, seen, 0);

		if (now == seen)
			continue;
		seen = now;
		(void)eventfd_write(s->bell_fd, 1);
		(void)nanosleep(&rest, NULL);
	}
	return NULL;
}

static int on_bell(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct served *s = userdata;
	eventfd_t rings;

	(void)source;
	(void)revents;
	(void)eventfd_read(fd, &rings);
	loop_request_turn(s->daemon);
	return 0;
}

static int start_thread(struct served *s)
{
	pthread_attr_t attributes;
	int err;

	s->bell_seen = bell_read(&s->seg); /* here: rings from now on are not missed */
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, BELL_STACK);
	err = pthread_create(&s->bell_thread, &attributes, bell_thread, s);
	(void)pthread_attr_destroy(&attributes);
	return -err;
}

int loop_add_bell(struct served *s, struct complaint *why)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int err = fd < 0 ? -errno : 0;

	if (!err)
		err = sd_event_add_io(s->daemon->event, &s->bell_source, fd, EPOLLIN, on_bell, s);
	if (err >= 0) {
		s->bell_fd = fd;
		err = start_thread(s);
		if (!err)
			return 0;
		s->bell_source = sd_event_source_unref(s->bell_source);
	}
	if (fd >= 0)
		(void)close(fd);
	s->bell_fd = -1;
	return complain(why, err, "cannot start the bell's thread: %s", strerror(-err));
}

void loop_remove_bell(struct served *s)
{
	if (s->bell_fd < 0)
		return;
	mc_store_release(&s->bell_stop, 1);
	bell_ring(&s->seg);
	(void)pthread_join(s->bell_thread, NULL);
	s->bell_source = sd_event_source_unref(s->bell_source);
	(void)close(s->bell_fd);
	s->bell_fd = -1;
}
