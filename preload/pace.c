/* SPDX-License-Identifier: MIT */
/* How far apart samples are. */
#include "preload/pace.h"

#include "accounting/atomic.h"
#include "preload/sample.h"

#include <stdbool.h>

#define SAVED_MAX (1 << 18) /* cycles */
#define OWED_MAX (1 << 21)  /* then as coarse as may be; on the way, in proportion */
#define SPEND_MAX \
	(1 << 13)  /* more than that at once was not the sample: the thread had to wait for a CPU \
		    */
#define DETOUR 700 /* cycles: cache misses */
#define FIRST 256u /* samples of a heap that grows */
#define STEPS 8u   /* of the mean, from one power of 2 to the next */
#define STEPS_MIN 3u
#define STEPS_MAX (PACE_FINER * STEPS)

static __thread uint64_t counted; /* the time up to which this thread has been given what it earned; 0: not at all */
static __thread int64_t saved;	  /* cycles; below 0: owed */
__thread uint32_t pace_detours;

static mc_word32 started; /* sync: relaxed; the first thread may begin finely */
static mc_word32 drawn;	  /* sync: relaxed; while the heap grew */

/* More than half of all samples still live. */
static bool is_growing(uint32_t live)
{
	if (mc_load_relaxed(&drawn) >= FIRST + 2 * live)
		return false;
	mc_add_relaxed(&drawn, 1);
	return true;
}

/* The first thread may begin finely; many that live for a moment may not. */
static void begin(uint64_t now)
{
	counted = now;
	saved = mc_load_relaxed(&started) ? -OWED_MAX / 2 : SAVED_MAX;
	mc_store_relaxed(&started, 1);
}

static void earn(bool grows)
{
	uint64_t now = pace_clock();
	uint64_t earned;

	if (!counted)
		begin(now);
	earned = (now - counted) >> (grows ? 6 : 7);
	counted = now;
	if (!grows)
		saved -= (int64_t)pace_detours * DETOUR;
	pace_detours = 0;
	if (saved < -OWED_MAX)
		saved = -OWED_MAX;
	saved = earned > SAVED_MAX + OWED_MAX ? SAVED_MAX : saved + (int64_t)earned;
	if (saved > SAVED_MAX)
		saved = SAVED_MAX;
}

void pace_spend(uint64_t since)
{
	uint64_t cycles = pace_clock() - since;

	saved -= cycles < SPEND_MAX ? (int64_t)cycles : SPEND_MAX;
}

/* How often the finest mean is to be doubled, in steps. Little by little: a few heavy samples among
 * light ones are noise. */
static unsigned steps_of_cost(uint32_t live)
{
	earn(is_growing(live));
	return saved >= 0 ? STEPS_MIN : STEPS_MIN + (unsigned)(-saved * (STEPS_MAX - STEPS_MIN) / OWED_MAX);
}

static unsigned steps_of_memory(uint32_t live)
{
	return live < PACE_LIVE ? 0 : STEPS * (1 + (live - PACE_LIVE) / PACE_LIVE_MORE);
}

static uint64_t mean_of(uint64_t rate, unsigned steps)
{
	uint64_t mean = steps < 20 * STEPS ? (rate << steps / STEPS) * (STEPS + steps % STEPS) / STEPS >> PACE_FINER
					   : SAMPLE_RATE_MAX;

	if (mean < SAMPLE_RATE_MIN)
		return SAMPLE_RATE_MIN;
	return mean > SAMPLE_RATE_MAX ? SAMPLE_RATE_MAX : mean;
}

uint64_t pace_finest(uint64_t rate)
{
	return mean_of(rate, STEPS_MIN);
}

uint64_t pace_next(uint64_t rate, uint32_t live)
{
	unsigned cost = steps_of_cost(live);
	unsigned memory = steps_of_memory(live);

	return mean_of(rate, cost > memory ? cost : memory);
}
