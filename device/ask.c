/* SPDX-License-Identifier: MIT */
/* What a member asks the daemon for. One packet each way; nothing is kept open. */
#include "device/ask.h"

#include "accounting/dial.h"
#include "accounting/sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Neither regions' names nor addresses hold anything that JSON would want escaped. */
int ask_for_region(const char *dir, const char *name, const char *address, uint64_t capacity)
{
	char text[512];
	int fd = dial_daemon(dir);
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
