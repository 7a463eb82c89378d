/* SPDX-License-Identifier: MIT */
/* Waiting for a child: the helper that went before the fork is made again, for from now on this process may be idle. */
#include "preload/export.h"
#include "preload/helper.h"
#include "preload/real.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

REAL(wait)
REAL(waitpid)
REAL(wait3)
REAL(wait4)
REAL(waitid)

static inline void before(int options)
{
	if (__builtin_expect(helper_is_wanted(), 0) && !(options & WNOHANG))
		helper_before_wait();
}

#define WAITS(type, name, declared, given, options) \
	EXPORT type name declared \
	{ \
		if (!real_##name()) { \
			errno = ENOSYS; \
			return -1; \
		} \
		before(options); \
		return real_##name() given; \
	}

WAITS(pid_t, wait, (int *status), (status), 0)
WAITS(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), options)
WAITS(pid_t, wait3, (int *status, int options, struct rusage *usage), (status, options, usage), options)
WAITS(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage), (pid, status, options, usage), options)
WAITS(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options), (type, id, info, options), options)
