/* SPDX-License-Identifier: MIT */
/* One turn: reads once, decides once, acts once. */
#ifndef CONTROLD_CYCLE_H
#define CONTROLD_CYCLE_H

#include "controld/daemon.h"

/* Runs when a bell rang, a member died, a connection that held a group closed, or a stage's time
 * came. */
void cycle_turn(struct daemon *d);

#endif
