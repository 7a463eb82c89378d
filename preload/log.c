/* SPDX-License-Identifier: MIT */
/* One-line diagnostics on stderr. */
#include "preload/log.h"

#include "accounting/sys.h"

#include <stdlib.h>
#include <string.h>

static enum log_level wanted;

void log_start(void)
{
	static const char *const names[] = { "off", "error", "info", "debug" };
	const char *text = getenv("MEMCTL_LOG");

	for (unsigned i = 0; text && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0)
			wanted = (enum log_level)i;
}

static size_t append(char *line, size_t at, size_t size, const char *text)
{
	while (*text && at < size)
		line[at++] = *text++;
	return at;
}

void log_always(const char *what, const char *why)
{
	char line[512];
	size_t n = append(line, 0, sizeof(line) - 1, "memctl: ");

	n = append(line, n, sizeof(line) - 1, what);
	if (why) {
		n = append(line, n, sizeof(line) - 1, ": ");
		n = append(line, n, sizeof(line) - 1, why);
	}
	line[n++] = '\n';
	(void)sys_write(STDERR_FILENO, line, n);
}

void log_line(enum log_level level, const char *what, const char *why)
{
	if (level <= wanted)
		log_always(what, why);
}
