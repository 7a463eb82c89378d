/* SPDX-License-Identifier: MIT */
/* The control socket and its connections. */
#include "controld/listen.h"

#include "controld/command.h"
#include "controld/loop.h"
#include "controld/proto.h"
#include "controld/reclaim.h"
#include "controld/tidy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define BACKLOG 512

struct connection {
	struct connection *next, **at;
	struct daemon *daemon;
	sd_event_source *source; /* owns the socket */
	struct caller caller;
	bool is_promised; /* the reply comes later */
	char *reply; /* waits for room in the socket */
	size_t reply_size;
};

struct listener {
	sd_event_source *source; /* owns the socket */
	struct connection *connections;
	unsigned count;
	int spare;   /* given up for a moment to refuse a client when no descriptor is left */
	bool passed; /* by systemd: its file is not ours */
	char path[sizeof(((struct rundir *)0)->path) + 16];
	ino_t inode;
};

static void drop(struct connection *c)
{
	struct daemon *d = c->daemon;
	bool held = false;

	for (struct served *s = d->served; s; s = s->next) {
		held |= tidy_release(s, c);
		reclaim_release(s, c);
	}
	if (held)
		loop_request_turn(d);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	d->listener->count--;
	sd_event_source_disable_unref(c->source);
	free(c->reply);
	free(c);
}

/* Tries to send the reply; true while it has to wait. A client that cannot be sent to is hung up
 * on. */
static bool is_reply_waiting(struct connection *c, int fd)
{
	if (c->reply && send(fd, c->reply, c->reply_size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EAGAIN || errno == ENOBUFS)
			return true;
		(void)shutdown(fd, SHUT_RDWR);
	}
	free(c->reply);
	c->reply = NULL;
	return false;
}

static void answer(struct connection *c, const char *packet, ssize_t size, int flags)
{
	if (flags & MSG_TRUNC)
		c->reply = proto_refuse_oversized(&c->reply_size);
	else
		c->reply =
			proto_handle(c->daemon, &c->caller, packet, (size_t)size, &c->reply_size);
	c->is_promised = !(flags & MSG_TRUNC) && c->reply_size == PROTO_LATER;
}

/* Descriptors that come with a packet are dropped by the kernel: there is no room for them. */
static ssize_t receive(int fd, char *packet, int *ret_flags)
{
	struct iovec iov = { .iov_base = packet, .iov_len = PROTO_PACKET_MAX };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*ret_flags = message.msg_flags;
	return n;
}

/* Reads and answers one packet, so that no client keeps others waiting. False: the client has
 * gone. An empty packet reads like the end: only the hang-up tells them apart. */
static bool serve(struct connection *c, int fd, uint32_t revents)
{
	static char packet[PROTO_PACKET_MAX + 1];
	int flags = 0;
	ssize_t n = receive(fd, packet, &flags);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 && (revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)))
		return false;
	packet[n] = 0;
	answer(c, packet, n, flags);
	return true;
}

/* Nothing more is read from a client before its last reply has gone out. */
static void watch(struct connection *c, int fd)
{
	uint32_t events = EPOLLIN | EPOLLRDHUP;

	if (is_reply_waiting(c, fd))
		events = EPOLLOUT;
	else if (c->is_promised)
		events = EPOLLRDHUP;
	(void)sd_event_source_set_io_events(c->source, events);
}

/* False: the client has gone. */
static bool attend(struct connection *c, int fd, uint32_t revents)
{
	if (c->is_promised)
		return !(revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR));
	return is_reply_waiting(c, fd) || serve(c, fd, revents);
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct connection *c = userdata;
	struct daemon *d = c->daemon;

	(void)source;
	if (attend(c, fd, revents)) {
		watch(c, fd);
		return 0;
	}
	drop(c);
	loop_rearm(d);
	return 0;
}

/* The promise is forgotten when the connection is dropped (reclaim_release). */
static void keep_promise(const void *holder, char *text, size_t size)
{
	struct connection *c = (struct connection *)(uintptr_t)holder;

	c->is_promised = false;
	c->reply = text;
	c->reply_size = size;
	watch(c, sd_event_source_get_io_fd(c->source));
}

