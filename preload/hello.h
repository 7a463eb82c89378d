/* SPDX-License-Identifier: MIT */
/* Joining by way of the daemon's socket: only where this process does not know its own pid. */
#ifndef PRELOAD_HELLO_H
#define PRELOAD_HELLO_H

#include <stdint.h>

/* Asks the daemon in `dir` to make the caller a member of `group`; it knows who asks by SO_PEERCRED.
 * Blocks for at most two seconds. Negative errno; -ECONNREFUSED also where the daemon says no. */
int hello_join(const char *dir, const char *group, uint32_t *ret_member);

#endif
