/* SPDX-License-Identifier: MIT */
/* How long a thread waits that charged beyond memory.high. */
#include "accounting/throttle.h"

#include "accounting/pool.h"

#define SCALING 14 /* makes the square of an overage a delay; the kernel's choice */

/* (rest << 20) / high bit by bit: the shifted number may need more than 64 bits, and a 128-bit division is a
 * call into libgcc. */
static uint64_t fraction(uint64_t rest, uint64_t high)
{
	uint64_t quotient = 0;

	for (int bit = 0; bit < THROTTLE_PRECISION; bit++) {
		rest <<= 1;
		quotient <<= 1;
		if (rest >= high) {
			rest -= high;
			quotient |= 1;
		}
	}
	return quotient;
}

uint64_t throttle_overage(uint64_t usage, uint64_t high)
{
	uint64_t over = usage > high ? usage - high : 0;

	high = high ? high : 1;
	if (over / high >= THROTTLE_OVERAGE_MAX >> THROTTLE_PRECISION)
		return THROTTLE_OVERAGE_MAX;
	return (over / high << THROTTLE_PRECISION) + (over ? fraction(over % high, high) : 0);
}

uint64_t throttle_overage_of(const struct segment *seg, unsigned resource, uint16_t group)
{
	uint64_t largest = 0;

	for (; group != GROUP_ROOT; group = group_parent(seg, group)) {
		uint64_t high = mc_load_relaxed(&seg->limits->limits[resource][group].high);
		uint64_t usage = pool_usage(mc_load_relaxed(&pool_of(seg, resource, group)->word));
		uint64_t overage = throttle_overage(usage, high);

		largest = overage > largest ? overage : largest;
	}
	return largest;
}

/* An overage has at most 27 bits, so its square in ms fits; more pages than 2^32 wait the maximum anyhow. */
static uint64_t delay_ms(uint64_t overage, uint64_t pages)
{
	uint64_t ms;

	overage = overage < THROTTLE_OVERAGE_MAX ? overage : THROTTLE_OVERAGE_MAX;
	ms = overage * overage * 1000 >> THROTTLE_PRECISION >> SCALING;
	pages = pages < 1ull << 32 ? pages : 1ull << 32;
	return ms * pages / THROTTLE_BATCH;
}

uint32_t throttle_delay_ms(uint64_t memory_overage, uint64_t swap_overage, uint64_t pages)
{
	uint64_t ms = delay_ms(memory_overage, pages) + delay_ms(swap_overage, pages);

	return ms < THROTTLE_MAX_MS ? (uint32_t)ms : THROTTLE_MAX_MS;
}
