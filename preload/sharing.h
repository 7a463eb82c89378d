/* SPDX-License-Identifier: MIT */
/* How much of large shared anonymous memory is resident, told when this process ends.
 *
 * A daemon without privilege learns the size of such memory from page tables alone: what only a
 * process touched that has ended meanwhile it would never see. mincore(2) sees all of it, whoever
 * touched it.
 *
 * contract      any thread, signal handlers; two at the same address at once may leave a wrong entry, which the daemon
 *               checks against what it knows is mapped there.
 * fork          a child has the same mappings, and the same entries.
 * price         nothing where the daemon does not ask; else 20 to 100 ns a page, for 512 MiB at most, and the daemon
 *               does not ask again before ten times that has passed.
 */
#ifndef PRELOAD_SHARING_H
#define PRELOAD_SHARING_H

#include "accounting/layout.h"

#include <stddef.h>

struct segment;

/* It was mapped: the largest are remembered. */
void sharing_add(const void *addr, size_t size);

/* The range is something else, or nothing, from now on. */
void sharing_drop(const void *addr, size_t size);

/* This member ends. */
void sharing_tell(const struct segment *seg, uint32_t member);

#endif
