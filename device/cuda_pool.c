/* SPDX-License-Identifier: MIT */
/* Stream-ordered memory and graphs: a pool is charged with what it has reserved of the device,
 * whatever it hands out.
 *
 * Before an allocation the part that the pool lacks is reserved; after it the charge becomes what
 * the pool says. What was given back leaves the pool when streams are waited for, or when it is
 * trimmed: there it is asked again. */
#include "device/cuda_enter.h"
#include "device/cuda_holders.h"
#include "device/lend.h"

#include <stddef.h>

static mc_word32 is_due; /* something was given back since pools were asked last */

void cuda_pools_expect_change(void)
{
	mc_store_relaxed(&is_due, 1);
}

static bool ask(struct copy *copy, cu_handle pool, int attribute, uint64_t *ret)
{
	struct cuda_devices *d = cuda_devices(copy);

	*ret = 0;
	return d->pool_attribute && d->pool_attribute(pool, attribute, ret) == 0;
}

/* ---- settling -------------------------------------------------------------------------------------------- */

struct settling {
	struct device_charge *charge; /* NULL: none */
	uint64_t reserved;
};

static bool settle(struct ledger_entry *e, void *arg)
{
	struct settling *s = arg;

	device_charge_settle(s->charge, e->resource, &e->paid, s->reserved);
	return false;
}

void cuda_pool_is(struct copy *copy, cu_handle pool, int resource, bool is_own)
{
	const struct ledger_entry e = { .key = (uintptr_t)pool,
					.kind = LEDGER_POOL,
					.of = copy->index,
					.handles = is_own,
					.resource = (int8_t)resource };

	if (is_own || !ledger_find(LEDGER_POOL, e.key, NULL))
		(void)ledger_put(&e);
}

/* `charge` is used up. */
static void sample(struct copy *copy, cu_handle pool, struct device_charge *charge)
{
	struct settling s = { .charge = charge };

	if (!ask(copy, pool, CU_POOL_RESERVED_CURRENT, &s.reserved) ||
	    !ledger_change(LEDGER_POOL, (uintptr_t)pool, settle, &s, NULL))
		if (charge)
			device_charge_cancel(charge);
}

#define POOLS_MAX 64

static void each(void (*look)(struct copy *, cu_handle), struct copy *copy, int resource)
{
	uint64_t key[POOLS_MAX];
	size_t n = ledger_count(LEDGER_POOL) ? ledger_keys(LEDGER_POOL, key, POOLS_MAX) : 0;

	for (size_t i = 0; i < n && i < POOLS_MAX; i++) {
		struct ledger_entry e;

		if (ledger_find(LEDGER_POOL, key[i], &e) && e.of == copy->index && e.resource >= 0 &&
		    (resource < 0 || e.resource == resource))
			look(copy, (cu_handle)(uintptr_t)key[i]);
	}
}

static void sample_one(struct copy *copy, cu_handle pool)
{
	sample(copy, pool, NULL);
}

void cuda_pools_sample(struct copy *copy)
{
	int mode = cuda_relax(copy);

	each(sample_one, copy, -1);
	cuda_restore(copy, mode);
}

void cuda_pools_sample_if_due(struct copy *copy)
{
	if (__builtin_expect(mc_load_relaxed(&is_due), 0) && mc_exchange_full(&is_due, 0))
		cuda_pools_sample(copy);
	device_lend_if_asked();
}

/* ---- allocating ------------------------------------------------------------------------------------------ */

/* Its own, where it is not named: the one that the device has now. */
static cu_handle current_pool(struct copy *copy)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_handle pool = NULL;
	cu_device device;

	if (cuda_current_device(copy, &device) || !d->device_pool || d->device_pool(&pool, device))
		return NULL;
	return pool;
}

/* What the pool would take from the device for `size` more. */
static uint64_t lacking(struct copy *copy, cu_handle pool, uint64_t size)
{
	uint64_t reserved, used;

	if (!pool || !ask(copy, pool, CU_POOL_RESERVED_CURRENT, &reserved) ||
	    !ask(copy, pool, CU_POOL_USED_CURRENT, &used) || reserved < used)
		return size;
	return size > reserved - used ? size - (reserved - used) : 0;
}

