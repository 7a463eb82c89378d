/* SPDX-License-Identifier: MIT */
/* A command that the daemon runs (memory.oom.hook): by /bin/sh, in a process group of its own, without input or
 * output, and never longer than HOOK_LIMIT_NS. It is looked at, not waited for. */
#ifndef CONTROLD_HOOK_H
#define CONTROLD_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#define HOOK_LIMIT_NS 5000000000ull

struct hook;

/* Starts it with these "NAME=VALUE" strings (a NULL at their end) added to its environment; the daemon's own
 * LD_PRELOAD and MEMCTL_* are left out, so that it is nobody's member. Negative errno: it does not run. */
int hook_start(const char *command, const char *const *facts, uint64_t now_ns, struct hook **ret);

/* True when it has ended; after its time it is killed, with all of its process group, and this is true. */
bool hook_is_over(struct hook *h, uint64_t now_ns);

/* What it ended with, as waitpid has it; -1: it was killed for taking too long. Once it is over. */
int hook_status(const struct hook *h);

/* Ends it if it still runs, and frees. NULL is fine. */
void hook_free(struct hook *h);

#endif
