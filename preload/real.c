/* SPDX-License-Identifier: MIT */
/* The next library's version of a call that we intercept. */
#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

static mc_word32 started;

void real_start(void)
{
	mc_store_release(&started, 1);
}

void *real_find(struct real *real)
{
	int saved = errno;
	void *at;

	if (!mc_load_acquire(&started))
		return NULL;
	at = dlsym(RTLD_NEXT, real->name);
	errno = saved;
	mc_store_release(&real->at, at);
	return at;
}
