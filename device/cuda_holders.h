/* SPDX-License-Identifier: MIT */
/* What keeps device memory alive beside its own address or handle: sparse arrays, multicast
 * objects, pools, and objects and addresses of what others have made. */
#ifndef DEVICE_CUDA_HOLDERS_H
#define DEVICE_CUDA_HOLDERS_H

#include "device/cuda.h"

/* ---- physical memory (cuda_physical.c) ---- */

/* One more thing that it lives for, as a mapping is. False: nobody pays for it who is known. */
bool cuda_physical_hold(uint64_t handle);
void cuda_physical_let(uint64_t handle);

/* A multicast object: its handles and mappings are counted as those of memory. */
void cuda_physical_is_multicast(uint64_t handle);

/* ---- bindings: a place in something, and the physical memory there (cuda_binding.c) ---- */

struct cuda_place {
	uint64_t in; /* an array's or multicast object's handle */
	uint64_t at[6];
};

/* In the place of what was there. What nobody is known to pay for is not kept. */
void cuda_bind(const struct cuda_place *place, uint64_t handle);
void cuda_unbind(const struct cuda_place *place);
void cuda_unbind_all(uint64_t in);

/* ---- contexts (cuda_context.c, cuda_green.c) ---- */

/* That which memory belongs to that is made now; NULL: there is none. */
cu_handle cuda_owner(struct copy *copy);

/* A device's primary context; NULL where there is none now, or the driver is too old to be asked
 * without making one. */
cu_handle cuda_primary(struct copy *copy, cu_device device);

/* It is gone, with all that was made in it. */
void cuda_context_ended(struct copy *copy, cu_handle context);

/* An array has been ended, or a mipmap of others' memory (cuda_array.c). */
void cuda_array_ended(const struct ledger_entry *e);

/* ---- others' memory by an address or a mipmap (cuda_external.c) ---- */

/* It was mapped, or opened; `copy` NULL: in no context, as pools' memory is. */
void cuda_seen_add(struct copy *copy, uint64_t key, uint64_t name);

/* Takes out what is known of an address that is no plain memory; before the driver frees it. */
bool cuda_address_take(cu_ptr ptr, struct ledger_entry *ret);

/* The driver has answered; `e` NULL: nothing was known. Returns `result`. */
int cuda_address_freed(const struct ledger_entry *e, int result);

/* ---- pools (cuda_pool.c, cuda_pooled.c) ---- */

/* Whose region what lies at a location is charged to: of a device, or of one of its parts. -1: the
 * host's. */
int cuda_region_at(struct copy *copy, const struct cu_location *location);

/* A pool is known from now on; resource -1: it is not charged. */
void cuda_pool_is(struct copy *copy, cu_handle pool, int resource, bool is_own);

/* A program's own pool has handed this out. */
void cuda_pooled_add(cu_ptr ptr, cu_handle pool, uint64_t bytes);

/* Such a pool has been ended: what it had handed out is paid for by itself from now on, out of what
 * the pool has paid. */
void cuda_pooled_ended(struct ledger_entry *pool);

#endif
