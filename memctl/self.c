/* SPDX-License-Identifier: MIT */
/* The calling process as a member: what the preload library offers, if it is there. */
#include "memctl/memctl.h"

#include "accounting/cooperate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>

/* Preloaded, it was there before us and stays. */
static const struct cooperate *inside(void)
{
	static const struct cooperate none;
	static const struct cooperate *_Atomic found;
	const struct cooperate *c = atomic_load(&found);

	if (!c) {
		c = dlsym(RTLD_DEFAULT, COOPERATE_SYMBOL);
		if (!c)
			c = &none;
		atomic_store(&found, c);
	}
	return c->version >= COOPERATE_VERSION ? c : NULL;
}

int memctl_self_usage(struct memctl_self_usage *ret)
{
	struct cooperate_usage u = { .max = MEMCTL_MAX, .room = MEMCTL_MAX };

	if (inside())
		inside()->usage(&u);
	*ret = (struct memctl_self_usage){
		.held = u.held, .unused = u.unused, .current = u.current, .max = u.max, .room = u.room
	};
	return 0;
}

int memctl_shrinker_register(memctl_shrinker_fn *fn, void *arg)
{
	if (!fn)
		return -EINVAL;
	return inside() ? inside()->shrinker_register(fn, arg) : 0;
}

int memctl_shrinker_unregister(memctl_shrinker_fn *fn, void *arg)
{
	if (inside())
		inside()->shrinker_unregister(fn, arg);
	return 0;
}

const char *memctl_shrinking(void)
{
	return inside() ? inside()->shrinking() : NULL;
}

int memctl_volatile(void *addr, size_t len, bool on)
{
	if (!inside())
		return 0;
	return on ? inside()->mark_volatile(addr, len) : inside()->unmark_volatile(addr, len);
}

int memctl_charge(const char *resource, uint64_t bytes)
{
	if (!resource)
		return -EINVAL;
	return inside() ? inside()->charge(resource, bytes) : 0;
}

int memctl_uncharge(const char *resource, uint64_t bytes)
{
	if (!resource)
		return -EINVAL;
	return inside() ? inside()->uncharge(resource, bytes) : 0;
}