/* The pool that a pointer came from; NULL where the driver does not say, as for a captured
 * allocation. */
static cu_handle pool_of_pointer(struct copy *copy, cu_ptr ptr)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_handle pool = NULL;

	if (!d->pointer_attribute || d->pointer_attribute(&pool, CU_POINTER_MEMPOOL, ptr))
		return NULL;
	return pool;
}

static int region_of_pointer(struct copy *copy, cu_ptr ptr)
{
	struct cuda_devices *d = cuda_devices(copy);
	int ordinal = -1, type = 0;

	if (d->pointer_attribute && !d->pointer_attribute(&type, CU_POINTER_MEMORY_TYPE, ptr) && type == CU_MEMORY_HOST)
		return -1;
	if (!d->pointer_attribute || d->pointer_attribute(&ordinal, CU_POINTER_DEVICE_ORDINAL, ptr))
		return cuda_current_region(copy);
	return cuda_region(copy, ordinal);
}

static void allocated(struct copy *copy, cu_ptr ptr, uint64_t size, cu_handle pool, struct device_charge *charge,
		      int resource)
{
	int mode = cuda_relax(copy);
	cu_handle said = pool_of_pointer(copy, ptr);
	struct ledger_entry e;

	if (said)
		cuda_pooled_add(ptr, pool = said, size);
	if (!ledger_find(LEDGER_POOL, (uintptr_t)pool, &e)) {
		e.resource = (int8_t)region_of_pointer(copy, ptr);
		cuda_pool_is(copy, pool, e.resource, false);
	}
	if (e.resource != resource) { /* it was another device's: charged there, whatever the limit */
		device_charge_cancel(charge);
		charge = NULL;
	}
	sample(copy, pool, charge);
	cuda_restore(copy, mode);
	device_lend(e.resource);
	device_lend_if_asked();
}

/* NULL: the current one's, which is put there. */
static uint64_t lacking_in(struct copy *copy, cu_handle *pool, uint64_t size)
{
	int mode = cuda_relax(copy);
	uint64_t bytes;

	if (!*pool)
		*pool = current_pool(copy);
	bytes = lacking(copy, *pool, size);
	cuda_restore(copy, mode);
	return bytes;
}

#define ALLOCATE(copy, name, in, region, ptr, size, ...) \
	struct device_charge charge; \
	int resource, result; \
	cu_handle from = (in); \
	if (!(ptr) || !(size)) \
		return REAL(copy, name)(__VA_ARGS__); \
	resource = (region); \
	if (!device_charge_reserve(&charge, resource, lacking_in(copy, &from, size))) \
		return cuda_refused(copy); \
	CUDA_CALL(result, REAL(copy, name)(__VA_ARGS__), device_full(&charge, size)); \
	if (result) \
		device_charge_cancel(&charge); \
	else \
		allocated(copy, *(ptr), size, from, &charge, resource); \
	return result;

static int region_of_pool(struct copy *copy, cu_handle pool)
{
	struct ledger_entry e;

	return ledger_find(LEDGER_POOL, (uintptr_t)pool, &e) ? e.resource : cuda_current_region(copy);
}

int on_cuMemAllocAsync(struct copy *copy, cu_ptr *ptr, size_t size, cu_handle stream)
{
	ALLOCATE(copy, cuMemAllocAsync, NULL, cuda_current_region(copy), ptr, size, ptr, size, stream)
}

int on_cuMemAllocAsync_ptsz(struct copy *copy, cu_ptr *ptr, size_t size, cu_handle stream)
{
	ALLOCATE(copy, cuMemAllocAsync_ptsz, NULL, cuda_current_region(copy), ptr, size, ptr, size, stream)
}

int on_cuMemAllocFromPoolAsync(struct copy *copy, cu_ptr *ptr, size_t size, cu_handle pool, cu_handle stream)
{
	ALLOCATE(copy, cuMemAllocFromPoolAsync, pool, region_of_pool(copy, pool), ptr, size, ptr, size, pool, stream)
}

