/* SPDX-License-Identifier: MIT */
/* A look at all entries of a kind: rare, where a context or what memory is bound to has ended. */
#ifndef DEVICE_WALK_H
#define DEVICE_WALK_H

#include "device/ledger.h"

typedef bool walk_goes(const struct ledger_entry *e, void *arg);
typedef void walk_taken(const struct ledger_entry *e, void *arg);

/* Takes out what `goes` says, and hands each to `taken`; no lock is held in either. What comes
 * meanwhile is not looked at. */
void walk_take(enum ledger_kind kind, walk_goes *goes, walk_taken *taken, void *arg);

#endif
