/* SPDX-License-Identifier: MIT */
/* Names jemalloc_joined.o wants in place of libm's and libgcc_s's; see jemalloc_stubs.c. */
#ifndef PRELOAD_JEMALLOC_STUBS_H
#define PRELOAD_JEMALLOC_STUBS_H

double mc_stub_log(double x);
double mc_stub_exp(double x);
double mc_stub_round(double x);
int mc_stub_Unwind_Backtrace(void *trace_fn, void *arg);
unsigned long mc_stub_Unwind_GetIP(void *context);

#endif
