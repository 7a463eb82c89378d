/* SPDX-License-Identifier: MIT */
/* The library's start and end in a program. */
#include "preload/heap.h"
#include "preload/helper.h"
#include "preload/log.h"
#include "preload/real.h"
#include "preload/residency.h"
#include "preload/self.h"
#include "preload/sites.h"

#include <pthread.h>

static void begin_child(void)
{
	self_after_fork();
	heap_after_fork();
}

/* Early among constructors, so that what the program's libraries allocate in theirs is charged as it is
 * taken. What came before, the dynamic linker's, was counted as pending. */
__attribute__((constructor(101))) static void start(void)
{
	log_start();
	real_start();
	self_start();
	(void)pthread_atfork(heap_before_fork, NULL, begin_child); /* jemalloc's comes with the first malloc only */
	heap_start();
	residency_start();
	helper_prepare();
}

/* Behind the program's own destructors and handlers. Not reached by _exit, a signal, or exec. */
__attribute__((destructor(101))) static void end(void)
{
	helper_hold();
	sites_end();
	self_leave();
}
