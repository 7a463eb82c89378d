/* SPDX-License-Identifier: MIT */
/* A group's share of a device as drivers speak of it: the same numbers from every API. */
#ifndef DEVICE_VIEW_H
#define DEVICE_VIEW_H

#include "device/charge.h"

#define VIEW_GRAIN (2ull << 20) /* what drivers take from devices at a time */

/* Lowers both to the share. */
static inline void view_fit(const struct device_share *share, uint64_t *available, uint64_t *total)
{
	uint64_t left = share->available / VIEW_GRAIN * VIEW_GRAIN;

	if (share->total < *total)
		*total = share->total;
	if (left < *available)
		*available = left;
	if (*available > *total)
		*available = *total;
}

#endif
