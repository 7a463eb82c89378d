/* SPDX-License-Identifier: MIT */
/* A client that gives back when it is asked: a shrinker, by what the preload library offers. */
#ifndef TESTS_DEVICE_SHRINKS_H
#define TESTS_DEVICE_SHRINKS_H

#include "accounting/cooperate.h"

#include <dlfcn.h>

/* 0: it is registered. */
static inline int shrinks_by(uint64_t (*shrink)(void *arg, uint64_t bytes))
{
	const struct cooperate *c = dlsym(RTLD_DEFAULT, COOPERATE_SYMBOL);

	return c ? c->shrinker_register(shrink, NULL) : -1;
}

#endif
