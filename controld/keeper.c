/* SPDX-License-Identifier: MIT */
/* A process that keeps the connections of the pressure socket when the daemon ends. */
#include "controld/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_SECONDS 5 /* a keeper that takes longer is stopped: the daemon goes on without */

/* fd -1: a packet without one. Negative errno. */
static int send_descriptor(int to, int fd, int flags)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
			      .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = control.room;
		message.msg_controllen = sizeof(control.room);
	}
	return sendmsg(to, &message, MSG_NOSIGNAL | flags) == 1 ? 0 : -errno;
}

/* 1: *ret_fd came; 0: a packet without a descriptor; negative: the other side has gone. */
static int receive_descriptor(int from, int *ret_fd)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	ssize_t n = recvmsg(from, &message, MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return n < 0 && errno == EINTR ? 0 : -ECONNRESET;
	c = CMSG_FIRSTHDR(&message);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return 0;
	memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return 1;
}

/* ---- the daemon's side ------------------------------------------------------------------- */

static int fill_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	strcpy(ret->sun_path, path);
	return 0;
}

static int connect_to(const char *path)
{
	const struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	struct sockaddr_un address;
	int fd;

	if (fill_address(path, &address))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -ENOTCONN;
}

int keeper_find(const char *path, keeper_take *take, void *arg)
{
	int keeper = connect_to(path);
	int got = keeper < 0 ? keeper : 1;

	while (got == 1) {
		int fd;

		got = receive_descriptor(keeper, &fd);
		if (got == 1)
			take(arg, fd);
	}
	if (got == 0)
		return keeper;
	if (keeper >= 0)
		(void)close(keeper);
	return -ENOTCONN;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address;
	int fd, err = fill_address(path, &address);

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && chmod(path, 0600) == 0 && listen(fd, 4) == 0)
		return fd;
	err = -errno;
	(void)close(fd);
	return err;
}

static int set_files(posix_spawn_file_actions_t *files, int listening)
{
	int err = posix_spawn_file_actions_adddup2(files, listening, KEEPER_LISTENING);

	for (int fd = 0; fd <= 2 && !err; fd++)
		err = posix_spawn_file_actions_addopen(files, fd, "/dev/null", O_RDWR, 0);
	return err ? err : posix_spawn_file_actions_addclosefrom_np(files, KEEPER_LISTENING + 1);
}

/* Out of the daemon's session and without its signals: what ends the daemon shall not end it. */
static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_setsigmask(attributes, &none);
	(void)posix_spawnattr_setsigdefault(attributes, &all);
	return posix_spawnattr_setflags(attributes,
					POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* A fresh image: a fork would keep the segment mapped, and the daemon's lock. */
static int spawn(int listening)
{
	char name[] = "memctld", option[] = "--keep-connections";
	char *argv[] = { name, option, NULL }, *envp[] = { NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	pid_t pid;
	int err;

	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawnattr_init(&attributes);
	err = set_files(&files, listening);
	if (!err)
		err = set_attributes(&attributes);
	if (!err)
		err = posix_spawn(&pid, "/proc/self/exe", &files, &attributes, argv, envp);
	(void)posix_spawn_file_actions_destroy(&files);
	(void)posix_spawnattr_destroy(&attributes);
	return -err;
}

static void take_none(void *arg, int fd)
{
	(void)arg;
	(void)close(fd);
}

int keeper_start(const char *path)
{
	int listening = listen_at(path);
	int err = listening < 0 ? listening : spawn(listening);

	if (listening >= 0)
		(void)close(listening);
	return err < 0 ? err : keeper_find(path, take_none, NULL);
}

int keeper_give(int keeper, int fd)
{
	return send_descriptor(keeper, fd, MSG_DONTWAIT);
}

/* ---- the keeper's side ------------------------------------------------------------------- */

enum { AT_LISTENING, AT_DAEMON, AT_KEPT };

struct keeper {
	struct pollfd *p; /* the listening socket, the daemon's (-1: none), then what is kept */
	nfds_t n, room;
};

static void keep(struct keeper *k, int fd)
{
	if (k->n == k->room) {
		struct pollfd *more = reallocarray(k->p, 2 * k->room, sizeof(*more));

		if (!more) {
			(void)close(fd);
			return;
		}
		k->p = more;
		k->room *= 2;
	}
	k->p[k->n++] = (struct pollfd){ .fd = fd }; /* a hang-up is told unasked */
}

static void lose_daemon(struct keeper *k)
{
	(void)close(k->p[AT_DAEMON].fd);
	k->p[AT_DAEMON].fd = -1;
}

static void meet_daemon(struct keeper *k)
{
	int daemon = accept4(k->p[AT_LISTENING].fd, NULL, NULL, SOCK_CLOEXEC);
	int err = 0;

	if (daemon < 0)
		return;
	if (k->p[AT_DAEMON].fd >= 0)
		lose_daemon(k);
	k->p[AT_DAEMON].fd = daemon;
	for (nfds_t i = AT_KEPT; i < k->n && !err; i++)
		err = send_descriptor(daemon, k->p[i].fd, 0);
	(void)send_descriptor(daemon, -1, 0);
}

static void hear_daemon(struct keeper *k)
{
	int fd;
	int got = receive_descriptor(k->p[AT_DAEMON].fd, &fd);

	if (got < 0)
		lose_daemon(k);
	else if (got == 1)
		keep(k, fd);
}

static void drop_the_gone(struct keeper *k)
{
	for (nfds_t i = AT_KEPT; i < k->n;) {
		if (!(k->p[i].revents & (POLLHUP | POLLERR | POLLNVAL))) {
			i++;
			continue;
		}
		(void)close(k->p[i].fd);
		k->p[i] = k->p[--k->n];
	}
}

void keeper_run(int listening)
{
	struct keeper k = { .n = AT_KEPT, .room = 64 };
	bool has_met = false;

	k.p = calloc(k.room, sizeof(*k.p));
	if (!k.p)
		return;
	k.p[AT_LISTENING] = (struct pollfd){ .fd = listening, .events = POLLIN };
	k.p[AT_DAEMON] = (struct pollfd){ .fd = -1, .events = POLLIN };
	while (!has_met || k.p[AT_DAEMON].fd >= 0 || k.n > AT_KEPT) {
		if (poll(k.p, k.n, -1) < 0 && errno != EINTR)
			break;
		drop_the_gone(&k);
		if (k.p[AT_DAEMON].revents)
			hear_daemon(&k);
		if (k.p[AT_LISTENING].revents) {
			meet_daemon(&k);
			has_met = true;
		}
	}
	free(k.p);
}
