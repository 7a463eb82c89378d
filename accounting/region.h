/* SPDX-License-Identifier: MIT */
/* Regions: resources that are registered at run time, after those of resources.def.
 *
 * A region is one device's memory, "cuda/GPU-<uuid>/vram": keyed by what is the device's own, never
 * by an ordinal, so that all who reach one device share one pool. It stays registered as long as
 * its segment. "all" is no device: what is set there holds for regions that are registered later.
 *
 * Concurrency: one writer, the daemon; members and readers look at any time.
 */
#ifndef ACCOUNTING_REGION_H
#define ACCOUNTING_REGION_H

#include "accounting/segment.h"

#define REGION_UNIT MC_PAGE_SIZE
#define REGION_ALL "all"

/* 0, or -EINVAL: empty, over REGION_NAME_MAX bytes, or with a character outside [A-Za-z0-9._@:+/-].
 */
int region_check_name(const char *name);

/* The resource of this name, or -ENODEV. Signal-safe. */
int region_find(const struct segment *seg, const char *name, unsigned *ret_resource);

/* The same for a device that is plugged in at `address` (may be ""): where one of two APIs tells no more of a device
 * than that, its region is the other's. Signal-safe. */
int region_find_device(const struct segment *seg, const char *name, const char *address, unsigned *ret_resource);

/* The same, or a new one with the limits of "all" in every group. `address` may be "", `capacity`
 * 0: unknown. What was unknown is filled in. -ENOSPC: all RESOURCES_MAX are in use; -ENOMEM: the
 * file system is full. The daemon's alone. */
int region_register(struct segment *seg, const char *name, const char *address, uint64_t capacity,
		    unsigned *ret_resource);

/* The next region from `from` on that is a device's; RESOURCES_MAX at the end. */
unsigned region_next(const struct segment *seg, unsigned from);

/* What people write: a name, a device's own part of it ("GPU-<uuid>"), an address, or gpu0, gpu1:
 * those known, by address. -ENODEV. */
int region_find_alias(const struct segment *seg, const char *text, unsigned *ret_resource);

static inline const char *region_name(const struct segment *seg, unsigned resource)
{
	return seg->limits->header.region[resource].name;
}

/* Bytes; 0 unknown. */
static inline uint64_t region_capacity(const struct segment *seg, unsigned resource)
{
	return mc_load_relaxed(&seg->limits->header.region[resource].capacity);
}

#endif
