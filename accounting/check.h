/* SPDX-License-Identifier: MIT */
/* Checks that stay compiled in. What happens when one fails depends on where the code runs: a daemon
 * stops (a fresh start rebuilds), a preloaded program must go on. */
#ifndef ACCOUNTING_CHECK_H
#define ACCOUNTING_CHECK_H

#include <stdbool.h>

typedef void check_handler(const char *what, const char *file, int line);

/* Set once at start by the process; NULL (the default) counts and goes on. */
extern check_handler *check_on_failure;

/* How many checks failed in this process; a relaxed statistic. */
unsigned check_failures(void);

/* Reports a failed check; returns false. Async-signal-safe if the handler is. */
bool check_failed(const char *what, const char *file, int line);

/* True when `cond` holds; otherwise the failure is reported and the caller takes the safe way out. */
#define CHECK(cond) (__builtin_expect(!!(cond), 1) ? true : check_failed(#cond, __FILE__, __LINE__))

#endif
