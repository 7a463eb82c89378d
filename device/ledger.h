/* SPDX-License-Identifier: MIT */
/* What this process holds on devices: what the driver named it, and who paid for it.
 *
 * contract      any thread; a shard's lock is held for a few instructions, never across a call out of this file but
 *               ledger_change's and ledger_each's. A forked child finds it empty: what a parent holds on a device is
 *               not its child's.
 * price         an entry put and taken: about 30 ns, however many there are.
 */
#ifndef DEVICE_LEDGER_H
#define DEVICE_LEDGER_H

#include "device/charge.h"

enum ledger_kind {
	LEDGER_POINTER = 1, /* device memory by its address; of: its name for heirs.h, 0 none */
	LEDGER_ARRAY,	    /* arrays and mipmaps by their handle; of: their context; handles: 1 where
			     * memory may be bound to it */
	LEDGER_PHYSICAL,    /* physical memory by its handle; handles, maps count; of: its name as
			     * above; imported: nothing paid; size: 1 for a multicast object */
	LEDGER_MAPPING,	    /* by address; of: the physical memory's handle, size: bytes */
	LEDGER_POOL,	    /* a driver's pool by its handle; resource: the region it lies in */
	LEDGER_GRAPHS,	    /* a device's graph pool, by its region */
	LEDGER_HOST,	    /* pinned host memory by its address; size: bytes */
	LEDGER_BUFFER,	    /* OpenCL's memory objects */
	LEDGER_ALLOCATION,  /* Vulkan's device memory; of: its device; size: its name for heirs.h, 0 none;
			     * imported: nothing paid */
	LEDGER_CONTEXT,	    /* OpenCL's contexts: nothing paid, size: their regions */
	LEDGER_OVERHEAD,    /* what contexts and modules take, by its region */
	LEDGER_OPENED,	    /* others' memory by the address that it has here; handles; of: name */
	LEDGER_BINDING,	    /* physical memory in something else than an address (cuda_holders.h); of:
			     * its handle, size: what it is bound to */
	LEDGER_EXTERNAL,    /* others' memory as an object; of: name, size: its context, 0 none */
	LEDGER_VIEW,	    /* others' memory by an address or a mipmap of one's own; of, size: as above */
	LEDGER_POOLED,	    /* what a program's own pool has handed out, by its address; of: the pool,
			     * size: its name for heirs.h, 0 none, handles: units */
	LEDGER_GREEN,	    /* green contexts, and what they are as contexts; of: the primary context,
			     * size: of the former, the latter */
};

struct ledger_entry {
	uint64_t key; /* never 0 */
	uint64_t of;
	uint64_t size;
	struct device_paid paid;
	uint32_t handles, maps;
	uint8_t kind;
	int8_t resource;
};

/* Keeps an entry; one of the same kind and key is replaced, and what that one paid for is given
 * back: the driver has given the same name to something new. False: no memory, and what was paid
 * for is given back now. */
bool ledger_put(const struct ledger_entry *e);

/* Takes it out. False: unknown. */
bool ledger_take(enum ledger_kind kind, uint64_t key, struct ledger_entry *ret);

/* A copy. */
bool ledger_find(enum ledger_kind kind, uint64_t key, struct ledger_entry *ret);

/* Lets `change` have it under its lock; true from there takes it out. What is left (or was taken
 * out) goes to *ret. False: unknown. */
typedef bool ledger_change_fn(struct ledger_entry *e, void *arg);
bool ledger_change(enum ledger_kind kind, uint64_t key, ledger_change_fn *change, void *arg, struct ledger_entry *ret);

/* What stands in `of`, or in `size`, from now on; *ret as above. False: unknown. */
bool ledger_set_of(enum ledger_kind kind, uint64_t key, uint64_t of);
bool ledger_set_size(enum ledger_kind kind, uint64_t key, uint64_t size, struct ledger_entry *ret);

/* Keys of a kind, `room` of them at most; returns how many there are. For looks at all of them,
 * which are rare. */
size_t ledger_keys(enum ledger_kind kind, uint64_t *ret, size_t room);

/* How many there are of a kind, of pointers at most; a statistic, for fast ways out. */
uint64_t ledger_count(enum ledger_kind kind);

#endif
