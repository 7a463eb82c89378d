/* SPDX-License-Identifier: MIT */
/* MEMCTL_ALLOCATOR=system: free of the program's own malloc. Who has something to give back has freed it, and comes by here
 * with no lock of the heap held: the one place where a program that only ever calls malloc can be given a helper.
 * What is freed before our constructor has run is lost: it is too early to know whose it is.
 *
 * price         0.7 ns */
#include "preload/export.h"
#include "preload/helper.h"
#include "preload/linker.h"
#include "preload/real.h"

#include <stdint.h>
#include <stdlib.h>

#define TURN 32u /* of a thread's frees: one look at what the process holds */

REAL(free)

static void find(void *p);
static void (*_Atomic next)(void *) = find; /* sync: relaxed; the same value whoever finds it */

static void find(void *p)
{
	__typeof__(&free) found = real_free();

	if (!found)
		return;
	mc_store_relaxed(&next, found);
	found(p);
}

static __attribute__((noinline, cold)) void consider(const void *caller)
{
	if (helper_is_to_be_considered() && !linker_has(caller))
		helper_consider();
}

/* Looks first, so that the rest is a jump. */
EXPORT void free(void *p)
{
	static __thread unsigned turn;

	if (__builtin_expect(++turn % TURN == 0, 0))
		consider(__builtin_return_address(0));
	mc_load_relaxed (&next)(p);
}
