/* SPDX-License-Identifier: MIT */
/* Shared memory: each object is paid for once, by the first who mapped it.
 *
 * An object is memory behind mappings: shared anonymous memory, a memfd, a System V segment, a file
 * on a tmpfs. It counts in full, as much of it as is resident, for the member whose mapping was
 * seen first; of those first seen at the same time, for the one that started first. When that
 * member has gone, has unmapped it or has executed another program, the next one pays. The object
 * ends with its last member. Who pays is known to the daemon alone: after a restart it is chosen
 * anew.
 *
 * Looked at are observed members and those that said that they share (MEMBER_SHARES). Their
 * mappings are read when they may have changed: another size of address space; more or fewer shared
 * pages, at most once a second; and every 15 seconds. Reading all of them costs at most 1 % of a
 * processor, 0.5 us a mapping.
 *
 * The size of an object is asked at each look at who pays for it, and when somebody who maps it has
 * more or fewer shared pages (mapped.h: 3 us). Where it cannot be asked, the page tables of all who
 * map it are laid upon each other: 30 ns a page that is there, at most 1 % of a processor; a bit of
 * memory for each page and member. A page counts from when it was first seen until somebody who had
 * it lost it while he kept his mapping; so it outlives who touched it. What somebody knew of the
 * whole object is a floor below that, which goes down by as many pages as are lost: its size when
 * it could be asked last, and what a member tells when it ends (member.told).
 *
 * Costs are processor time. For somebody who waits for a number they may be a quarter of a
 * processor instead of 1 %.
 *
 * Left out: our own segment; hugetlbfs, as in the kernel without memory_hugetlb_accounting. */
#ifndef CONTROLD_SHMEM_H
#define CONTROLD_SHMEM_H

#include "controld/served.h"
#include "controld/world.h"

/* 0 or -ENOMEM; shmem_close takes what is half made too. */
int shmem_open(struct served *s);
void shmem_close(struct served *s);

/* Reads what this member maps, if that may have changed, and how large it is; it `has` this now.
 * `asked`: somebody waits for it. Before members are settled: look.due_ns is 1 of those who pay
 * more or less from now on. */
void shmem_look(struct served *s, uint32_t member, const struct world_resident *has, bool asked, uint64_t now_ns);

/* It has said that it shares, and was not looked at since: who comes first pays. */
bool shmem_is_new(const struct served *s, uint32_t member);

/* What was known of the member belongs to an image that has gone: it is to be looked at soon. */
bool shmem_is_stale(const struct served *s, uint32_t member);

/* Pages of the objects that this member pays for. */
uint64_t shmem_paid(const struct served *s, uint32_t member);

/* It has ended: takes what it told. Before it is forgotten. */
void shmem_learn(struct served *s, uint32_t member);

/* Its objects pass to other users: the slot is another member's, or the member is not charged by
 * residency. */
void shmem_forget(struct served *s, uint32_t member);

#endif
