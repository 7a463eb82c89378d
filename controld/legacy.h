/* SPDX-License-Identifier: MIT */
/* What one daemon leaves to the next: a file of the runtime directory, mapped. Its contents say themselves whether they are of
 * this segment. */
#ifndef CONTROLD_LEGACY_H
#define CONTROLD_LEGACY_H

#include <stddef.h>

/* The file, made if need be, of this size; where it cannot be had, as on a full tmpfs, zeroed memory that the next daemon knows
 * nothing of. NULL: there is none either. */
void *legacy_map(const char *directory, const char *name, size_t size);

#endif
