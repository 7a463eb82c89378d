/* SPDX-License-Identifier: MIT */
/* A context for a thread of ours that has none, so that it may call the driver.
 *
 * Only a device's primary context is entered, and only where the program has it: it is retained
 * meanwhile, so that it cannot go. Another one's handle may be gone by now, and such a handle must
 * not be shown to the driver; where a program has no primary context, the driver is called without
 * one. The thread is left as it was.
 */
#ifndef DEVICE_CUDA_ENTER_H
#define DEVICE_CUDA_ENTER_H

#include "device/cuda.h"

struct cuda_entered {
	cu_device device; /* negative: nothing was entered */
};

void cuda_enter(struct copy *copy, unsigned resource, struct cuda_entered *ret);
void cuda_leave(struct copy *copy, const struct cuda_entered *in);

#endif
