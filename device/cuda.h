/* SPDX-License-Identifier: MIT */
/* CUDA's calls: what is done around each of them, one function on_<call> each, declared from
 * calls.def.
 *
 * Every one keeps to this: what the driver would refuse by itself is the driver's to refuse (NULL
 * results, sizes of 0, no context); its own answer is passed on unchanged; results are looked at
 * only where it has succeeded.
 */
#ifndef DEVICE_CUDA_H
#define DEVICE_CUDA_H

#include "device/heirs.h"
#include "device/ledger.h"
#include "device/resolve.h"

#define UNPACK(...) __VA_ARGS__

#define CALL(library, name, base, version, per_thread, parameters, arguments, sentence) \
	typedef int type_##name parameters; \
	int on_##name(struct copy *copy, UNPACK parameters);
#define CALL0(library, name, base, version, per_thread, sentence) \
	typedef int type_##name(void); \
	int on_##name(struct copy *copy);
#define PASS CALL
#include "device/calls.def"
#undef CALL
#undef CALL0
#undef PASS

/* The driver's own. */
#define REAL(copy, name) ((type_##name *)(copy)->real[CALL_##name])

/* A call that takes memory: DEVICE_CALL. */
#define CUDA_CALL(result, call, came) DEVICE_CALL(result, call, (result) == CU_OUT_OF_MEMORY && (came))

#define CUDA_BLOCK (2ull << 20) /* drivers take no less of a device */

#define CUDA_DEVICES_MAX 32

/* Driver functions that we call and do not wrap; those that an old driver lacks are NULL. */
struct cuda_devices {
	int (*ctx_device)(cu_device *);
	int (*ctx_current)(cu_handle *);
	int (*device_count)(int *);
	int (*device_uuid)(struct cu_uuid *, cu_device);
	int (*device_address)(char *, int, cu_device);
	int (*device_pool)(cu_handle *, cu_device);
	int (*pool_attribute)(cu_handle, int, void *);
	int (*graph_attribute)(cu_device, int, void *);
	int (*pointer_attribute)(void *, int, cu_ptr);
	int (*array_requirements)(struct cu_array_requirements *, cu_handle, cu_device);
	int (*mipmap_requirements)(struct cu_array_requirements *, cu_handle, cu_device);
	int (*address_range)(cu_ptr *, size_t *, cu_ptr);
	int (*granularity)(size_t *, const struct cu_physical_properties *, int);
	int (*primary_retain)(cu_handle *, cu_device);
	int (*primary_state)(cu_device, unsigned *, int *);
	int (*capture_mode)(int *);
	mc_word32 count;		    /* 0: not known yet */
	mc_word32 region[CUDA_DEVICES_MAX]; /* resource, by ordinal; 0 not met yet, CUDA_REGION_NONE
					     */
};

#define CUDA_REGION_NONE UINT32_MAX

struct cuda_devices *cuda_devices_find(struct copy *copy);

/* Made at the copy's first use. */
static inline struct cuda_devices *cuda_devices(struct copy *copy)
{
	struct cuda_devices *d = mc_load_acquire(&copy->devices);

	return __builtin_expect(d != NULL, 1) ? d : cuda_devices_find(copy);
}

/* The region of a device, by its ordinal in this process; -1: it cannot be charged. */
int cuda_region(struct copy *copy, cu_device ordinal);

/* That of the calling thread's context; -1: it has none. */
int cuda_current_region(struct copy *copy);
int cuda_current_device(struct copy *copy, cu_device *ret);

/* What a refused call answers: out of memory, or what the driver would have said before it came to
 * that. */
cu_result cuda_refused(struct copy *copy);

/* Device memory was given back here: who else has it pays for it now. */
static inline void cuda_gave_back(const struct ledger_entry *e)
{
	if (__builtin_expect(e->of != 0, 0))
		e->paid.units ? heirs_give(e->of) : heirs_leave(e->of);
	device_charge_return(&e->paid);
}

/* Pools are charged with what they have reserved, looked up where that may have changed. */
void cuda_pools_sample(struct copy *copy);
void cuda_pools_sample_if_due(struct copy *copy);
void cuda_pools_expect_change(void);
void cuda_graphs_sample(struct copy *copy, cu_device device);

/* What contexts and modules take, where that may have changed. */
void cuda_overhead_sample(struct copy *copy, cu_device device);
void cuda_overhead_sample_all(struct copy *copy);
bool cuda_primary_is_active(struct copy *copy, cu_device device);
bool cuda_pools_trim(unsigned resource, uint64_t bytes);

#endif
