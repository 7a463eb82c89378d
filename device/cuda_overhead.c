/* SPDX-License-Identifier: MIT */
/* What contexts and modules take of a device for themselves: what NVML shows for this process, less
 * what is charged for it otherwise. Nobody can be asked beforehand, so it is charged whatever the
 * limits, where it may have changed: contexts that begin or end, modules that are loaded or not any
 * more. What a driver loads at a first launch is found at the next such moment.
 *
 * NVML shows pids as the machine's first namespace has them: where the daemon is not in that one,
 * nothing is found and nothing charged. */
#include "device/cuda.h"

#include "accounting/account.h"
#include "accounting/member.h"
#include "accounting/region.h"

#include <dlfcn.h>

#define PROCESSES_MAX 512

struct process {
	unsigned pid;
	unsigned long long used;
	unsigned instances[2];
};

static struct {
	mc_word32 state; /* 0, or 1: somebody looks, 2: found, 3: there is none */
	int (*by_address)(const char *, nvml_device *);
	int (*processes)(nvml_device, unsigned *, struct process *);
} nvml;

static void *look(void *library, const char *name)
{
	return resolve_real_dlsym(library, name);
}

static bool open_nvml(void)
{
	void *library = resolve_real_dlsym ? dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL) : NULL;
	int (*init)(void);

	if (!library) {
		(void)dlerror();
		return false;
	}
	*(void **)&init = look(library, "nvmlInit_v2");
	*(void **)&nvml.by_address = look(library, "nvmlDeviceGetHandleByPciBusId_v2");
	*(void **)&nvml.processes = look(library, "nvmlDeviceGetComputeRunningProcesses_v2");
	if (!nvml.processes) /* whose entries were longer in some releases */
		*(void **)&nvml.processes = look(library, "nvmlDeviceGetComputeRunningProcesses_v3");
	return init && nvml.by_address && nvml.processes && init() == 0;
}

static bool have_nvml(void)
{
	uint32_t unknown = 0;

	if (mc_load_acquire(&nvml.state) == 0 && mc_cas_full(&nvml.state, &unknown, 1))
		mc_store_release(&nvml.state, open_nvml() ? 2 : 3);
	return mc_load_acquire(&nvml.state) == 2;
}

/* Bytes; 0: nothing, or not to be known. */
static uint64_t shown(struct copy *copy, cu_device device, uint32_t pid)
{
	struct cuda_devices *d = cuda_devices(copy);
	char address[REGION_ADDRESS_MAX + 1];
	struct process process[PROCESSES_MAX];
	unsigned n = PROCESSES_MAX;
	uint64_t used = 0;
	nvml_device at;

	if (!have_nvml() || !d->device_address || d->device_address(address, sizeof(address), device) ||
	    nvml.by_address(address, &at) || nvml.processes(at, &n, process))
		return 0;
	for (unsigned i = 0; i < n && i < PROCESSES_MAX; i++)
		if (process[i].pid == pid && process[i].used < UINT64_MAX / 2)
			used += process[i].used;
	return used;
}

struct residual {
	struct device_member *member;
	unsigned resource;
	uint64_t shown; /* bytes */
};

/* A part of what is held is what was found last. */
static bool settle(struct ledger_entry *e, void *arg)
{
	struct residual *r = arg;
	const struct segment *seg = r->member->actor.seg;
	uint64_t held = member_held(seg, r->member->member, r->resource), before = e->paid.units;
	uint64_t others = held > before ? (held - before) * REGION_UNIT : 0;

	device_charge_settle(NULL, (int)r->resource, &e->paid, r->shown > others ? r->shown - others : 0);
	if (e->paid.units != before)
		account_class_add(seg, member_account_at(seg, r->member->member, e->paid.slot), CLASS_OBSERVED,
				  (int64_t)(e->paid.units - before));
	return false;
}

/* NVML first: what is allocated meanwhile then counts as charged, and not twice. */
void cuda_overhead_sample(struct copy *copy, cu_device device)
{
	int resource = cuda_region(copy, device);
	struct residual r = { .member = resource < 0 ? NULL : device_member(), .resource = (unsigned)resource };
	const struct ledger_entry fresh = { .key = (uint64_t)resource,
					    .kind = LEDGER_OVERHEAD,
					    .resource = (int8_t)resource };

	if (!r.member)
		return;
	r.shown = shown(copy, device,
			member_pid(mc_load_relaxed(&member_of(r.member->actor.seg, r.member->member)->state)));
	if (ledger_change(LEDGER_OVERHEAD, fresh.key, settle, &r, NULL) || r.shown == 0)
		return;
	if (ledger_put(&fresh))
		(void)ledger_change(LEDGER_OVERHEAD, fresh.key, settle, &r, NULL);
}

