/* SPDX-License-Identifier: MIT */
/* Checks that stay compiled in: counting them and telling the process. */
#include "accounting/check.h"

#include "accounting/atomic.h"

#include <stddef.h>

check_handler *check_on_failure;
static mc_word32 failures;

unsigned check_failures(void)
{
	return mc_load_relaxed(&failures);
}

bool check_failed(const char *what, const char *file, int line)
{
	mc_add_relaxed(&failures, 1);
	if (check_on_failure)
		check_on_failure(what, file, line);
	return false;
}
