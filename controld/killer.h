/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=kill: who cannot be granted what it asks for has asked for a kill (pool.oom, and the bell).
 *
 * One member of the group that refused, or below it, is killed (oom.h says which), with memory.oom.group all of a
 * group. While a victim is dying nobody else is killed, for KILLER_PATIENCE_NS at most. Nobody is killed when there is
 * room by now. */
#ifndef CONTROLD_KILLER_H
#define CONTROLD_KILLER_H

#include "controld/served.h"

#define KILLER_PATIENCE_NS 5000000000ull

/* The stage. */
void killer(struct served *s, uint64_t now_ns);

/* A group's memory.max was set below what it uses, and nothing more is to be had: kills until it fits, when that is the
 * group's policy. */
void killer_ask(struct served *s, uint16_t group);

#endif
