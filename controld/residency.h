/* SPDX-License-Identifier: MIT */
/* The truth about resident memory: what each member holds is made what the kernel would count for it.
 *
 * In a group with memory.charge=resident a member should hold its private resident pages (statm, 3 us a
 * look), each page that fork made common divided among those that still share it (Pss_Anon of smaps_rollup:
 * a walk over all pages, at most 1 % of a processor), and the shared objects that it pays for. What it holds
 * above that is memory that it was charged for and has not touched. It is taken back when it was found twice,
 * 100 ms apart: sooner, it may be about to be touched. What it holds too little is charged at once, whatever
 * the limits.
 *
 * A member is looked at every 100 ms while its memory changes, every 50 ms while a limit is near, else less and less often
 * down to once a second; and before somebody reads a key.
 *
 * Observed members are charged in this way alone, under any memory.charge. */
#ifndef CONTROLD_RESIDENCY_H
#define CONTROLD_RESIDENCY_H

#include "accounting/snapshot.h"
#include "controld/served.h"

/* The stage: looks at the members that are due. */
void residency(struct served *s, uint64_t now_ns);

/* Looks at all members in a group and below, unless that was done just now. */
void residency_refresh(struct served *s, uint16_t group, uint64_t now_ns);

/* A snapshot of memory after such a look, in which it says what is untouched. -ENOMEM. */
int residency_snapshot(struct served *s, uint16_t group, uint64_t now_ns, struct snapshot *ret);

/* Looks at one member now. */
void residency_look_at(struct served *s, uint32_t member, uint64_t now_ns);

/* Pages of shared objects among what a member should hold, as of its last look. */
uint64_t residency_shared(const struct served *s, uint32_t member);

/* The slot is another member's, or nobody's, from now on. */
void residency_forget(struct served *s, uint32_t member);

/* A group's memory.charge has changed: all its members are to be looked at. */
void residency_restart(struct served *s);

#endif
