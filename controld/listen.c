/* SPDX-License-Identifier: MIT */
/* The control socket and its connections. */
#include "controld/listen.h"

#include "controld/command.h"
#include "controld/loop.h"
#include "controld/notify.h"
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
#define PASSED_MAX 253 /* SCM_MAX_FD: the kernel takes no more with a packet */

struct connection {
	struct connection *next, **at;
	struct daemon *daemon;
	int fd;
	uint32_t events; /* that are waited for */
	struct caller caller;
	struct passed passed;
	bool is_promised; /* the reply comes later */
	char *reply;	  /* waits for room in the socket */
	size_t reply_size;
};

/* The connections have an epoll of their own: sd-event asks the kernel for all that are ready before each one it
 * attends to, and so would need 20 s for the end of 16,000. */
struct listener {
	sd_event_source *source; /* owns the socket */
	sd_event_source *ready;	 /* owns `epoll` */
	int epoll;		 /* -1 none */
	struct connection *connections;
	unsigned count;
	int spare;   /* given up for a moment to refuse a client when no descriptor is left */
	bool passed; /* by systemd: its file is not ours */
	char path[sizeof(((struct rundir *)0)->path) + 16];
	ino_t inode;
};

static void close_passed(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void drop(struct connection *c)
{
	struct daemon *d = c->daemon;
	bool held = false;

	for (struct served *s = d->served; s; s = s->next) {
		held |= tidy_release(s, c);
		reclaim_release(s, c);
		notify_release(s, c);
	}
	if (held)
		loop_request_turn(d);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	d->listener->count--;
	(void)close(c->fd);
	close_passed(&c->passed.answer);
	free(c->reply);
	free(c);
}

static ssize_t send_reply(const struct connection *c, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = c->reply, .iov_len = c->reply_size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (c->passed.answer >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &c->passed.answer, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Tries to send the reply; true while it has to wait. A client that cannot be sent to is hung up
 * on. */
static bool is_reply_waiting(struct connection *c, int fd)
{
	if (c->reply && send_reply(c, fd) < 0) {
		if (errno == EAGAIN || errno == ENOBUFS)
			return true;
		(void)shutdown(fd, SHUT_RDWR);
	}
	close_passed(&c->passed.answer);
	free(c->reply);
	c->reply = NULL;
	return false;
}

static void answer(struct connection *c, const char *packet, ssize_t size, int flags)
{
	if (flags & MSG_TRUNC)
		c->reply = proto_refuse_oversized(&c->reply_size);
	else
		c->reply = proto_handle(c->daemon, &c->caller, packet, (size_t)size, &c->reply_size);
	c->is_promised = !(flags & MSG_TRUNC) && c->reply_size == PROTO_LATER;
}

/* Keeps the first descriptor; what is not wanted is closed. */
static void keep_passed(struct passed *p, struct msghdr *message)
{
	p->count = 0;
	p->is_cut = message->msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[PASSED_MAX];

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > PASSED_MAX)
			continue;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		for (size_t i = 0; i < n; i++)
			if (p->count++ == 0)
				p->fd = fds[i];
			else
				(void)close(fds[i]);
	}
}

static ssize_t receive(int fd, char *packet, struct passed *passed, int *ret_flags)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PASSED_MAX * sizeof(int))];
	struct iovec iov = { .iov_base = packet, .iov_len = PROTO_PACKET_MAX };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		keep_passed(passed, &message);
	*ret_flags = message.msg_flags;
	return n;
}

/* Reads and answers one packet, so that no client keeps others waiting. False: the client has
 * gone. An empty packet reads like the end: only the hang-up tells them apart. */
static bool serve(struct connection *c, int fd, uint32_t revents)
{
	static char packet[PROTO_PACKET_MAX + 1];
	int flags = 0;
	ssize_t n = receive(fd, packet, &c->passed, &flags);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 && (revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)))
		return false;
	packet[n] = 0;
	answer(c, packet, n, flags);
	close_passed(&c->passed.fd);
	return true;
}

static int poll_connection(struct connection *c, int what, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	c->events = events;
	return epoll_ctl(c->daemon->listener->epoll, what, c->fd, &e);
}

/* Nothing more is read from a client before its last reply has gone out. */
static void watch(struct connection *c, int fd)
{
	uint32_t events = EPOLLIN | EPOLLRDHUP;

	if (is_reply_waiting(c, fd))
		events = EPOLLOUT;
	else if (c->is_promised)
		events = EPOLLRDHUP;
	if (events != c->events)
		(void)poll_connection(c, EPOLL_CTL_MOD, events);
}

/* False: the client has gone. */
static bool attend(struct connection *c, int fd, uint32_t revents)
{
	if (c->is_promised)
		return !(revents & (EPOLLHUP | EPOLLRDHUP | EPOLLERR));
	return is_reply_waiting(c, fd) || serve(c, fd, revents);
}

/* One at a time, in turn: the kernel puts who was looked at behind the others. */
static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct daemon *d = userdata;
	struct epoll_event e;
	struct connection *c;

	(void)source;
	(void)revents;
	if (epoll_wait(fd, &e, 1, 0) != 1)
		return 0;
	c = e.data.ptr;
	if (attend(c, c->fd, e.events)) {
		watch(c, c->fd);
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
	watch(c, c->fd);
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

	if (c) {
		c->daemon = d;
		c->fd = fd;
	}
	if (!c || !is_allowed(fd, &c->caller) || l->count >= CONNECTIONS_MAX ||
	    poll_connection(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLRDHUP)) {
		free(c);
		(void)close(fd);
		return;
	}
	c->passed = (struct passed){ .fd = -1, .answer = -1 };
	c->caller.passed = &c->passed;
	c->caller.holder = c;
	c->caller.answer = keep_promise;
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
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(l->path, 0600) || listen(fd, BACKLOG) ||
	    stat(l->path, &st))
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
	if (sd_listen_fds(1) < 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
		return -1;
	l->passed = true;
	(void)fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK);
	return SD_LISTEN_FDS_START;
}

static int add_epoll(struct daemon *d, struct listener *l)
{
	int err;

	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		return -errno;
	err = sd_event_add_io(d->event, &l->ready, l->epoll, EPOLLIN, on_ready, d);
	if (err < 0)
		(void)close(l->epoll);
	else
		(void)sd_event_source_set_io_fd_own(l->ready, true);
	return err;
}

static struct listener *make_listener(struct daemon *d)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l || add_epoll(d, l) < 0) {
		free(l);
		return NULL;
	}
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
	sd_event_source_disable_unref(l->ready);
	if (l->spare >= 0)
		(void)close(l->spare);
	free(l);
	d->listener = NULL;
}
