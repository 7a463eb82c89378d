/* SPDX-License-Identifier: MIT */
/* cmocka with what it wants included first, and one way to run a table of tests. */
#ifndef TESTS_LIB_TAP_H
#define TESTS_LIB_TAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
