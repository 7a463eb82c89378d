/* SPDX-License-Identifier: MIT */
/* memory.charge=resident in the process itself: what of a range is resident, and what was touched of memory
 * that was granted without being charged.
 *
 * contract      any thread, signal handlers; no descriptor stays open, errno is the program's.
 * truth         the daemon's: it looks at every member from time to time (controld/residency.h). Here only
 *               what cannot wait is done: how much a range that goes away has held, and, before large
 *               memory is granted, what became of the last.
 * price         mincore 0.2 us and 5 ns a resident page, only where something was found absent or lazily
 *               touched before and a limit is near; catching up 1.5 us for each mapping of 1 MiB and more.
 */
#ifndef PRELOAD_RESIDENCY_H
#define PRELOAD_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

struct self;

/* Private mappings from this size on are granted, and charged as they become resident. */
#define RESIDENCY_LAZY_PAGES 256u

/* True when so many pages are granted, not charged. */
bool residency_is_lazy(const struct self *self, uint64_t pages);

/* Resident pages of a private range. Copies shared with relatives and the zero page count too; the daemon
 * puts that right. */
uint64_t residency_count(const void *addr, uint64_t pages);

/* The same for pages with this value in the ledger; without a look where it makes no difference, or where no limit is
 * near and it is the account of now: then the daemon's next look puts right what is guessed. mincore takes the lock that others need to map. */
uint64_t residency_count_value(const struct self *self, uint8_t value, const void *addr, uint64_t pages);

/* The same for pages of the heap, all charged when they were committed. */
uint64_t residency_of_heap(const void *addr, uint64_t pages);

/* Private resident pages of this process. False: they cannot be read. 2 us. */
bool residency_private(uint64_t *ret_pages);

/* Charges what became resident since somebody looked last. Never takes anything back: other threads may
 * have been given memory that they are about to touch. */
void residency_catch_up(const struct self *self);

/* Charges what the dynamic linker made resident, where a limit is set. Left to the daemon's first look, 1 MiB would come
 * when a short program has filled its group, and take the room kept for unwinding. 4 us. */
void residency_start(void);

#endif