void cuda_overhead_sample_all(struct copy *copy)
{
	struct cuda_devices *d = cuda_devices(copy);

	for (cu_device i = 0; i < CUDA_DEVICES_MAX; i++)
		if (mc_load_relaxed(&d->region[i]) && mc_load_relaxed(&d->region[i]) != CUDA_REGION_NONE)
			cuda_overhead_sample(copy, i);
}

/* ---- contexts that begin */

/* How much they take nobody tells beforehand. */
#define TAKE(copy, name, region, ...) \
	CUDA_CALL(result, REAL(copy, name)(__VA_ARGS__), device_full_at(region, CUDA_BLOCK))

#define BEGIN(copy, name, device, ...) \
	int result; \
	TAKE(copy, name, cuda_region(copy, device), __VA_ARGS__); \
	if (!result) \
		cuda_overhead_sample(copy, device); \
	return result;

int on_cuCtxCreate(struct copy *copy, cu_handle *context, unsigned flags, cu_device device)
{
	BEGIN(copy, cuCtxCreate, device, context, flags, device)
}

int on_cuCtxCreate_v2(struct copy *copy, cu_handle *context, unsigned flags, cu_device device)
{
	BEGIN(copy, cuCtxCreate_v2, device, context, flags, device)
}

int on_cuCtxCreate_v3(struct copy *copy, cu_handle *context, void *parameters, int n, unsigned flags, cu_device device)
{
	BEGIN(copy, cuCtxCreate_v3, device, context, parameters, n, flags, device)
}

int on_cuCtxCreate_v4(struct copy *copy, cu_handle *context, void *parameters, unsigned flags, cu_device device)
{
	BEGIN(copy, cuCtxCreate_v4, device, context, parameters, flags, device)
}

/* Runtimes retain it again and again: only the first time makes it. */
int on_cuDevicePrimaryCtxRetain(struct copy *copy, cu_handle *context, cu_device device)
{
	bool was_there = cuda_primary_is_active(copy, device);
	int result;

	TAKE(copy, cuDevicePrimaryCtxRetain, cuda_region(copy, device), context, device);
	if (!result && !was_there)
		cuda_overhead_sample(copy, device);
	return result;
}

/* ---- modules, and what threads may have */

#define AROUND(copy, name, ...) \
	cu_device device; \
	int result; \
	TAKE(copy, name, cuda_current_region(copy), __VA_ARGS__); \
	if (!result && cuda_current_device(copy, &device) == 0) \
		cuda_overhead_sample(copy, device); \
	return result;

int on_cuModuleLoad(struct copy *copy, cu_handle *module, const char *file)
{
	AROUND(copy, cuModuleLoad, module, file)
}

int on_cuModuleLoadData(struct copy *copy, cu_handle *module, const void *image)
{
	AROUND(copy, cuModuleLoadData, module, image)
}

int on_cuModuleLoadDataEx(struct copy *copy, cu_handle *module, const void *image, unsigned n, int *options,
			  void **values)
{
	AROUND(copy, cuModuleLoadDataEx, module, image, n, options, values)
}

int on_cuModuleLoadFatBinary(struct copy *copy, cu_handle *module, const void *binary)
{
	AROUND(copy, cuModuleLoadFatBinary, module, binary)
}

int on_cuModuleUnload(struct copy *copy, cu_handle module)
{
	AROUND(copy, cuModuleUnload, module)
}

int on_cuLibraryLoadData(struct copy *copy, cu_handle *library, const void *code, int *options, void **values,
			 unsigned n, int *library_options, void **library_values, unsigned library_n)
{
	AROUND(copy, cuLibraryLoadData, library, code, options, values, n, library_options, library_values, library_n)
}

int on_cuLibraryLoadFromFile(struct copy *copy, cu_handle *library, const char *file, int *options, void **values,
			     unsigned n, int *library_options, void **library_values, unsigned library_n)
{
	AROUND(copy, cuLibraryLoadFromFile, library, file, options, values, n, library_options, library_values,
	       library_n)
}

int on_cuLibraryUnload(struct copy *copy, cu_handle library)
{
	AROUND(copy, cuLibraryUnload, library)
}

int on_cuCtxSetLimit(struct copy *copy, int limit, size_t value)
{
	AROUND(copy, cuCtxSetLimit, limit, value)
}
