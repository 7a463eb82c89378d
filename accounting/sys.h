/* SPDX-License-Identifier: MIT */
/* Raw system calls for code that must not enter an interposed libc function: inside a preloaded
 * program `mmap` is our own hook. Results are negative errno; errno itself is not touched. */
#ifndef ACCOUNTING_SYS_H
#define ACCOUNTING_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#else
/* Through libc, errno saved: only the few nanoseconds differ. */
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long ret = syscall(nr, a, b, c, d, e, f);

	if (ret == -1)
		ret = -errno;
	errno = saved;
	return ret;
}
#endif

#define sys_call3(nr, a, b, c) sys_call6((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)

static inline int sys_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	return (int)sys_call6(SYS_openat, dirfd, (long)name, flags | O_CLOEXEC, (long)mode, 0, 0);
}

static inline void sys_close(int fd)
{
	(void)sys_call3(SYS_close, fd, 0, 0);
}

static inline long sys_read(int fd, void *buf, size_t n)
{
	return sys_call3(SYS_read, fd, buf, n);
}

static inline long sys_write(int fd, const void *buf, size_t n)
{
	return sys_call3(SYS_write, fd, buf, n);
}

/* A pointer, or negative errno in [-4095, -1]. */
static inline long sys_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	return sys_call6(SYS_mmap, (long)addr, (long)size, prot, flags, fd, (long)offset);
}

static inline bool sys_is_error(long ret)
{
	return ret < 0 && ret > -4096;
}

static inline int sys_munmap(void *addr, size_t size)
{
	return (int)sys_call3(SYS_munmap, addr, size, 0);
}

static inline int sys_madvise(void *addr, size_t size, int advice)
{
	return (int)sys_call3(SYS_madvise, addr, size, advice);
}

static inline int sys_getpid(void)
{
	return (int)sys_call3(SYS_getpid, 0, 0, 0);
}

#endif
