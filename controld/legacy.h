/* SPDX-License-Identifier: MIT */
/* What one daemon leaves to the next: a file of the runtime directory, mapped. Its contents say themselves whether they are of
 * this segment. */
#ifndef CONTROLD_LEGACY_H
#define CONTROLD_LEGACY_H

#include <stdbool.h>
#include <stddef.h>

/* The file, made if need be, of this size; where it cannot be had, as on a full tmpfs, zeroed memory that the next daemon knows
 * nothing of. NULL: there is none either. */
void *legacy_map(const char *directory, const char *name, size_t size);

/* Before a part of it is written or read for the first time: a page for which the file system has no room would be a
 * signal. False: there is no room. */
bool legacy_populate(const void *at, size_t size);

/* Memory of our own at the same place, with the same contents, for when there is no room: what changes from now on the
 * next daemon does not see. False: it stays as it is. */
bool legacy_detach(void *map, size_t size, const char *directory, const char *name);

#endif
