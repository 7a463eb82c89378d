/* SPDX-License-Identifier: MIT */
/* The kernel's answers as libc gives them: -1 or MAP_FAILED, and errno. */
#ifndef PRELOAD_ANSWER_H
#define PRELOAD_ANSWER_H

#include "accounting/sys.h"

#include <errno.h>
#include <sys/mman.h>

static inline void *answer_pointer(long ret)
{
	if (!sys_is_error(ret))
		return (void *)ret; /* NOLINT: the kernel's answer is an address */
	errno = (int)-ret;
	return MAP_FAILED;
}

static inline int answer(long ret)
{
	if (!sys_is_error(ret))
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

#endif