/* Ours and root's only. */
static bool is_allowed(int fd, struct caller *ret)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
		return false;
	ret->pid = who.pid;
	ret->uid = who.uid;
	return who.uid == geteuid() || who.uid == 0;
}

static void add_connection(struct daemon *d, int fd)
{
	struct listener *l = d->listener;
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || !is_allowed(fd, &c->caller) || l->count >= CONNECTIONS_MAX ||
	    sd_event_add_io(d->event, &c->source, fd, EPOLLIN | EPOLLRDHUP, on_connection, c) < 0) {
		free(c);
		(void)close(fd);
		return;
	}
	(void)sd_event_source_set_io_fd_own(c->source, true);
	c->caller.holder = c;
	c->caller.answer = keep_promise;
	c->daemon = d;
	c->next = l->connections;
	c->at = &l->connections;
	if (c->next)
		c->next->at = &c->next;
	l->connections = c;
	l->count++;
}

/* Without a descriptor to accept with, the client would stay in the queue and wake us for ever. */
static void refuse_one(struct listener *l, int listening)
{
	int fd;

	(void)close(l->spare);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		(void)close(fd);
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct daemon *d = userdata;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)revents;
	if (client >= 0)
		add_connection(d, client);
	else if (errno == EMFILE || errno == ENFILE)
		refuse_one(d->listener, fd);
	loop_rearm(d);
	return 0;
}

static int listen_at(int fd, struct listener *l)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	if (strlen(l->path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, l->path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(l->path, 0600) ||
	    listen(fd, BACKLOG) || stat(l->path, &st))
		return -errno;
	l->inode = st.st_ino;
	return 0;
}

/* The lock is ours, so a socket that is there is a dead daemon's. */
static int bind_at(struct listener *l, struct complaint *why)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return complain(why, -errno, "cannot make a socket: %m");
	(void)unlink(l->path);
	err = listen_at(fd, l);
	if (!err)
		return fd;
	(void)close(fd);
	return complain(why, err, "cannot listen at %s: %s", l->path, strerror(-err));
}

static int passed_socket(struct listener *l)
{
	if (sd_listen_fds(1) < 1 ||
	    sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
		return -1;
	l->passed = true;
	(void)fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK);
	return SD_LISTEN_FDS_START;
}

static struct listener *make_listener(const struct daemon *d)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)snprintf(l->path, sizeof(l->path), "%s/%s", d->rundir.path, PROTO_SOCKET_NAME);
	return l;
}

int listen_open(struct daemon *d, struct complaint *why)
{
	struct listener *l = d->listener ? d->listener : make_listener(d);
	int fd, err;

	if (!l)
		return complain(why, -ENOMEM, "out of memory at start");
	d->listener = l;
	l->source = sd_event_source_disable_unref(l->source);
	fd = passed_socket(l);
	if (fd < 0)
		fd = bind_at(l, why);
	if (fd < 0)
		return fd;
	err = sd_event_add_io(d->event, &l->source, fd, EPOLLIN, on_client, d);
	if (err < 0)
		return complain(why, err, "cannot listen at %s: %s", l->path, strerror(-err));
	(void)sd_event_source_set_io_fd_own(l->source, true);
	return 0;
}

bool listen_is_there(const struct listener *l)
{
	struct stat st;

	return l && l->source && (l->passed || (lstat(l->path, &st) == 0 && st.st_ino == l->inode));
}

unsigned listen_connections(const struct listener *l)
{
	return l ? l->count : 0;
}

void listen_close(struct daemon *d)
{
	struct listener *l = d->listener;

	if (!l)
		return;
	if (!l->passed && listen_is_there(l))
		(void)unlink(l->path);
	while (l->connections)
		drop(l->connections);
	sd_event_source_disable_unref(l->source);
	if (l->spare >= 0)
		(void)close(l->spare);
	free(l);
	d->listener = NULL;
}
