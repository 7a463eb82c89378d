/* SPDX-License-Identifier: MIT */
/* Finding private memory of this process that it does not use, and paging it out when it is asked to.
 *
 * Whether a page is used no kernel tells a process; two things show it, whatever the kernel:
 *
 *   by mapping  MADV_COLD marks all pages as untouched, on the kernel's own lists too; after COLD_WINDOW_MS smaps says
 *               how many of a mapping were touched. None: the whole mapping goes. Nearly all: it stays.
 *   by probe    what lies in between is looked at in pieces of 2 MiB: every 64th page of a piece is paged out, and one
 *               that has come back after COLD_WINDOW_MS shows that the piece is in use. So at most 1 page in 32 of what
 *               is used is taken. Write tracking (PAGEMAP_SCAN with WP_ASYNC) would not see what is only read, needs
 *               Linux 6.7, and keeps the program from using userfaultfd there. Mappings with huge pages are not probed.
 *
 * Where there is no swap, or none left, only what the program gave up by MADV_FREE is taken.
 *
 * contract      the helper thread alone, which calls it again and again; each call takes some milliseconds at most,
 *               but for two looks at smaps in an ask: 10 ns a page of this process.
 */
#ifndef PRELOAD_COLD_H
#define PRELOAD_COLD_H

#include "preload/self.h"

#include <stdbool.h>
#include <stdint.h>

#define COLD_WINDOW_MS 200u
#define COLD_WORTH_PAGES 4096u /* 16 MiB: less is not worth a helper */

/* At the start of the library: MEMCTL_PAGEOUT=off. */
void cold_prepare(void);

/* There is swap, and nobody has said that we shall not use it. 0.3 us. Any thread, signal handlers. */
bool cold_is_possible(void);

/* The same, or the program has given something up that can go without swap. */
bool cold_is_worth_asking(void);

/* It is possible, and enough was asked for that could go there. Any thread, signal handlers. */
bool cold_is_worth_it(void);

/* The program has given memory up by MADV_FREE. Any thread, signal handlers. */
void cold_note_given_up(void);

/* A step of what was asked for (reclaim_ask_cold). Returns in how many ms the next one is due,
 * RECLAIM_FOR_EVER when there is nothing to do. */
uint32_t cold_work(const struct self *self);

/* The helper begins; it ends, and what was asked for is answered. */
void cold_begin(void);
void cold_end(const struct self *self);

#endif
