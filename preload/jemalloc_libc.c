/* SPDX-License-Identifier: MIT */
/* What jemalloc calls of libc: the kernel, and nothing of ours. */
#include "preload/answer.h"
#include "preload/jemalloc_joined.h"
#include "preload/sites.h"

#include <errno.h>

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
