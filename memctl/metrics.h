/* SPDX-License-Identifier: MIT */
/* OpenMetrics text on stdout: one family after the other, each with its samples. */
#ifndef MEMCTL_METRICS_H
#define MEMCTL_METRICS_H

#include <stdbool.h>
#include <stdint.h>

struct metrics_family {
	const char *parts[2]; /* the name is memctl_PART_PART[_UNIT]; dots become underscores; NULL:
				 none */
	const char *unit;     /* "bytes" or "" */
	bool counter;	      /* only grows: samples end in _total */
	const char *help;
};

/* Begins a family. */
void metrics_family(const struct metrics_family *f);

/* One sample: metrics_sample, then its labels, then its value. MEMCTL_MAX is +Inf. */
void metrics_sample(const struct metrics_family *f);
void metrics_label(const char *name, const char *text);
void metrics_value(uint64_t value);

/* The last line. */
void metrics_end(void);

#endif
