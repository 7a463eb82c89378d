/* SPDX-License-Identifier: MIT */
/* What a member asks the daemon for, over its socket: regions stand where members cannot write. */
#ifndef DEVICE_ASK_H
#define DEVICE_ASK_H

#include <stdint.h>

/* Has a region registered. 0; -ENODEV: the daemon will not; else errno of the way there. */
int ask_for_region(const char *dir, const char *name, const char *address, uint64_t capacity);

/* Tells it what is shared: see controld/commands.def. 0, and *name as the daemon
 * knows it; -ENODEV: the daemon says no; else errno. */
int ask_about_heirs(const char *dir, const char *what, uint64_t *name, uint32_t member, unsigned region,
		    uint64_t units);

#endif
