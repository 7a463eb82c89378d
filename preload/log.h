/* SPDX-License-Identifier: MIT */
/* One-line diagnostics on stderr, by MEMCTL_LOG. Raw writes: nothing here allocates or locks. */
#ifndef PRELOAD_LOG_H
#define PRELOAD_LOG_H

enum log_level { LOG_OFF, LOG_ERROR, LOG_INFO, LOG_DEBUG };

/* Reads MEMCTL_LOG. */
void log_start(void);

/* Writes "memctl: what: why" when the level is asked for; `why` may be NULL. Async-signal-safe. */
void log_line(enum log_level level, const char *what, const char *why);

/* The same whatever MEMCTL_LOG says, for what the interface promises to say once. */
void log_always(const char *what, const char *why);

#endif
