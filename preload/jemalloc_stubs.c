/* SPDX-License-Identifier: MIT */
/*
 * What only jemalloc's profiler calls of libm and libgcc_s: either library would cost every exec
 * more than 70 us, and prof:false keeps the profiler off. Harmless answers all the same, should it
 * be reached.
 */
#include "preload/jemalloc_stubs.h"

double mc_stub_log(double x)
{
	(void)x;
	return -1.0; /* a divisor in the sampling interval: not 0 */
}

double mc_stub_exp(double x)
{
	(void)x;
	return 0.0; /* a divisor's rest */
}

double mc_stub_round(double x)
{
	return x;
}

int mc_stub_Unwind_Backtrace(void *trace_fn, void *arg)
{
	(void)trace_fn;
	(void)arg;
	return 5; /* _URC_END_OF_STACK: no frame */
}

unsigned long mc_stub_Unwind_GetIP(void *context)
{
	(void)context;
	return 0;
}
