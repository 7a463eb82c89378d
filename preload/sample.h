/* SPDX-License-Identifier: MIT */
/*
 * Which bytes are sampled: each byte with the same chance, independently (a Poisson process with one point every
 * `mean` bytes on average), so that sums of weights are estimates without bias whatever the sizes are. The mean may
 * change from one sample to the next (pace.h): each weighs what it stands for with the mean it was drawn with.
 *
 * contract      any thread, signal handlers; per-thread state, no library but libc's basics.
 */
#ifndef PRELOAD_SAMPLE_H
#define PRELOAD_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/* What one sampled block stands for. */
struct sample_weight {
	uint64_t bytes;
	uint64_t count;	 /* in 1/256 */
	uint64_t spread; /* what it adds to the variance of a sum: bytes^2, in 65536 */
};

/* How many bytes until the next sample; at least 1. */
uint64_t sample_wait(uint64_t mean);

/* What a sampled block of `size` bytes stands for: the size over the chance that one of its bytes is hit. */
struct sample_weight sample_weigh(uint64_t size, uint64_t mean);

/* The same process for what is not counted by the heap: the mean when `size` bytes more hit a point, else 0. The next
 * point is drawn with `mean`. */
uint64_t sample_hits(uint64_t size, uint64_t mean);

/* As if the sample had been one of half as many: by chance it is none any more (false), or stands for
 * twice as much. */
bool sample_halve(struct sample_weight *w);

/* "512K", "1M", a number of bytes; "", "1", "on", "yes": the default; 0: off. */
uint64_t sample_parse_rate(const char *text);

#define SAMPLE_RATE_DEFAULT (512u << 10)
#define SAMPLE_RATE_MIN 4096u
#define SAMPLE_RATE_MAX (1u << 30)

#endif
