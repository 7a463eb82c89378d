/* SPDX-License-Identifier: MIT */
/* Waiting for room in a region, where the group that refused has memory.oom.policy=wait.
 *
 * contract      the thread that was refused, no lock held and nothing reserved. Signal handlers run
 * meanwhile. Who dies waiting leaves one wake-up too many. What never fits is not waited for.
 */
#ifndef DEVICE_WAIT_H
#define DEVICE_WAIT_H

#include "accounting/charge.h"

/* `group` has refused so many units. True: after a while, or because something was given back, it
 * is worth another try; it may be refused again. False: this group does not wait, or not for that.
 */
bool device_wait(const struct actor *by, uint32_t account, uint16_t group, uint64_t units);

#endif
