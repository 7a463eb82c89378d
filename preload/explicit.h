/* SPDX-License-Identifier: MIT */
/* Charges that the program makes itself, for memory that no hook sees.
 *
 * contract      any thread, not in handlers. "memory" or a region's name; bytes are rounded up to pages. Given back are at
 *               most those that this process has charged: a forked child has charged none.
 */
#ifndef PRELOAD_EXPLICIT_H
#define PRELOAD_EXPLICIT_H

#include <stdint.h>

/* 0; -ENOMEM: refused, when what the group's policy says was tried; -ENODEV: no such resource. */
int explicit_charge(const char *resource, uint64_t bytes);

/* 0; -EINVAL: so much was not charged; nothing is done then. */
int explicit_uncharge(const char *resource, uint64_t bytes);

#endif
