/* SPDX-License-Identifier: MIT */
/* memory.high in a survey: how far a group is over it, and what its threads wait.
 *
 * The formula is accounting/throttle.h's; members read the counters themselves. This is for the daemon, which
 * slows those who cannot do so (observed members), and reclaims. */
#ifndef CONTROLD_THROTTLE_H
#define CONTROLD_THROTTLE_H

#include "accounting/throttle.h"
#include "controld/survey.h"

/* The largest overage of `group` and those above it, the root left out; in 1/2^20 of memory.high. */
uint64_t throttle_find_overage(const struct survey *s, uint16_t group);

/* What somebody of `group` waits who charged `pages`. `swap` may be NULL. */
uint32_t throttle_find_delay_ms(const struct survey *s, const struct survey *swap, uint16_t group, uint64_t pages);

/* What the group itself has above its own memory.high: how much is to be reclaimed. The root has none. */
uint64_t throttle_find_excess(const struct survey *s, uint16_t group);

#endif
