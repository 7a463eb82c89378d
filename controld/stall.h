/* SPDX-License-Identifier: MIT */
/* memory.pressure and dmem.pressure of groups, from the time that their members' threads stood still (member.stall_ns;
 * for want of a device's memory, which is not host memory's, account.stall_ns, by region): waiting for a
 * reclaim, for room, for a kill, or slowed above memory.high.
 *
 * Members add a stall when it is over, at least four times a second. Here it is taken over twice a second while there
 * are any. Of the time between two looks `some` is what threads of the group waited, all together, at most all of it;
 * `full` is what of that is left when the processor time of all the group's members is taken off: nobody of them ran
 * then. */
#ifndef CONTROLD_STALL_H
#define CONTROLD_STALL_H

#include "controld/psi.h"
#include "controld/served.h"

/* The text of memory.pressure; `buf` has PSI_TEXT_MAX bytes. */
void stall_format(const struct served *s, uint16_t group, char *buf, uint64_t now_ns);

/* The same of dmem.pressure. -ENOMEM. */
int stall_format_region(const struct served *s, unsigned region, uint16_t group, char *buf, uint64_t now_ns);

/* How long threads of a member have stood still for want of a resource, all together, since it joined. */
uint64_t stall_of_member(const struct served *s, uint32_t member, unsigned resource);

/* Copies what all groups have, by index; of those that never stalled, zeros. */
void stall_read_all(const struct served *s, uint64_t now_ns, uint32_t groups, struct psi *ret);

/* The same for want of a region's memory, as it was looked at last. */
void stall_read_region(const struct served *s, unsigned region, uint64_t now_ns, uint32_t groups, struct psi *ret);

/* What is known of a group's stalls by now. */
const struct psi *stall_psi(const struct served *s, uint16_t group, uint64_t now_ns);

/* The stage. */
void stall(struct served *s, uint64_t now_ns);

/* -ENOMEM. */
int stall_open(struct served *s);
void stall_close(struct served *s);

#endif
