/* SPDX-License-Identifier: MIT */
/* The daemon's log. */
#include "controld/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <systemd/sd-journal.h>

static bool to_journal;

void log_to_journal(void)
{
	to_journal = true;
}

void log_line(int priority, const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (to_journal)
		(void)sd_journal_send("PRIORITY=%i", priority, "SYSLOG_IDENTIFIER=memctld",
				      "MESSAGE=%s", line, NULL);
	else
		(void)fprintf(stderr, "memctld: %s\n", line);
}
