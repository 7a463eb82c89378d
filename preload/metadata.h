/* SPDX-License-Identifier: MIT */
/* jemalloc's own bookkeeping: charged by force, by what of it is resident. */
#ifndef PRELOAD_METADATA_H
#define PRELOAD_METADATA_H

#include <stdbool.h>
#include <stddef.h>

/* A new block of address space for metadata. Signal-safe, allocates nothing. */
void metadata_add(void *addr, size_t size);

/* Charges what became resident since the last time. Does so only now and then unless `now`. */
void metadata_measure(bool now);

#endif
