/* SPDX-License-Identifier: MIT */
/* What an observed member starts is observed too: nobody else tells of it, for it does not carry the library.
 *
 * Its children are looked for four times a second, one after the other and at most 1 % of a processor, so that
 * with many of them it takes longer. A child is a member of its parent's group, and of its family: it shares
 * pages with it. Who has been left by his parent before he was seen is not found. A child that does carry the
 * library, as a static shell's may, becomes a live member by itself; one that has not after 0.8 s was turned away, and is
 * observed. */
#ifndef CONTROLD_OBSERVE_H
#define CONTROLD_OBSERVE_H

#include "controld/served.h"

/* The stage: registers children of observed members. */
void observe(struct served *s, uint64_t now_ns);

#endif
