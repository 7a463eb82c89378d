/* SPDX-License-Identifier: MIT */
/* What jemalloc calls of libc: the kernel, and nothing of ours. */
#include "accounting/atomic.h"
#include "accounting/clock.h"
#include "preload/answer.h"
#include "preload/jemalloc_joined.h"
#include "preload/sites.h"

#include <errno.h>
#include <linux/futex.h>

void *mc_real_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return answer_pointer(sys_mmap(addr, length, prot, flags, fd, offset));
}

int mc_real_munmap(void *addr, size_t length)
{
	return answer(sys_munmap(addr, length));
}

int mc_real_madvise(void *addr, size_t length, int advice)
{
	return answer(sys_madvise(addr, length, advice));
}

int mc_real_mprotect(void *addr, size_t length, int prot)
{
	return answer(sys_call3(SYS_mprotect, addr, length, prot));
}

int mc_real_clock_gettime(clockid_t clock, struct timespec *ret)
{
	return answer(clock_read(clock, ret));
}

int mc_real_gettimeofday(struct timeval *ret, void *zone)
{
	struct timespec now = { 0 };

	(void)zone;
	(void)clock_read(CLOCK_REALTIME, &now);
	*ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
	return 0;
}

/* How often it was signalled lies in its first word. */
static mc_word32 *signals_of(pthread_cond_t *cond)
{
	return (mc_word32 *)cond;
}

int mc_real_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
	(void)attr;
	mc_store_relaxed(signals_of(cond), 0);
	return 0;
}

int mc_real_pthread_cond_signal(pthread_cond_t *cond)
{
	mc_add_full(signals_of(cond), 1);
	(void)sys_call6(SYS_futex, (long)cond, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
	return 0;
}

int mc_real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	uint32_t seen = mc_load_full(signals_of(cond));
	long err;

	(void)pthread_mutex_unlock(mutex);
	err = sys_call6(SYS_futex, (long)cond, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, (long)seen,
			(long)until, 0, (long)FUTEX_BITSET_MATCH_ANY);
	(void)pthread_mutex_lock(mutex);
	return err == -ETIMEDOUT ? ETIMEDOUT : 0;
}

int mc_real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	return mc_real_pthread_cond_timedwait(cond, mutex, NULL);
}

void *mc_real_sbrk(intptr_t increment)
{
	(void)increment;
	return (void *)-1;
}

/* jemalloc takes mc_real_pthread_create then. */
void *mc_real_dlsym(void *handle, const char *name)
{
	(void)handle;
	(void)name;
	return NULL;
}

int mc_real_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*start_thread)(void *), void *arg)
{
	return pthread_create(ret_thread, attr, start_thread, arg);
}

static int errno_at_start;

void mc_heap_start(void *data)
{
	errno_at_start = errno;
	if (sites_start(true))
		malloc_conf_2_conf_harder = jemalloc_conf_profile;
	je_sc_boot(data);
}

/* jemalloc asks at its start, which is earlier than any other library can: libc runs prepare handlers in
 * the reverse order of registration, so jemalloc's locks are taken last, and given back first. */
int mc_real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	(void)prepare;
	(void)parent;
	(void)child;
	errno = errno_at_start;
	return pthread_atfork(je_jemalloc_prefork, je_jemalloc_postfork_parent, je_jemalloc_postfork_child);
}
