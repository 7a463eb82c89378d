/* SPDX-License-Identifier: MIT */
/* TAP for tests that are programs of their own: they fork, are killed, or must be able to skip. */
#ifndef TESTS_LIB_TAP_H
#define TESTS_LIB_TAP_H

#include <stdbool.h>

/* One test point each. tap_ok returns `ok`. */
bool tap_ok(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tap_skip(const char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line of explanation. */
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The plan, and the exit status. */
int tap_end(void);

#endif
