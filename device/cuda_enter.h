/* SPDX-License-Identifier: MIT */
/* What the thread needs in which we call the driver for ourselves: not to disturb what is captured,
 * and in a thread that has none, a context.
 *
 * Calls about pools are among those that end the capture of a stream, by this thread or (in its
 * global mode) by any other, unless the calling thread's mode is relaxed: so it is, meanwhile.
 *
 * The documents of CUDA 13 ask for no context where pools and graphs' memory are trimmed: they are
 * a device's. It is entered in case a driver does.
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
	int mode;
};

void cuda_enter(struct copy *copy, unsigned resource, struct cuda_entered *ret);
void cuda_leave(struct copy *copy, const struct cuda_entered *in);

/* The mode alone; the answer is cuda_restore's. In the program's threads, for what we ask of pools. */
int cuda_relax(struct copy *copy);
void cuda_restore(struct copy *copy, int mode);

#endif
