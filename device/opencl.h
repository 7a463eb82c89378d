/* SPDX-License-Identifier: MIT */
/* OpenCL's device memory: a layer between its loader and the drivers, in this same library.
 *
 * contract      any thread. What a driver would refuse by itself is the driver's to refuse, and its
 * results are passed on. A limit refuses with CL_MEM_OBJECT_ALLOCATION_FAILURE, SVM with NULL.
 * charged       a memory object by the size that the driver tells, until the driver frees it (its
 * destructor callbacks run); in a context of several devices once in the region of each, for it may
 * be on all of them. Not charged: sub-buffers, images made of buffers, what GL has, and
 * USE_HOST_PTR on devices that have the host's memory for theirs.
 */
#ifndef DEVICE_OPENCL_H
#define DEVICE_OPENCL_H

#include "device/ledger.h"
#include "device/opencl_abi.h"

enum opencl_place {
#define OPENCL(name, place, type, parameters) CL_##name = (place),
#define ASKED OPENCL
#include "device/opencl.def"
#undef OPENCL
#undef ASKED
};

#define OPENCL(name, place, type, parameters) \
	typedef type type_##name parameters; \
	type opencl_##name parameters;
#define ASKED(name, place, type, parameters) typedef type type_##name parameters;
#include "device/opencl.def"
#undef OPENCL
#undef ASKED

/* What stands below us; set before anything is called. */
extern void *const *opencl_below;
#define BELOW(name) ((type_##name *)opencl_below[CL_##name])

/* Of a context; on more devices its memory is not charged: partial. */
#define OPENCL_REGIONS_MAX 4u

struct opencl_regions {
	unsigned n;
	int8_t resource[OPENCL_REGIONS_MAX];
	bool is_host[OPENCL_REGIONS_MAX]; /* the device has no memory but the host's */
};

/* The region of a device; -1: it cannot be charged. */
int opencl_region(cl_handle device);

/* Those of a context's devices, each once; remembered until a context of that address is made. */
void opencl_regions_of(cl_handle context, struct opencl_regions *ret);
void opencl_context_is_new(cl_handle context);

/* True where no device of the context takes so much at once. */
bool opencl_is_beyond_devices(cl_handle context, size_t size);

/* A reservation in each of a context's regions. */
struct opencl_charge {
	unsigned n;
	bool is_host; /* one of them has no memory but the host's */
	int8_t resource[OPENCL_REGIONS_MAX];
	struct device_charge charge[OPENCL_REGIONS_MAX];
};

bool opencl_reserve(struct opencl_charge *c, cl_handle context, uint64_t flags, uint64_t bytes);
bool opencl_reserve_more(struct opencl_charge *c, uint64_t bytes);
void opencl_cancel(struct opencl_charge *c);

/* device_full in each of them. */
bool opencl_full(struct opencl_charge *c, uint64_t bytes);

/* Charged from now on, under the object's or the memory's address. */
void opencl_commit(struct opencl_charge *c, const void *key, uint64_t bytes);

struct opencl_held {
	unsigned n;
	struct ledger_entry entry[OPENCL_REGIONS_MAX];
};

/* Taken out, before the driver frees it; then given back. */
void opencl_take(const void *key, struct opencl_held *ret);
void opencl_give(const struct opencl_held *held);

#endif