int on_cuMemAllocFromPoolAsync_ptsz(struct copy *copy, cu_ptr *ptr, size_t size, cu_handle pool, cu_handle stream)
{
	ALLOCATE(copy, cuMemAllocFromPoolAsync_ptsz, pool, region_of_pool(copy, pool), ptr, size, ptr, size, pool,
		 stream)
}

/* Plain memory may be given back so, too. */
#define GIVE(copy, name, ptr, stream) \
	struct ledger_entry e; \
	bool known = ledger_take(LEDGER_POINTER, ptr, &e); \
	bool other = !known && cuda_address_take(ptr, &e); \
	int result = cuda_address_freed(other ? &e : NULL, REAL(copy, name)(ptr, stream)); \
	if (known && result) \
		(void)ledger_put(&e); \
	else if (known) \
		cuda_gave_back(&e); \
	else if (!result) \
		cuda_pools_expect_change(); \
	return result;

int on_cuMemFreeAsync(struct copy *copy, cu_ptr ptr, cu_handle stream)
{
	GIVE(copy, cuMemFreeAsync, ptr, stream)
}

int on_cuMemFreeAsync_ptsz(struct copy *copy, cu_ptr ptr, cu_handle stream)
{
	GIVE(copy, cuMemFreeAsync_ptsz, ptr, stream)
}

/* ---- the pools themselves -------------------------------------------------------------------------------- */

/* Managed memory that is nowhere in particular is charged in full, where it is asked for. */
static int region_of_kind(struct copy *copy, const struct cu_location *location, int type)
{
	return type == CU_ALLOCATION_MANAGED && location->type == CU_LOCATION_NONE ? cuda_current_region(copy)
										   : cuda_region_at(copy, location);
}

int on_cuMemPoolCreate(struct copy *copy, cu_handle *pool, const struct cu_pool_properties *properties)
{
	int result = REAL(copy, cuMemPoolCreate)(pool, properties);

	if (!result && pool && properties)
		cuda_pool_is(copy, *pool, region_of_kind(copy, &properties->location, properties->type), true);
	return result;
}

#define MEET(copy, name, pool, location, type) \
	int result = REAL(copy, name)(pool, location, type); \
	if (!result && (pool) && (location)) \
		cuda_pool_is(copy, *(pool), region_of_kind(copy, location, type), false); \
	return result;

int on_cuMemGetDefaultMemPool(struct copy *copy, cu_handle *pool, const struct cu_location *location, int type)
{
	MEET(copy, cuMemGetDefaultMemPool, pool, location, type)
}

int on_cuMemGetMemPool(struct copy *copy, cu_handle *pool, const struct cu_location *location, int type)
{
	MEET(copy, cuMemGetMemPool, pool, location, type)
}

/* What is still handed out lives on until it is given back. Of a pool that was made before we were
 * there nobody can be asked about that, so it stays charged. */
int on_cuMemPoolDestroy(struct copy *copy, cu_handle pool)
{
	struct ledger_entry e;
	uint64_t used = 0;
	int result;

	(void)ask(copy, pool, CU_POOL_USED_CURRENT, &used);
	result = REAL(copy, cuMemPoolDestroy)(pool);
	if (result || !ledger_take(LEDGER_POOL, (uintptr_t)pool, &e))
		return result;
	if (e.handles) {
		cuda_pooled_ended(&e);
	} else if (e.resource >= 0) {
		device_charge_settle(NULL, e.resource, &e.paid, used);
		if (used)
			device_member_mark_partial();
	}
	return result;
}

int on_cuMemPoolTrimTo(struct copy *copy, cu_handle pool, size_t size)
{
	int result = REAL(copy, cuMemPoolTrimTo)(pool, size);

	if (!result)
		sample(copy, pool, NULL);
	return result;
}

int on_cuMemPoolSetAttribute(struct copy *copy, cu_handle pool, int attribute, void *value)
{
	int result = REAL(copy, cuMemPoolSetAttribute)(pool, attribute, value);

	if (!result && attribute == CU_POOL_RELEASE_THRESHOLD)
		cuda_pools_expect_change();
	return result;
}

