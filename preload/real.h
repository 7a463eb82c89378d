/* SPDX-License-Identifier: MIT */
/* The next library's version of a call that we intercept: libc's, or another preloaded library's.
 *
 * real_find answers NULL while it is too early to search (before the constructor) and where there is no
 * such symbol; callers then take the raw system call, or answer ENOSYS. The search is done once a name. */
#ifndef PRELOAD_REAL_H
#define PRELOAD_REAL_H

#include "accounting/atomic.h"

struct real {
	const char *name;
	void *_Atomic at; /* sync: acquire/release; the same value whoever finds it */
};

/* From now on searches are allowed. The constructor's. */
void real_start(void);

/* The address, or NULL. Keeps errno. */
void *real_find(struct real *real);

/* Declares static real_NAME() which answers the function, typed as NAME itself. */
#define REAL(name) \
	static inline __typeof__(&name) real_##name(void) \
	{ \
		static struct real real = { #name, NULL }; \
		void *at = mc_load_acquire(&real.at); \
		return (__typeof__(&name))(at ? at : real_find(&real)); \
	}

#endif
