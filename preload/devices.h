/* SPDX-License-Identifier: MIT */
/* The device library's part in giving back: it registers a function, and the helper thread calls it when somebody wants
 * memory of a device (accounting/evict.h).
 *
 * The helper's thread is used because it goes before fork, unshare and the like, and comes back after them: a thread of the
 * device library's own would be one more that programs do not expect. A fork waits for what it is doing: where a driver
 * holds a lock while it calls the program, and that forks, it must not wait for the same lock in a trim. */
#ifndef PRELOAD_DEVICES_H
#define PRELOAD_DEVICES_H

#include "accounting/cooperate.h"

#include <stdbool.h>

struct self;

/* From now on; the function stays. It says for which regions by member.device_gives. Starts the helper: not under locks of
 * the heap, nor in handlers. */
void devices_offer(cooperate_device_function *function);

/* True while this process, no parent of it, may have something to give. */
bool devices_any(void);

/* In the helper: gives what is wanted, and answers. Calls drivers and the program's shrinkers. */
void devices_meet(const struct self *self);

#endif
