/* SPDX-License-Identifier: MIT */
/* Numbers of a process from /proc/PID/stat. */
#include "accounting/procstat.h"

#include "accounting/sys.h"

#include <errno.h>
#include <string.h>

#define FIELDS_BEFORE 2 /* pid and name */

static char *put_number(char *p, uint32_t v)
{
	char digits[10];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	while (n)
		*p++ = digits[--n];
	return p;
}

static const char *skip_fields(const char *p, const char *end, int fields)
{
	while (p < end && fields)
		if (*p++ == ' ')
			fields--;
	return p;
}

/* The name in field 2 may hold anything, so fields are counted from the last ')'. */
static uint64_t parse(const char *text, size_t n, int field)
{
	const char *end = text + n;
	const char *p = end;
	uint64_t v = 0;

	while (p > text && p[-1] != ')')
		p--;
	for (p = skip_fields(p, end, field - FIELDS_BEFORE); p < end && *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return v;
}

int procstat_read(uint32_t pid, int field, uint64_t *ret)
{
	char path[32] = "/proc/self/stat";
	char text[1024];
	int fd;
	long n;

	if (pid)
		strcpy(put_number(strcpy(path, "/proc/") + 6, pid), "/stat");
	fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	n = sys_read(fd, text, sizeof(text));
	sys_close(fd);
	if (n <= 0)
		return n ? (int)n : -ESRCH;
	*ret = parse(text, (size_t)n, field);
	return 0;
}
