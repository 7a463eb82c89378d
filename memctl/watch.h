/* SPDX-License-Identifier: MIT */
/* The parts of `memctl watch`: the loop, the command it runs, and the bridge to low-memory-monitor's clients. */
#ifndef MEMCTL_WATCH_H
#define MEMCTL_WATCH_H

#include "memctl/memctl.h"
#include "memctl/output.h"

#include <stdbool.h>
#include <stdint.h>

#define WATCH_TIME_BUF 40

/* What is told of one event that fired. */
struct watch_line {
	char time[WATCH_TIME_BUF]; /* ISO 8601, milliseconds, local */
	const char *group, *event;
	uint64_t fired;	  /* since the last line */
	uint64_t current; /* bytes, now */
	uint64_t missed;  /* times the daemon was away since the last line */
};

/* ---- watch_exec.c ------------------------------------------------------------------------ */

/* Runs `command` by the shell, with MEMCTL_WATCH_* in its environment, and waits for its end. Says so when it failed. */
void watch_exec(const char *command, const struct watch_line *line);

/* ---- watch_lmm.c ------------------------------------------------------------------------- */

/* Emits low-memory-monitor's signal on the system bus when the group or one below it is under pressure, until the group is
 * removed or the bus goes away. Returns the exit status. */
int watch_lmm(struct memctl *m, const char *group);

#endif
