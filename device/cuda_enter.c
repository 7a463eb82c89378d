/* SPDX-License-Identifier: MIT */
/* What the thread needs in which we call the driver for ourselves. */
#include "device/cuda_enter.h"

#define RELAXED 2
#define UNCHANGED (-1)

/* In push-pop fashion; it changes nothing where nothing is captured, or the driver cannot. */
static int exchange(struct copy *copy, int mode)
{
	struct cuda_devices *d = cuda_devices(copy);

	return d->capture_mode && d->capture_mode(&mode) == 0 ? mode : UNCHANGED;
}

int cuda_relax(struct copy *copy)
{
	return exchange(copy, RELAXED);
}

void cuda_restore(struct copy *copy, int mode)
{
	if (mode != UNCHANGED)
		(void)exchange(copy, mode);
}

/* ---- a context ------------------------------------------------------------------------------------------- */

typedef int push_call(cu_handle context);
typedef int pop_call(cu_handle *ret);

static bool has_context(struct cuda_devices *d)
{
	cu_handle context = NULL;

	return d->ctx_current && d->ctx_current(&context) == 0 && context;
}

static cu_device device_of(struct cuda_devices *d, unsigned resource)
{
	for (cu_device i = 0; i < CUDA_DEVICES_MAX; i++)
		if (mc_load_relaxed(&d->region[i]) == resource)
			return i;
	return -1;
}

static bool is_active(struct cuda_devices *d, cu_device device)
{
	unsigned flags;
	int active = 0;

	return d->primary_state && d->primary_state(device, &flags, &active) == 0 && active;
}

/* Ours may be the last reference by now: then it ends as it would have by the program's. */
static void release(struct copy *copy, cu_device device)
{
	if (REAL(copy, cuDevicePrimaryCtxRelease_v2))
		(void)on_cuDevicePrimaryCtxRelease_v2(copy, device);
	else if (REAL(copy, cuDevicePrimaryCtxRelease))
		(void)on_cuDevicePrimaryCtxRelease(copy, device);
}

static bool push(struct copy *copy, struct cuda_devices *d, cu_device device)
{
	cu_handle context = NULL;
	push_call *call;

	*(void **)&call = resolve_in(copy, "cuCtxPushCurrent_v2");
	if (!call || !d->primary_retain || d->primary_retain(&context, device))
		return false;
	if (call(context) == 0)
		return true;
	release(copy, device);
	return false;
}

void cuda_enter(struct copy *copy, unsigned resource, struct cuda_entered *ret)
{
	struct cuda_devices *d = cuda_devices(copy);
	cu_device device = has_context(d) ? -1 : device_of(d, resource);

	ret->mode = cuda_relax(copy);
	ret->device = device >= 0 && is_active(d, device) && push(copy, d, device) ? device : -1;
}

static void leave(struct copy *copy, cu_device device)
{
	cu_handle context;
	pop_call *call;

	*(void **)&call = resolve_in(copy, "cuCtxPopCurrent_v2");
	if (call)
		(void)call(&context);
	release(copy, device);
}

void cuda_leave(struct copy *copy, const struct cuda_entered *in)
{
	if (in->device >= 0)
		leave(copy, in->device);
	cuda_restore(copy, in->mode);
}
