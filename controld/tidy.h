/* SPDX-License-Identifier: MIT */
/* Groups that go: transient ones by themselves, others by command. */
#ifndef CONTROLD_TIDY_H
#define CONTROLD_TIDY_H

#include "accounting/snapshot.h"
#include "controld/served.h"

/* Removes transient groups without holder and member, and frees the slots of removed ones. */
void tidy(struct served *s, const struct snapshot *snap);

/* Marks a group transient; it stays at least as long as its holder. -ENOMEM. */
int tidy_add(struct served *s, uint16_t group, const void *holder);

/* A connection has closed. True when it held a group: a turn is due. */
bool tidy_release(struct served *s, const void *holder);

/* Finds the transient groups of an adopted segment; nobody holds them. */
void tidy_adopt(struct served *s);

/* Removes a group and, when `recursive`, all below it. -EBUSY: *ret_in_way is a group that has a
 * member or, when not recursive, the group itself has children; -EPERM: the root; -ENOMEM. Groups
 * below may have gone when somebody joins meanwhile. */
int tidy_remove(struct served *s, uint16_t group, bool recursive, unsigned *ret_removed, uint16_t *ret_in_way);

#endif
