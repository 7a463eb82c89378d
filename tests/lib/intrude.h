/* SPDX-License-Identifier: MIT */
/* Somebody else at the worst moment: a function that runs just before the next write to a page.
 *
 * The page is made read-only; the fault runs the function and lifts the protection, and the write goes on
 * as if nothing had been. Races of one instruction become tests that always hit. One thread, one page.
 */
#ifndef TESTS_LIB_INTRUDE_H
#define TESTS_LIB_INTRUDE_H

#include <stdbool.h>

/* Arms: `intruder(arg)` runs before the next write of this thread to the page of `at`. */
void intrude_before_write(const void *at, void (*intruder)(void *), void *arg);

/* True when it has run since it was armed. Disarms what has not. */
bool intrude_has_run(void);

#endif
