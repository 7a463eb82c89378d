/* SPDX-License-Identifier: MIT */
/* What a member asks the daemon for. One packet each way; nothing is kept open. */
#include "device/ask.h"

#include "accounting/dial.h"
#include "accounting/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Sends text[n], room for the answer in the same place. */
static int ask(const char *dir, char *text, size_t room, long n)
{
	int fd = dial_daemon(dir);

	if (fd < 0)
		return fd;
	n = sys_write(fd, text, (size_t)n);
	if (n > 0)
		n = sys_read(fd, text, room - 1);
	sys_close(fd);
	if (n <= 0)
		return n ? (int)n : -ENODEV;
	text[n] = 0;
	return strstr(text, "\"ok\":true") ? 0 : -ENODEV;
}

/* Neither regions' names nor addresses hold anything that JSON would want escaped. */
int ask_for_region(const char *dir, const char *name, const char *address, uint64_t capacity)
{
	char text[512];

	return ask(dir, text, sizeof(text),
		   snprintf(text, sizeof(text),
			    "{\"v\":1,\"op\":\"region\",\"name\":\"%.79s\",\"address\":\"%.31s\","
			    "\"capacity\":%llu}",
			    name, address, (unsigned long long)capacity));
}

int ask_about_heirs(const char *dir, const char *what, uint64_t *name, uint32_t member, unsigned region, uint64_t units)
{
	char text[512];
	const char *at;
	int err;

	err = ask(dir, text, sizeof(text),
		  snprintf(text, sizeof(text),
			   "{\"v\":1,\"op\":\"heirs\",\"what\":\"%s\",\"member\":%u,\"name\":%llu,"
			   "\"region\":%u,\"units\":%llu}",
			   what, member, (unsigned long long)*name, region, (unsigned long long)units));
	at = err ? NULL : strstr(text, "\"name\":");
	if (at)
		*name = strtoull(at + strlen("\"name\":"), NULL, 10);
	return err;
}
