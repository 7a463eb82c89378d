/* SPDX-License-Identifier: MIT */
/* The census as text for Prometheus. */
#ifndef MEMCTL_EXPORT_H
#define MEMCTL_EXPORT_H

#include "memctl/census.h"

#include <stdbool.h>
#include <stddef.h>

struct export_text {
	char *text; /* owned */
	size_t n, room;
	bool is_full; /* there was no memory for all of it */
};

/* Appends all numbers of all groups; `c` NULL: that no daemon runs. OpenMetrics, or the older text
 * format, which names counters differently. Its room is used again. -ENOMEM. */
int export_print(const struct census_copy *c, bool is_openmetrics, struct export_text *to);

#endif
