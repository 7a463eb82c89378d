/* SPDX-License-Identifier: MIT */
/* What a mapping is and whether it is charged when it is made: a function of the call alone, and of what is
 * behind a descriptor. */
#ifndef PRELOAD_CLASSIFY_H
#define PRELOAD_CLASSIFY_H

#include "accounting/layout.h"

enum classify_verdict {
	CLASSIFY_IGNORE,  /* not ours: files, shared objects that have a name */
	CLASSIFY_RESERVE, /* address space that cannot be touched: charged when mprotect opens it */
	CLASSIFY_CHARGE,
};

/* For mmap(..., prot, flags, fd). Where it is to be charged, *ret_class is set.
 *   private anonymous           anon; stack with MAP_STACK; a reservation with PROT_NONE
 *   shared anonymous            shmem
 *   MAP_LOCKED                  pinned instead of anon
 *   files                       ignored: a page of theirs is the page cache's until it is written
 *   MAP_HUGETLB                 ignored: a pool of the administrator's, which the kernel's controller leaves
 *                               out too */
enum classify_verdict classify_mapping(int prot, int flags, enum class *ret_class);

/* True when a mapping may only be granted, and charged as it becomes resident: not what is locked or filled
 * at once, for that is resident when the call returns. */
bool classify_may_be_lazy(int flags);

/* True when others may share what is mapped, and it is memory that has to be counted: shared anonymous memory,
 * and what lies on a tmpfs, mapped privately, too. Asks the kernel where there is a descriptor: 0.3 us. errno is
 * kept. */
bool classify_is_shared(int flags, int fd);

/* True when protection `prot` lets pages be touched. */
bool classify_is_usable(int prot);

#endif
