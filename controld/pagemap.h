/* SPDX-License-Identifier: MIT */
/* Private pages of a process by /proc/PID/pagemap: how many it has for itself, how many it shares with relatives.
 *
 * smaps_rollup says more, each page divided by how many map it, but holds the process's mmap_lock for all of a
 * mapping at once: 60 ms for 1 GiB, in which none of its threads can map anything. Here it is held for 2 MiB at
 * a time. The same is paid in all: 50 ms for 1 GiB of small pages. */
#ifndef CONTROLD_PAGEMAP_H
#define CONTROLD_PAGEMAP_H

#include <stdint.h>
#include <sys/types.h>

/* -ESRCH: it has gone; -EFBIG: so much address space is mapped that this would take longer; or errno. */
int pagemap_private(pid_t pid, uint64_t *ret_own, uint64_t *ret_shared);

#endif
