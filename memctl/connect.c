/* SPDX-License-Identifier: MIT */
/* Finding the runtime directory and reaching the daemon in it. */
#include "memctl/connect.h"

#include "accounting/segment.h"
#include "memctl/error.h"
#include "memctl/start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_NAME "control.sock"
#define ANSWER_SECONDS 30 /* a daemon that is silent for so long is stopped or stuck */
#define BUSY_MS 250	  /* how long a daemon that has the lock may take to listen */
#define BUSY_TRIES 40	  /* so often it is tried anew, for one that is ending */
#define LOOK_MS 10

int connect_find_dir(const char *named, char ret_dir[CONNECT_DIR_MAX])
{
	char own[CONNECT_DIR_MAX] = "/run/memctl";

	if (!named || !*named)
		named = secure_getenv("MEMCTL_DIR");
	if (!named || !*named) {
		if (geteuid() != 0)
			(void)snprintf(own, sizeof(own), "/dev/shm/memctl-%u", (unsigned)geteuid());
		named = own;
	}
	if (named[0] != '/')
		return error_set(-EINVAL, "the runtime directory must be an absolute path, not '%s'", named);
	if (strlen(named) >= CONNECT_DIR_MAX)
		return error_set(-ENAMETOOLONG, "the runtime directory's path is longer than %d bytes: %s",
				 CONNECT_DIR_MAX - 1, named);
	strcpy(ret_dir, named);
	return 0;
}

int connect_check_dir(const char *dir, bool *ret_exists)
{
	int fd = segment_open_dir(dir);

	*ret_exists = fd >= 0;
	if (fd >= 0)
		(void)close(fd);
	switch (fd) {
	case -ENOENT:
		return 0;
	case -EPERM:
		return error_set(fd,
				 "the runtime directory %s belongs to somebody else; set MEMCTL_DIR to "
				 "one of your own",
				 dir);
	case -EACCES:
		return error_set(fd,
				 "the runtime directory %s is open to other users; 'chmod 700 %s' if it "
				 "is yours, or set MEMCTL_DIR",
				 dir, dir);
	case -ENOTDIR:
	case -ELOOP:
		return error_set(-ENOTDIR,
				 "the runtime directory %s is no directory, or a link to one; set "
				 "MEMCTL_DIR to a directory",
				 dir);
	default:
		return fd >= 0 ? 0 : error_set(fd, "cannot open the runtime directory %s: %s", dir, strerror(-fd));
	}
}

static int connect_at(const char *dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return error_set(-errno, "cannot make a socket: %m");
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, SOCKET_NAME);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	err = -errno;
	(void)close(fd);
	if (err == -ENOENT || err == -ECONNREFUSED)
		return error_set(-ENOTCONN, "no daemon runs in %s; 'memctl daemon start' starts one", dir);
	return error_set(err, "cannot connect to %s/%s: %s", dir, SOCKET_NAME, strerror(-err));
}

int connect_socket(const char *dir)
{
	bool exists;
	int err = connect_check_dir(dir, &exists);

	if (err)
		return err;
	return connect_at(dir); /* without a directory, the same answer as without a socket */
}

static int connect_within(const char *dir, int ms)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	int fd = connect_socket(dir);

	for (int waited = 0; fd == -ENOTCONN && waited < ms; waited += LOOK_MS) {
		(void)nanosleep(&pause, NULL);
		fd = connect_socket(dir);
	}
	return fd;
}

/* Busy means that another daemon has the lock: one that will listen soon, or one that is ending and
 * will leave the lock to the next. */
int connect_or_start(const char *dir)
{
	int fd = connect_socket(dir);

	for (int tries = 0; fd == -ENOTCONN && tries < BUSY_TRIES; tries++) {
		int err = start_daemon(dir, START_IDLE_SECONDS);

		if (err && err != -EBUSY)
			return err;
		fd = connect_within(dir, BUSY_MS);
	}
	if (fd != -ENOTCONN)
		return fd;
	return error_set(fd, "another daemon has the lock in %s but does not listen; see %s/memctld.pid", dir, dir);
}

pid_t connect_peer(int fd)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	return peer.pid;
}
