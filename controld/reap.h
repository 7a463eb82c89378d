/* SPDX-License-Identifier: MIT */
/* Who is there, and who has died: a pidfd for each member, and a look at those who exec.
 *
 * A member is (pid, start time). The pidfd is opened first and the start time read afterwards, so
 * that what we hold is the process we mean. Whoever has no pidfd (too many open files) is looked at
 * once a second.
 *
 * exec   the old image sets EXECING and rings. Until the flag is cleared (the exec failed, or the
 *        new image joined again) its maps are read every EXEC_LOOK_NS. An image that stays without
 *        our segment for EXEC_GRACE_NS cannot be preloaded: what the old one held is settled, and
 *        the process goes on as OBSERVED.
 */
#ifndef CONTROLD_REAP_H
#define CONTROLD_REAP_H

#include "controld/served.h"

#define EXEC_LOOK_NS 100000000ull
#define EXEC_GRACE_NS 300000000ull
/* The preload library is mapped: its constructor may be slow, but not for ever. */
#define EXEC_GRACE_LOADING_NS 800000000ull
/* Longer than this between flag and exec: a stopped process. Looked at less often. */
#define EXEC_SLOW_NS 2000000000ull
#define REAP_POLL_NS 1000000000ull

/* Settles those who died and looks at those who are new or about to exec. Returns how many were
 * settled. */
unsigned reap(struct served *s, uint64_t now_ns);

/* Before something is decided by who is in `group` and below: looks at all slots, and finds there
 * also those whose death the loop has not told yet. */
unsigned reap_now(struct served *s, uint16_t group, uint64_t now_ns);

/* A descriptor for signalling the member, -ESRCH when it has died. The caller closes it. */
int reap_pidfd(const struct served *s, uint32_t member);

/* Closes all pidfds. */
void reap_forget_all(struct served *s);

#endif
