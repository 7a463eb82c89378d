/* SPDX-License-Identifier: MIT */
/* The daemon's log: called at the rim only. To stderr in the foreground, else to the journal. */
#ifndef CONTROLD_LOG_H
#define CONTROLD_LOG_H

#include <syslog.h>

/* Messages go to the journal from now on. */
void log_to_journal(void);

/* The same where stderr is the journal already, as under systemd: there, fields are kept apart. */
void log_find_journal(void);

/* One line, without the newline; `priority` as in syslog.h. */
__attribute__((format(printf, 2, 3))) void log_line(int priority, const char *format, ...);

/* What happened to a group, so often; for the journal with fields of their own: MEMCTL_GROUP, MEMCTL_EVENT, MEMCTL_COUNT. */
void log_group_event(int priority, const char *group, const char *event, unsigned count);

/* What is said of an out-of-memory event there, in several lines: one entry of the journal, MEMCTL_EVENT=report. */
void log_group_report(int priority, const char *group, const char *text);

#endif
