/* SPDX-License-Identifier: MIT */
/* Functions of the program that give memory back. */
#include "preload/shrinker.h"

#include "accounting/region.h"
#include "accounting/units.h"
#include "preload/guard.h"
#include "preload/self.h"

#include <errno.h>
#include <stddef.h>

struct shrinker {
	shrinker_function *function; /* NULL: free */
	void *arg;
};

/* Under the guard. */
static struct shrinker shrinker[SHRINKERS_MAX];
static mc_word32 registered;

static int find(shrinker_function *function, const void *arg)
{
	for (int i = 0; i < SHRINKERS_MAX; i++)
		if (shrinker[i].function == function && (!function || shrinker[i].arg == arg))
			return i;
	return -ENOSPC;
}

int shrinker_register(shrinker_function *function, void *arg)
{
	sigset_t signals;
	int at;

	if (!function)
		return -EINVAL;
	guard_lock(GUARD_SHRINKERS, &signals);
	at = find(NULL, NULL);
	if (at >= 0) {
		shrinker[at] = (struct shrinker){ function, arg };
		mc_add_relaxed(&registered, 1);
	}
	guard_unlock(GUARD_SHRINKERS, &signals);
	return at < 0 ? at : 0;
}

void shrinker_unregister(shrinker_function *function, void *arg)
{
	sigset_t signals;
	int at;

	guard_lock(GUARD_SHRINKERS, &signals);
	at = function ? find(function, arg) : -ENOENT;
	if (at >= 0) {
		shrinker[at] = (struct shrinker){ NULL, NULL };
		mc_sub_relaxed(&registered, 1);
	}
	guard_unlock(GUARD_SHRINKERS, &signals);
}

bool shrinker_any(void)
{
	return mc_load_relaxed(&registered) != 0;
}

static __thread unsigned short_of; /* the resource, + 1; 0: this thread is in no shrinker */

const char *shrinker_resource(void)
{
	const struct self *self = short_of ? self_get() : NULL;

	return self ? region_name(self->actor.seg, short_of - 1) : NULL;
}

/* Who says that he gave more than he was asked for is believed that he gave what he was asked for. */
uint64_t shrinker_call(unsigned resource, uint64_t units)
{
	uint64_t given = 0;
	sigset_t signals;

	if (!shrinker_any())
		return 0;
	units = units < PAGES_MAX ? units : PAGES_MAX;
	guard_lock(GUARD_SHRINKERS, &signals);
	short_of = resource + 1;
	for (int i = 0; i < SHRINKERS_MAX && given < units; i++) {
		uint64_t wanted = (units - given) << MC_PAGE_SHIFT, got;

		if (!shrinker[i].function)
			continue;
		got = shrinker[i].function(shrinker[i].arg, wanted);
		given += (got < wanted ? got : wanted) >> MC_PAGE_SHIFT;
	}
	short_of = 0;
	guard_unlock(GUARD_SHRINKERS, &signals);
	return given;
}
