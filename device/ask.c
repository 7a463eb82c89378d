/* SPDX-License-Identifier: MIT */
/* What a member asks the daemon for. One packet each way; nothing is kept open. */
#include "device/ask.h"

#include "accounting/sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static int connect_to(const char *dir)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 2};
	long err;
	int fd;

	if (strlen(dir) + sizeof("/control.sock") > sizeof(at.sun_path))
		return -ENAMETOOLONG;
	strcpy(stpcpy(at.sun_path, dir), "/control.sock");
	fd = (int)sys_call3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	(void)sys_call6(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, (long)&limit, sizeof(limit),
			0);
	(void)sys_call6(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, (long)&limit, sizeof(limit),
			0);
	err = sys_call3(SYS_connect, fd, &at, sizeof(at));
	if (!err)
		return fd;
	sys_close(fd);
	return (int)err;
}

/* Neither regions' names nor addresses hold anything that JSON would want escaped. */
int ask_for_region(const char *dir, const char *name, const char *address, uint64_t capacity)
{
	char text[512];
	int fd = connect_to(dir);
	long n;

	if (fd < 0)
		return fd;
	n = snprintf(text, sizeof(text),
		     "{\"v\":1,\"op\":\"region\",\"name\":\"%.79s\",\"address\":\"%.31s\","
		     "\"capacity\":%llu}",
		     name, address, (unsigned long long)capacity);
	n = sys_write(fd, text, (size_t)n);
	if (n > 0)
		n = sys_read(fd, text, sizeof(text) - 1);
	sys_close(fd);
	if (n <= 0)
		return n ? (int)n : -ENODEV;
	text[n] = 0;
	return strstr(text, "\"ok\":true") ? 0 : -ENODEV;
}
