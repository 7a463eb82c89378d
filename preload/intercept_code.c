/* SPDX-License-Identifier: MIT */
/* Code that goes away: another file may get its addresses, and stacks through them are walked by other rules. */
#include "preload/export.h"
#include "preload/sites.h"

#include <dlfcn.h>
#include <stddef.h>

/* Found at the first call, also before our constructor: nobody calls it where the dynamic linker may not be entered. */
EXPORT int dlclose(void *handle)
{
	static int (*_Atomic real)(void *);
	int (*next)(void *) = real;
	int err;

	if (!next) {
		next = (int (*)(void *))dlsym(RTLD_NEXT, "dlclose");
		real = next;
	}
	err = next ? next(handle) : -1;
	sites_forget_code();
	return err;
}
