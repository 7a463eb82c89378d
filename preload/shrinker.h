/* SPDX-License-Identifier: MIT */
/* Functions of the program that give memory back when it is asked for. Called in the helper thread, one at a time. */
#ifndef PRELOAD_SHRINKER_H
#define PRELOAD_SHRINKER_H

#include <stdbool.h>
#include <stdint.h>

#define SHRINKERS_MAX 64

/* Gives up to `pages` back; returns how many it has given. */
typedef uint64_t shrinker_function(void *arg, uint64_t pages);

/* 0; -ENOSPC: SHRINKERS_MAX are registered. Starts the helper. */
int shrinker_register(shrinker_function *function, void *arg);

/* Not called any more when this returns. */
void shrinker_unregister(shrinker_function *function, void *arg);

bool shrinker_any(void);

/* Calls one after the other until enough is given; returns how much was. */
uint64_t shrinker_call(uint64_t pages);

#endif
