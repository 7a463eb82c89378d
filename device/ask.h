/* SPDX-License-Identifier: MIT */
/* What a member asks the daemon for, over its socket: regions stand where members cannot write. */
#ifndef DEVICE_ASK_H
#define DEVICE_ASK_H

#include <stdint.h>

/* Has a region registered. 0; -ENODEV: the daemon will not; else errno of the way there. */
int ask_for_region(const char *dir, const char *name, const char *address, uint64_t capacity);

#endif