/* ---- where pools shrink ---------------------------------------------------------------------------------- */

#define AFTERWARDS(copy, call) \
	int result = (call); \
	cuda_pools_sample_if_due(copy); \
	return result;

int on_cuStreamSynchronize(struct copy *copy, cu_handle stream)
{
	AFTERWARDS(copy, REAL(copy, cuStreamSynchronize)(stream))
}

int on_cuStreamSynchronize_ptsz(struct copy *copy, cu_handle stream)
{
	AFTERWARDS(copy, REAL(copy, cuStreamSynchronize_ptsz)(stream))
}

int on_cuEventSynchronize(struct copy *copy, cu_handle event)
{
	AFTERWARDS(copy, REAL(copy, cuEventSynchronize)(event))
}

int on_cuCtxSynchronize(struct copy *copy)
{
	AFTERWARDS(copy, REAL(copy, cuCtxSynchronize)())
}

int on_cuCtxSynchronize_v2(struct copy *copy, cu_handle context)
{
	AFTERWARDS(copy, REAL(copy, cuCtxSynchronize_v2)(context))
}

/* ---- graphs ---------------------------------------------------------------------------------------------- */

static bool reserved_by_graphs(struct copy *copy, cu_device device, uint64_t *ret)
{
	struct cuda_devices *d = cuda_devices(copy);
	int mode = cuda_relax(copy);
	bool known = d->graph_attribute && d->graph_attribute(device, CU_GRAPH_RESERVED_CURRENT, ret) == 0;

	cuda_restore(copy, mode);
	return known;
}

void cuda_graphs_sample(struct copy *copy, cu_device device)
{
	struct settling s = { .charge = NULL };
	int resource = cuda_region(copy, device);
	const struct ledger_entry fresh = {
		.key = (uint64_t)resource, .kind = LEDGER_GRAPHS, .of = copy->index, .resource = (int8_t)resource
	};

	if (resource < 0 || !reserved_by_graphs(copy, device, &s.reserved))
		return;
	if (ledger_change(LEDGER_GRAPHS, fresh.key, settle, &s, NULL) || s.reserved == 0)
		return;
	if (ledger_put(&fresh))
		(void)ledger_change(LEDGER_GRAPHS, fresh.key, settle, &s, NULL);
	device_lend(resource);
}

static void sample_current(struct copy *copy)
{
	cu_device device;

	if (cuda_current_device(copy, &device) == 0)
		cuda_graphs_sample(copy, device);
}

/* What a launch takes of the device nobody tells. */
#define AROUND_GRAPH(copy, call) \
	int result; \
	CUDA_CALL(result, call, device_full_at(cuda_current_region(copy), CUDA_BLOCK)); \
	if (!result) \
		sample_current(copy); \
	return result;

int on_cuGraphLaunch(struct copy *copy, cu_handle graph, cu_handle stream)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphLaunch)(graph, stream))
}

int on_cuGraphLaunch_ptsz(struct copy *copy, cu_handle graph, cu_handle stream)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphLaunch_ptsz)(graph, stream))
}

int on_cuGraphUpload(struct copy *copy, cu_handle graph, cu_handle stream)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphUpload)(graph, stream))
}

int on_cuGraphUpload_ptsz(struct copy *copy, cu_handle graph, cu_handle stream)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphUpload_ptsz)(graph, stream))
}

int on_cuGraphInstantiateWithParams(struct copy *copy, cu_handle *exec, cu_handle graph, void *parameters)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphInstantiateWithParams)(exec, graph, parameters))
}

int on_cuGraphInstantiateWithParams_ptsz(struct copy *copy, cu_handle *exec, cu_handle graph, void *parameters)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphInstantiateWithParams_ptsz)(exec, graph, parameters))
}

int on_cuGraphExecDestroy(struct copy *copy, cu_handle graph)
{
	AROUND_GRAPH(copy, REAL(copy, cuGraphExecDestroy)(graph))
}

int on_cuDeviceGraphMemTrim(struct copy *copy, cu_device device)
{
	int result = REAL(copy, cuDeviceGraphMemTrim)(device);

	if (!result)
		cuda_graphs_sample(copy, device);
	return result;
}

