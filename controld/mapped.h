/* SPDX-License-Identifier: MIT */
/* What processes have mapped, and how much of the objects behind it is resident: as /proc tells it.
 *
 * Memory that processes share is always a file to the kernel: of its internal mount (shared
 * anonymous memory, memfds, System V segments) or of a tmpfs. How much of one is resident can be
 * asked in these ways; the first that answers is kept:
 *
 *   map_files    blocks of the file behind a mapping. Needs CAP_CHECKPOINT_RESTORE.
 *   System V     /proc/sysvipc/shm, in the daemon's own IPC namespace.
 *   path         blocks of a file with a name.
 *   descriptor   blocks of a memfd, or of a file without a name, that a process still has open.
 *
 * Blocks are also what was swapped out.
 *
 * What is left for users without privilege is shared anonymous memory, and what nobody has open:
 * there only the page tables of those who map it tell. A page that is in none of them is not
 * seen. */
#ifndef CONTROLD_MAPPED_H
#define CONTROLD_MAPPED_H

#include "controld/world.h"

/* These are world_real's; world.h is their contract. */
int mapped_list(pid_t pid, world_take_mapping *take, void *to);
int mapped_is_memory(pid_t pid, dev_t device, bool *ret);
int mapped_object(const struct world_mapping *m, pid_t pid, struct world_way *way, uint64_t *ret_pages);
int mapped_touched(pid_t pid, uint64_t start, uint64_t pages, uint64_t first, uint64_t *bits);

#endif
