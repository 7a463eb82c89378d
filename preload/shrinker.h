/* SPDX-License-Identifier: MIT */
/* Functions of the program that give memory back when it is asked for. Called in the helper thread, one at a time. */
#ifndef PRELOAD_SHRINKER_H
#define PRELOAD_SHRINKER_H

#include <stdbool.h>
#include <stdint.h>

#define SHRINKERS_MAX 64

/* Gives up to `bytes` back; returns how many it has given, by free or by unmapping. */
typedef uint64_t shrinker_function(void *arg, uint64_t bytes);

/* 0; -ENOSPC: SHRINKERS_MAX are registered. Not in a shrinker, nor in handlers. */
int shrinker_register(shrinker_function *function, void *arg);

/* Not called any more when this returns. Not in a shrinker, nor in handlers. */
void shrinker_unregister(shrinker_function *function, void *arg);

/* Any thread, signal handlers. */
bool shrinker_any(void);

/* Calls one after the other, because so many units of this resource are short, until that is given;
 * returns how much was. What they freed is purgeable then. */
uint64_t shrinker_call(unsigned resource, uint64_t units);

/* In a shrinker: the name of what is short. NULL: this thread is in none. */
const char *shrinker_resource(void);

#endif
