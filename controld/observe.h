/* SPDX-License-Identifier: MIT */
/* Members that could not be preloaded: their resident private memory is sampled once a second and
 * charged whatever the limits. Costs nothing while there are none. */
#ifndef CONTROLD_OBSERVE_H
#define CONTROLD_OBSERVE_H

#include "controld/served.h"

#define OBSERVE_PERIOD_NS 1000000000ull

/* Samples those that are due. */
void observe(struct served *s, uint64_t now_ns);

/* A member is OBSERVED from now on; it is sampled in this turn. */
void observe_begin(struct served *s, uint32_t member);

/* It is not any more. */
void observe_stop(struct served *s, uint32_t member);

#endif
