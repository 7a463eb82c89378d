/* SPDX-License-Identifier: MIT */
/* Taking back what a dead process, or a replaced image, still holds.
 *
 * steps         S1 by.open++
 *               S2 accounts -> 0; S3 pools down - when the dead one had no slow path open
 *               S2 accounts -> 0; S4 recount    - when it had: its pools cannot be trusted
 *               S5 accounts and slot freed; by.open--
 * crash table   a settler that dies at any step leaves the slot DEAD (or, after exec, LIVE with open
 *               != 0) and its own open != 0: it is settled again, by whoever settles the settler.
 */
#ifndef ACCOUNTING_SETTLE_H
#define ACCOUNTING_SETTLE_H

#include "accounting/member.h"

/* The daemon's: declares the slot dead, takes back everything, frees it. Returns the units of memory that
 * were taken back. */
uint64_t settle_dead(const struct actor *by, uint32_t member);

/* The new image's, in place, after exec: same slot, same process, nothing held any more. The slot gets a
 * fresh account in its group, which becomes `asked` when the environment names another than before. -ESRCH: the daemon has declared the slot dead, join anew; else errors as
 * member_join, and the process goes on unaccounted. */
int settle_exec(const struct segment *seg, uint32_t member, uint16_t asked, const char *comm);

/* An ending process's own: gives back everything it holds, unless a slow path is open in another of its
 * threads; then, and for all it charges from now on, the daemon does it. The slot stays. */
void settle_leave(const struct segment *seg, uint32_t member);

/* A new daemon's, before anything else: when the last one died in a slow path, or a recount was left
 * unfinished, recounts. Returns how many resources were recounted. */
unsigned settle_daemon(const struct segment *seg);

#endif
