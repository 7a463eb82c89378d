/* SPDX-License-Identifier: MIT */
/* Memory that the program could do without for now: its contents are dropped when memory is short, and the program
 * learns it when it wants them back.
 *
 * contract      volatile_mark, volatile_unmark: any thread, not in handlers. volatile_drop: the helper, or a thread that
 *               was refused, wherever a hook may run: it takes the table's lock only if nobody has it.
 * ranges        whole pages inside what is named; what is marked twice is one range, dropped if either was.
 * fork          a child inherits the marks with the memory.
 * price         8 bytes a page are looked at (mincore) of what is dropped. Marking: 0.5 us, and as many bytes moved as
 *               there are ranges behind it, 24 each.
 */
#ifndef PRELOAD_VOLATILE_H
#define PRELOAD_VOLATILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VOLATILE_RANGES_MAX 65536u

/* May be dropped from now on. 0; -EINVAL: nothing mapped can lie there; -ENOSPC: too many ranges. */
int volatile_mark(void *addr, size_t size);

/* Not dropped any more when this returns. 1: some of it was since it was marked (it reads as zeros until written);
 * 0: none was, or nothing there was marked; -EINVAL, -ENOSPC as above. */
int volatile_unmark(void *addr, size_t size);

/* Pages marked and not dropped; some may never have been touched. Any thread, signal handlers. */
uint64_t volatile_pages(void);

/* Drops the ranges that were marked first until so many pages are given back; returns how many were. Does nothing where
 * memory.charge=commit, for it would not be given back. */
uint64_t volatile_drop(uint64_t pages);

#endif
