/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=kill, for host memory and for each region of a device: who cannot be granted what it asks for has asked for a kill (pool.oom, and the bell).
 *
 * Before anybody is killed, memory.oom.hook is run, where there is one. If that makes no room, one member of the group
 * that refused, or below it, is killed (oom.h says which), with memory.oom.group all of a group; where
 * memory.oom.term says so they get a SIGTERM first and so much time. While a victim is dying nobody else is killed, for
 * KILLER_PATIENCE_NS at most. Nobody is killed when there is room by now. Where nobody may be killed, who asked is told
 * so at once.
 *
 * Of a region the largest holder goes, oom_score_adj being a share of what the device has. */
#ifndef CONTROLD_KILLER_H
#define CONTROLD_KILLER_H

#include "controld/served.h"

#define KILLER_PATIENCE_NS 5000000000ull

/* A group and all below it are out of memory from now on, or no longer: once an episode. For those who are to be
 * notified; of members that wait the notifier hears otherwise. */
void oom_episode(struct served *s, uint16_t group, bool has_begun);

/* The stage. */
void killer(struct served *s, uint64_t now_ns);

/* A group's memory.max was set below what it uses, and nothing more is to be had: kills until it fits, when that is the
 * group's policy. */
void killer_ask(struct served *s, uint16_t group);

#endif
