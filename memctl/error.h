/* SPDX-License-Identifier: MIT */
/* The sentence behind a negative errno: one per thread, until the next failure. */
#ifndef MEMCTL_ERROR_H
#define MEMCTL_ERROR_H

/* Keeps the sentence for memctl_error; returns err, so that a function can end with it. */
__attribute__((format(printf, 2, 3))) int error_set(int err, const char *format, ...);

/* The errno behind a name such as "ENOENT"; EIO for one that is not known. */
int error_number(const char *name);

#endif
