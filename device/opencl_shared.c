/* SPDX-License-Identifier: MIT */
/* OpenCL's shared virtual memory: known by its address. */
#include "device/opencl.h"

void *opencl_clSVMAlloc(cl_handle context, uint64_t flags, size_t size, unsigned alignment)
{
	struct opencl_charge charge;
	void *ptr;

	if (!opencl_reserve(&charge, context, 0, size))
		return NULL;
	DEVICE_CALL(ptr, BELOW(clSVMAlloc)(context, flags, size, alignment),
		    !ptr && size && !opencl_is_beyond_devices(context, size) && opencl_full(&charge, size));
	if (ptr)
		opencl_commit(&charge, ptr, size);
	else
		opencl_cancel(&charge);
	return ptr;
}

/* Taken out before: afterwards the address may be somebody else's. */
void opencl_clSVMFree(cl_handle context, void *ptr)
{
	struct opencl_held held;

	opencl_take(ptr, &held);
	BELOW(clSVMFree)(context, ptr);
	opencl_give(&held);
}

/* In place of the driver's own way to free them, when the command has come to its turn. */
static void free_all(cl_handle queue, unsigned n, void *ptrs[], void *arg)
{
	cl_handle context = NULL;

	(void)arg;
	(void)BELOW(clGetCommandQueueInfo)(queue, CL_QUEUE_CONTEXT, sizeof(context), &context, NULL);
	for (unsigned i = 0; context && i < n; i++)
		opencl_clSVMFree(context, ptrs[i]);
}

/* A program's own function frees them by clSVMFree. */
int opencl_clEnqueueSVMFree(cl_handle queue, unsigned n, void *ptrs[], cl_free *give, void *arg, unsigned waits,
			    const cl_handle *wait, cl_handle *event)
{
	return BELOW(clEnqueueSVMFree)(queue, n, ptrs, give ? give : free_all, arg, waits, wait, event);
}
