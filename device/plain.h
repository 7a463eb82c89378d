/* SPDX-License-Identifier: MIT */
/* Memory that one call makes and another gives back, in APIs without more to it than that: HIP's
 * and Level Zero's. The size is what was asked for, whatever the driver rounds it up to.
 *
 * contract      any thread, inside of a wrapper. Entries are the ledger's pointers: no two drivers of a process give
 *               the same address.
 */
#ifndef DEVICE_PLAIN_H
#define DEVICE_PLAIN_H

#include "device/ledger.h"
#include "device/resolve.h"

struct plain {
	struct device_charge charge;
	int resource;
	uint64_t bytes;
};

/* False: refused. */
static inline bool plain_reserve(struct plain *p, int resource, uint64_t bytes)
{
	p->resource = resource;
	p->bytes = bytes;
	return device_charge_reserve(&p->charge, resource, bytes);
}

/* The driver has answered; what it made lies at `ptr` and is `bytes` long. False: that is more
 * than was reserved, and refused; to be given back to the driver. */
bool plain_settle(struct plain *p, int result, uint64_t ptr, uint64_t bytes);

/* A call that makes memory, in the body of its function: `no_memory` is what the API says where a
 * limit refuses. */
#define PLAIN_ALLOCATE(in_region, size, no_memory, call, ptr) \
	struct plain plain; \
	int result; \
	if (!plain_reserve(&plain, in_region, size)) \
		return no_memory; \
	DEVICE_CALL(result, call, result == (int)(no_memory) && device_full(&plain.charge, plain.bytes)); \
	(void)plain_settle(&plain, result, result ? 0 : (uint64_t)(uintptr_t)(*(ptr)), plain.bytes); \
	return result;

/* Taken out before the driver frees it: afterwards the address may be somebody else's. */
#define PLAIN_FREE(ptr, call) \
	struct ledger_entry e; \
	bool is_known = ledger_take(LEDGER_POINTER, (uint64_t)(uintptr_t)(ptr), &e); \
	int result = call; \
	if (is_known) \
		plain_freed(&e, result); \
	return result;
void plain_freed(const struct ledger_entry *e, int result);

/* The region of what a driver names by a handle, or by a number, in `known`: found once by
 * `find`, which answers negatively where there is none yet, and then is asked again. */
#define PLAIN_HANDLES 16
struct plain_regions {
	struct {
		mc_word handle; /* sync: release, after region; + 1 */
		int region;
	} known[PLAIN_HANDLES];
};
typedef int plain_find(struct copy *copy, uint64_t handle);
int plain_region(struct plain_regions *known, struct copy *copy, uint64_t handle, plain_find *find);

/* What a program is told: the least of what the device has and what the group may have. */
void plain_view(int resource, uint64_t *available, uint64_t *total);

#endif
