/* SPDX-License-Identifier: MIT */
/* The time that durations are measured in. */
#ifndef ACCOUNTING_CLOCK_H
#define ACCOUNTING_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC. Signal handlers, too; errno stays. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
