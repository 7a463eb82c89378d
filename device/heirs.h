/* SPDX-License-Identifier: MIT */
/* Memory that other processes open, too: its creator pays for it, then whoever still has it.
 *
 * Who pays is the daemon's to know (controld/heirs.h); here both sides find the same name for the
 * same memory. A handle of 64 bytes is its own name. A descriptor carries the creator's pid and a
 * number of ours in what F_SETOWN_EX and F_SETSIG keep in its open file: that travels with it,
 * whatever driver it is of, and means nothing while nobody sets O_ASYNC.
 *
 * contract      any thread, no lock held. A round trip to the daemon each, 0.1 ms, and nothing for
 * memory that is nobody else's. Where there is no name or no daemon, what outlives its creator is
 * not charged.
 */
#ifndef DEVICE_HEIRS_H
#define DEVICE_HEIRS_H

#include "device/ledger.h"

/* 0 is no name. */
uint64_t heirs_name_of_bytes(const void *bytes, size_t n);
uint64_t heirs_name_of_descriptor(int fd);

/* What `e` says was made is about to be known to others by this name. False: it is not recorded. */
bool heirs_lend(const struct ledger_entry *e, uint64_t name);

/* A name for what goes through descriptors, lent; 0: none could be had. */
uint64_t heirs_lend_by_number(const struct ledger_entry *e);

/* Gives a descriptor of it that name. False: it could not be, as for what a creator made who is
 * gone. */
bool heirs_sign(int fd, uint64_t name);

/* It was opened here; *name becomes what it is called by others, where that was not known whole.
 * False: nobody pays for it who is known. */
bool heirs_borrow(uint64_t *name);

/* It was closed here, or what paid for it as an heir was given back. */
void heirs_leave(uint64_t name);

/* What this process made and lent, it has given back. Before the own charge is returned: an heir
 * pays first, which may be this process, too, where it has imported it again. */
void heirs_give(uint64_t name);

#endif