/* Of CUDA_MEM_ALLOC_NODE_PARAMS: what kind of pool it is taken from, and how much. */
struct alloc_node {
	int type;
	int handle_types;
	struct cu_location location;
	void *security;
	size_t most;
	unsigned short usage;
	unsigned char reserved[54];
	const void *access;
	size_t accesses;
	size_t size;
	cu_ptr ptr;
};

_Static_assert(offsetof(struct alloc_node, size) == 104, "the driver's layout");

/* Nothing is taken before a launch, which cannot be refused: what has no room now is refused here.
 */
static bool has_room(struct copy *copy, const struct alloc_node *p)
{
	struct device_charge charge;

	if (!device_charge_reserve(&charge, cuda_region_at(copy, &p->location), p->size))
		return false;
	device_charge_cancel(&charge);
	return true;
}

int on_cuGraphAddMemAllocNode(struct copy *copy, cu_handle *node, cu_handle graph, const cu_handle *after, size_t n,
			      void *parameters)
{
	if (node && graph && parameters && !has_room(copy, parameters))
		return CU_OUT_OF_MEMORY;
	return REAL(copy, cuGraphAddMemAllocNode)(node, graph, after, n, parameters);
}

/* A node of any kind, which `type` says. */
struct any_node {
	int type, reserved[3];
	struct alloc_node alloc;
};

static bool may_be_added(struct copy *copy, const cu_handle *node, cu_handle graph, const void *parameters)
{
	const struct any_node *p = parameters;

	return !node || !graph || !p || p->type != CU_NODE_ALLOCATES || has_room(copy, &p->alloc);
}

int on_cuGraphAddNode(struct copy *copy, cu_handle *node, cu_handle graph, const cu_handle *after, size_t n,
		      void *parameters)
{
	if (!may_be_added(copy, node, graph, parameters))
		return CU_OUT_OF_MEMORY;
	return REAL(copy, cuGraphAddNode)(node, graph, after, n, parameters);
}

int on_cuGraphAddNode_v2(struct copy *copy, cu_handle *node, cu_handle graph, const cu_handle *after, const void *edges,
			 size_t n, void *parameters)
{
	if (!may_be_added(copy, node, graph, parameters))
		return CU_OUT_OF_MEMORY;
	return REAL(copy, cuGraphAddNode_v2)(node, graph, after, edges, n, parameters);
}

/* ---- reclaim --------------------------------------------------------------------------------------------- */

static void trim_one(struct copy *copy, cu_handle pool)
{
	if (REAL(copy, cuMemPoolTrimTo)(pool, 0) == 0)
		sample(copy, pool, NULL);
}

static void trim_graphs(struct copy *copy, unsigned resource)
{
	struct cuda_devices *d = cuda_devices(copy);

	for (cu_device i = 0; i < CUDA_DEVICES_MAX; i++)
		if (mc_load_relaxed(&d->region[i]) == resource && REAL(copy, cuDeviceGraphMemTrim) &&
		    REAL(copy, cuDeviceGraphMemTrim)(i) == 0)
			cuda_graphs_sample(copy, i);
}

static bool trim_in(struct copy *copy, unsigned resource)
{
	struct cuda_entered in;

	if (!mc_load_acquire(&copy->ready) || !REAL(copy, cuMemPoolTrimTo))
		return false;
	cuda_enter(copy, resource, &in); /* this may be the helper, for others */
	each(trim_one, copy, (int)resource);
	if (ledger_count(LEDGER_GRAPHS))
		trim_graphs(copy, resource);
	cuda_leave(copy, &in);
	return true;
}

/* Drivers in all link namespaces. */
bool cuda_pools_trim(unsigned resource, uint64_t bytes)
{
	bool any = false;

	(void)bytes;
	if (ledger_count(LEDGER_POOL) || ledger_count(LEDGER_GRAPHS))
		for (unsigned i = 0; i < COPIES; i++)
			any |= trim_in(resolve_copy(LIBRARY_CUDA, i), resource);
	return any;
}
