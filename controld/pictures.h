/* SPDX-License-Identifier: MIT */
/* The pictures that profiled members leave (accounting/stacks.h): whether there are any. `memctl profile` reads them. */
#ifndef CONTROLD_PICTURES_H
#define CONTROLD_PICTURES_H

#include <stdbool.h>

/* True when there is one of a process that began in this group or below; `dir` is the runtime directory. At most
 * STACKS_FILES files are looked at, 4 us each. */
bool pictures_are_of(const char *dir, const char *group);

#endif
