/* SPDX-License-Identifier: MIT */
/* Connecting to the daemon from inside a member. */
#include "accounting/dial.h"

#include "accounting/sys.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

int dial_daemon(const char *dir)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 2 };
	int fd;
	long err;

	if (strlen(dir) + sizeof("/control.sock") > sizeof(at.sun_path))
		return -ENAMETOOLONG;
	strcpy(stpcpy(at.sun_path, dir), "/control.sock");
	fd = (int)sys_call3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	(void)sys_call6(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, (long)&limit, sizeof(limit), 0);
	(void)sys_call6(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, (long)&limit, sizeof(limit), 0);
	err = sys_call3(SYS_connect, fd, &at, sizeof(at));
	if (!err)
		return fd;
	sys_close(fd);
	return (int)err;
}
