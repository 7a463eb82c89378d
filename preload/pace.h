/* SPDX-License-Identifier: MIT */
/*
 * How far apart samples are: as near as what they cost allows.
 *
 * mean          bytes between two samples on average, chosen anew after each sample from what has happened before it
 *               alone, so that a sample weighed with the mean it was drawn with is without bias.
 * cost          is measured: cycles of samples taken, and of what freeing beside a sampled block takes longer. A thread
 *               may spend 1/128 of its time, 1/64 while the heap grows, and save up a little; who has spent it is as
 *               coarse as `rate`.
 * memory        beyond PACE_LIVE samples that live, the mean doubles with each PACE_LIVE_MORE.
 *
 * contract      any thread, signal handlers; per-thread state and one counter.
 */
#ifndef PRELOAD_PACE_H
#define PRELOAD_PACE_H

#include <stdint.h>

#define PACE_FINER 6u /* the finest mean is rate >> this */
#define PACE_LIVE 36864u
#define PACE_LIVE_MORE 8192u

/* The next sample is to be drawn: with which mean; `live` samples there are. */
uint64_t pace_next(uint64_t rate, uint32_t live);

/* The finest. */
uint64_t pace_finest(uint64_t rate);

/* Cycles. Elsewhere nothing is sampled (unwind.h). */
static inline uint64_t pace_clock(void)
{
#if defined(__x86_64__)
	return (uint64_t)__builtin_ia32_rdtsc();
#else
	return 0;
#endif
}

/* A sample was taken since then. */
void pace_spend(uint64_t since);

/* A block beside a sampled one was freed. */
extern __thread uint32_t pace_detours;

#endif
