/* SPDX-License-Identifier: MIT */
/* The daemon's log. */
#include "controld/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

static bool to_journal;

void log_to_journal(void)
{
	to_journal = true;
}

void log_find_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long device = 0, inode = 0;
	struct stat st;

	if (stream && sscanf(stream, "%lu:%lu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	    st.st_dev == device && st.st_ino == inode)
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
		(void)sd_journal_send("PRIORITY=%i", priority, "SYSLOG_IDENTIFIER=memctld", "MESSAGE=%s", line, NULL);
	else
		(void)fprintf(stderr, "memctld: %s\n", line);
}

/* One id for all: `journalctl MESSAGE_ID=...` finds them. */
#define EVENT_MESSAGE_ID "5c7d29fd3e1b4d0f9c2a8be46c1f7a05"

void log_group_event(int priority, const char *group, const char *event, unsigned count)
{
	if (!to_journal) {
		log_line(priority, "%s: %s, %u time%s", group, event, count, count == 1 ? "" : "s");
		return;
	}
	(void)sd_journal_send("PRIORITY=%i", priority, "SYSLOG_IDENTIFIER=memctld", "MESSAGE_ID=" EVENT_MESSAGE_ID,
			      "MEMCTL_GROUP=%s", group, "MEMCTL_EVENT=%s", event, "MEMCTL_COUNT=%u", count,
			      "MESSAGE=%s: %s, %u time%s", group, event, count, count == 1 ? "" : "s", NULL);
}

static void log_lines(int priority, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		log_line(priority, "%.*s", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

void log_group_report(int priority, const char *group, const char *text)
{
	if (!to_journal)
		log_lines(priority, text);
	else
		(void)sd_journal_send("PRIORITY=%i", priority, "SYSLOG_IDENTIFIER=memctld",
				      "MESSAGE_ID=" EVENT_MESSAGE_ID, "MEMCTL_GROUP=%s", group, "MEMCTL_EVENT=report",
				      "MESSAGE=%s", text, NULL);
}
