/* SPDX-License-Identifier: MIT */
/*
 * Which bytes are sampled: each byte with the same chance, independently (a Poisson process with one point every
 * `rate` bytes on average), so that sums of weights are estimates without bias whatever the sizes are.
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
	uint64_t count; /* in 1/256 */
};

/* How many bytes until the next sample; at least 1. */
uint64_t sample_wait(uint64_t rate);

/* What a sampled block of `size` bytes stands for: the size over the chance that one of its bytes is hit. */
struct sample_weight sample_weigh(uint64_t size, uint64_t rate);

/* The same process for what is not counted by the heap: true when `size` bytes more hit a point. */
bool sample_hits(uint64_t size, uint64_t rate);

/* "512K", "1M", a number of bytes; "", "1", "on", "yes": the default; 0: off. */
uint64_t sample_parse_rate(const char *text);

#define SAMPLE_RATE_DEFAULT (512u << 10)
#define SAMPLE_RATE_MIN 4096u
#define SAMPLE_RATE_MAX (1u << 30)

#endif
