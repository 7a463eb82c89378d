/* SPDX-License-Identifier: MIT */
/* Numbers of a process from /proc/PID/stat. */
#ifndef ACCOUNTING_PROCSTAT_H
#define ACCOUNTING_PROCSTAT_H

#include <stdint.h>

#define PROCSTAT_PARENT 4 /* fields, counted from 1 as in proc(5); those behind the name alone */
#define PROCSTAT_START_TIME 22

/* pid 0 is the caller. -ESRCH: there is no such process; or another errno. Signal-safe, raw system calls, 10 us. */
int procstat_read(uint32_t pid, int field, uint64_t *ret);

#endif
