/* SPDX-License-Identifier: MIT */
/* The socket of systemd's memory-pressure protocol. */
#include "controld/watch_socket.h"

#include "controld/keeper.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/notify.h"
#include "controld/proto.h"

#include "accounting/group.h"
#include "accounting/member.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128
#define CONNECTIONS_MAX 8192u
#define EVENT "pressure:medium,local"

struct watcher {
	struct watcher *next, **at;
	struct daemon *daemon;
	struct served *served;
	sd_event_source *connection; /* owns the socket */
	sd_event_source *alarm;	     /* owns the eventfd of its subscriptions */
	pid_t pid;
};

struct watch_socket {
	sd_event_source *source; /* owns the socket */
	struct watcher *watchers;
	unsigned count;
	int keeper; /* -1: none yet */
	char keeper_path[sizeof(((struct rundir *)0)->path) + 16];
	int spare; /* given up for a moment to turn a program away when no descriptor is left */
	char path[sizeof(((struct rundir *)0)->path) + 16];
	ino_t inode;
};

/* Not when its segment was removed, and is served no more. */
static void release(struct watcher *w)
{
	for (struct served *s = w->daemon->served; s; s = s->next)
		if (s == w->served)
			notify_release(s, w);
}

static void drop(struct watcher *w)
{
	release(w);
	w->daemon->watch_socket->count--;
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	sd_event_source_disable_unref(w->alarm);
	sd_event_source_disable_unref(w->connection);
	free(w);
}

/* ---- what it is told --------------------------------------------------------------------- */

/* A program that does not read is told once, not more and more. */
static int on_alarm(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct watcher *w = userdata;
	int to = sd_event_source_get_io_fd(w->connection);
	int unread = 0;
	eventfd_t count;

	(void)source;
	(void)revents;
	(void)eventfd_read(fd, &count);
	if (ioctl(to, SIOCOUTQ, &unread) == 0 && unread)
		return 0;
	(void)send(to, "p", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* if it has gone, the hang-up tells */
	return 0;
}

/* The group of a member; of anybody else, the root: he is told when the machine is short of memory. */
static uint16_t group_of(const struct watcher *w)
{
	const struct segment *seg = &w->served->seg;
	uint64_t start_time;
	uint32_t member;

	if (w->pid == 0 || w->daemon->world->start_time(w->pid, &start_time) ||
	    member_find(seg, (uint32_t)w->pid, start_time, &member))
		return GROUP_ROOT;
	return mc_load_full(&member_of(seg, member)->group);
}

/* Its group and all above: reclaim for the sake of any of them may take from it. */
static int subscribe(struct watcher *w)
{
	const struct segment *seg = &w->served->seg;
	int fd = sd_event_source_get_io_fd(w->alarm);
	uint16_t group = group_of(w);
	struct complaint why;

	for (;; group = group_parent(seg, group)) {
		int own = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* it becomes the notifier's */
		int err = own < 0 ? -errno : notify_add(w->served, group, EVENT, own, w, &why);

		if (err < 0 || group == GROUP_ROOT)
			return err < 0 ? err : 0;
	}
}

/* ---- connections ------------------------------------------------------------------------- */

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	char ignored[4096];
	ssize_t n = revents & EPOLLIN ? recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT) : -1;
	struct watcher *w = userdata;
	struct daemon *d = w->daemon;

	(void)source;
	if (n > 0 || (n < 0 && !(revents & (EPOLLHUP | EPOLLERR))))
		return 0;
	drop(w);
	loop_rearm(d);
	return 0;
}

static bool is_allowed(int fd, pid_t *ret_pid)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
		return false;
	*ret_pid = who.pid;
	return who.uid == geteuid() || who.uid == 0;
}

static int add_alarm(struct watcher *w)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int err = fd < 0 ? -errno : sd_event_add_io(w->daemon->event, &w->alarm, fd, EPOLLIN, on_alarm, w);

	if (err >= 0)
		err = sd_event_source_set_io_fd_own(w->alarm, true);
	else if (fd >= 0)
		(void)close(fd);
	return err;
}

static void enlist(struct watch_socket *s, struct watcher *w)
{
	w->next = s->watchers;
	w->at = &s->watchers;
	if (w->next)
		w->next->at = &w->next;
	s->watchers = w;
	s->count++;
}

/* Has the connection kept beyond our end; without a keeper it ends with us. */
static void give_to_keeper(struct watch_socket *s, int fd)
{
	int err = s->keeper < 0 ? -ENOTCONN : keeper_give(s->keeper, fd);

	if (!err)
		return;
	if (s->keeper >= 0)
		(void)close(s->keeper);
	s->keeper = keeper_start(s->keeper_path);
	err = s->keeper < 0 ? s->keeper : keeper_give(s->keeper, fd);
	if (err)
		log_line(LOG_WARNING, "no process keeps the connections of %s: %s, ignoring", s->path, strerror(-err));
}

