/* SPDX-License-Identifier: MIT */
/* Locks of what cooperating programs tell us: tables that are used in no call path.
 *
 * contract      not in signal handlers, but for guard_try. A holder takes no signals: a handler finds no lock of its own
 *               thread's held. A fork waits for other threads' holders; the child begins with all free.
 */
#ifndef PRELOAD_GUARD_H
#define PRELOAD_GUARD_H

#include <signal.h>
#include <stdbool.h>

enum guard { GUARD_SHRINKERS, GUARD_VOLATILE, GUARDS };

/* *ret_signals is for guard_unlock. */
void guard_lock(enum guard g, sigset_t *ret_signals);

/* False: somebody else has it. Async-signal-safe. */
bool guard_try(enum guard g, sigset_t *ret_signals);

void guard_unlock(enum guard g, const sigset_t *signals);

#endif
