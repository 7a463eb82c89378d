/* SPDX-License-Identifier: MIT */
/* Calls that a second thread would change: the helper is ended before, and may come again afterwards. */
#include "preload/export.h"
#include "preload/helper.h"
#include "preload/real.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

extern int capset(cap_user_header_t header, const cap_user_data_t data);

REAL(fork)
REAL(daemon)
REAL(forkpty)
REAL(pthread_exit)
REAL(unshare)
REAL(setns)
REAL(setuid)
REAL(setgid)
REAL(seteuid)
REAL(setegid)
REAL(setreuid)
REAL(setregid)
REAL(setresuid)
REAL(setresgid)
REAL(setgroups)
REAL(initgroups)
REAL(capset)
REAL(prctl)

/* A call that answers -1 where there is no such. In the child of a fork the release finds nothing held. */
#define ALONE(type, name, declared, given) \
	EXPORT type name declared \
	{ \
		type ret; \
\
		if (!real_##name()) { \
			errno = ENOSYS; \
			return -1; \
		} \
		helper_hold(); \
		ret = real_##name() given; \
		helper_release(); \
		return ret; \
	}

ALONE(int, daemon, (int nochdir, int noclose), (nochdir, noclose))
ALONE(int, unshare, (int flags), (flags))
ALONE(int, setns, (int fd, int type), (fd, type))
ALONE(int, setuid, (uid_t uid), (uid))
ALONE(int, setgid, (gid_t gid), (gid))
ALONE(int, seteuid, (uid_t uid), (uid))
ALONE(int, setegid, (gid_t gid), (gid))
ALONE(int, setreuid, (uid_t real, uid_t effective), (real, effective))
ALONE(int, setregid, (gid_t real, gid_t effective), (real, effective))
ALONE(int, setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
ALONE(int, setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
ALONE(int, setgroups, (size_t n, const gid_t *groups), (n, groups))
ALONE(int, initgroups, (const char *user, gid_t group), (user, group))
ALONE(int, capset, (cap_user_header_t header, const cap_user_data_t data), (header, data))

EXPORT pid_t fork(void)
{
	pid_t ret;

	if (!real_fork()) {
		errno = ENOSYS;
		return -1;
	}
	helper_before_fork();
	ret = real_fork()();
	helper_after_fork(ret != 0);
	return ret;
}

EXPORT int forkpty(int *master, char *name, const struct termios *termios, const struct winsize *size)
{
	int ret;

	if (!real_forkpty()) {
		errno = ENOSYS;
		return -1;
	}
	helper_before_fork();
	ret = real_forkpty()(master, name, termios, size);
	helper_after_fork(ret != 0);
	return ret;
}

/* What is a thread's own and is to hold for the whole process. */
static bool changes_rights(int option)
{
	return option == PR_SET_SECCOMP || option == PR_SET_KEEPCAPS || option == PR_SET_SECUREBITS ||
	       option == PR_SET_NO_NEW_PRIVS || option == PR_CAPBSET_DROP || option == PR_CAP_AMBIENT;
}

EXPORT int prctl(int option, ...)
{
	unsigned long a, b, c, d;
	va_list args;
	int ret;

	va_start(args, option);
	a = va_arg(args, unsigned long);
	b = va_arg(args, unsigned long);
	c = va_arg(args, unsigned long);
	d = va_arg(args, unsigned long);
	va_end(args);
	if (!real_prctl()) {
		errno = ENOSYS;
		return -1;
	}
	if (!changes_rights(option))
		return real_prctl()(option, a, b, c, d);
	helper_hold();
	ret = real_prctl()(option, a, b, c, d);
	helper_release();
	return ret;
}

EXPORT void pthread_exit(void *value)
{
	helper_thread_ends();
	if (real_pthread_exit())
		real_pthread_exit()(value);
	abort(); /* no libc we run on is without it */
}
