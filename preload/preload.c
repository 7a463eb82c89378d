/* SPDX-License-Identifier: MIT */
/* The library's start in a program, and what jemalloc is told about threads. */
#include "preload/jemalloc_joined.h"
#include "preload/log.h"
#include "preload/metadata.h"
#include "preload/real.h"
#include "preload/self.h"

#include <errno.h>

/* Early among constructors, so that what the program's libraries allocate in theirs is charged as it is
 * taken. What came before, the dynamic linker's, was counted as pending. */
__attribute__((constructor(101))) static void start(void)
{
	log_start();
	real_start();
	self_start();
	metadata_measure(true);
}

/* Behind the program's own destructors and handlers. Not reached by _exit, a signal, or exec. */
__attribute__((destructor(101))) static void end(void)
{
	self_leave();
}

/* jemalloc takes mc_real_pthread_create then. */
void *mc_real_dlsym(void *handle, const char *name)
{
	(void)handle;
	(void)name;
	return NULL;
}

int mc_real_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*start_thread)(void *),
			   void *arg)
{
	return pthread_create(ret_thread, attr, start_thread, arg);
}