/* `fd` is its own from then on. */
static bool add_watcher(struct daemon *d, int fd)
{
	struct watcher *w = calloc(1, sizeof(*w));
	int err;

	if (!w || !is_allowed(fd, &w->pid) || d->watch_socket->count >= CONNECTIONS_MAX ||
	    sd_event_add_io(d->event, &w->connection, fd, EPOLLIN, on_connection, w) < 0) {
		free(w);
		(void)close(fd);
		return false;
	}
	(void)sd_event_source_set_io_fd_own(w->connection, true);
	w->daemon = d;
	w->served = d->served;
	enlist(d->watch_socket, w);
	err = add_alarm(w);
	if (err >= 0)
		err = subscribe(w);
	if (err >= 0)
		return true;
	log_line(LOG_WARNING, "cannot tell process %d of memory pressure: %s, hanging up", (int)w->pid, strerror(-err));
	drop(w);
	return false;
}

/* Without a descriptor to accept with, the program would stay in the queue and wake us for ever. */
static void refuse_one(struct watch_socket *s, int listening)
{
	int fd;

	(void)close(s->spare);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		(void)close(fd);
	s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int on_program(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct daemon *d = userdata;
	int program = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)revents;
	if (program < 0 && (errno == EMFILE || errno == ENFILE))
		refuse_one(d->watch_socket, fd);
	else if (program >= 0 && add_watcher(d, program))
		give_to_keeper(d->watch_socket, program);
	loop_rearm(d);
	return 0;
}

void watch_socket_move(struct daemon *d, pid_t pid)
{
	for (struct watcher *w = d->watch_socket ? d->watch_socket->watchers : NULL; w; w = w->next) {
		if (w->pid != pid)
			continue;
		release(w);
		w->served = d->served;
		(void)subscribe(w);
	}
}

/* ---- the socket -------------------------------------------------------------------------- */

static int listen_at(int fd, struct watch_socket *s)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	if (strlen(s->path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, s->path);
	(void)unlink(s->path); /* the lock is ours, so this is a dead daemon's */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(s->path, 0600) || listen(fd, BACKLOG) ||
	    stat(s->path, &st))
		return -errno;
	s->inode = st.st_ino;
	return 0;
}

static struct watch_socket *make(const struct daemon *d)
{
	struct watch_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->keeper = -1;
	s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)snprintf(s->path, sizeof(s->path), "%s/%s", d->rundir.path, PROTO_PRESSURE_NAME);
	(void)snprintf(s->keeper_path, sizeof(s->keeper_path), "%s/%s", d->rundir.path, KEEPER_NAME);
	return s;
}

/* What was connected to the last daemon is connected to us. */
static void take_over(void *daemon, int fd)
{
	(void)add_watcher(daemon, fd);
}

int watch_socket_open(struct daemon *d, struct complaint *why)
{
	struct watch_socket *s = d->watch_socket ? d->watch_socket : make(d);
	int fd = s ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	int err = fd < 0 ? -errno : 0;

	if (!s)
		return complain(why, -ENOMEM, "out of memory at start");
	d->watch_socket = s;
	if (s->keeper < 0)
		s->keeper = keeper_find(s->keeper_path, take_over, d);
	s->source = sd_event_source_disable_unref(s->source);
	if (!err)
		err = listen_at(fd, s);
	if (!err)
		err = sd_event_add_io(d->event, &s->source, fd, EPOLLIN, on_program, d);
	if (err >= 0)
		return sd_event_source_set_io_fd_own(s->source, true);
	if (fd >= 0)
		(void)close(fd);
	return complain(why, err, "cannot listen at %s: %s", s->path, strerror(-err));
}

bool watch_socket_is_there(const struct watch_socket *s)
{
	struct stat st;

	return s && s->source && lstat(s->path, &st) == 0 && st.st_ino == s->inode;
}

unsigned watch_socket_connections(const struct watch_socket *s)
{
	return s ? s->count : 0;
}

void watch_socket_close(struct daemon *d)
{
	struct watch_socket *s = d->watch_socket;

	if (!s)
		return;
	if (watch_socket_is_there(s))
		(void)unlink(s->path);
	if (!s->count && s->keeper >= 0)
		(void)unlink(s->keeper_path);
	while (s->watchers)
		drop(s->watchers);
	sd_event_source_disable_unref(s->source);
	if (s->keeper >= 0)
		(void)close(s->keeper);
	if (s->spare >= 0)
		(void)close(s->spare);
	free(s);
	d->watch_socket = NULL;
}
