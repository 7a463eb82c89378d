/* SPDX-License-Identifier: MIT */
/* Functions of the program that give memory back. */
#include "preload/shrinker.h"

#include "preload/helper.h"

#include <errno.h>
#include <pthread.h>

struct shrinker {
	shrinker_function *function;
	void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shrinker shrinker[SHRINKERS_MAX];
static mc_word32 shrinkers; /* slots that were ever used */

static int find(shrinker_function *function, void *arg)
{
	for (uint32_t i = 0; i < mc_load_relaxed(&shrinkers); i++)
		if (shrinker[i].function == function && shrinker[i].arg == arg)
			return (int)i;
	return -ENOENT;
}

int shrinker_register(shrinker_function *function, void *arg)
{
	int at;

	(void)pthread_mutex_lock(&lock);
	at = find(NULL, NULL);
	if (at < 0 && mc_load_relaxed(&shrinkers) < SHRINKERS_MAX)
		at = (int)mc_add_relaxed(&shrinkers, 1);
	if (at >= 0)
		shrinker[at] = (struct shrinker){ function, arg };
	(void)pthread_mutex_unlock(&lock);
	helper_start();
	return at < 0 ? -ENOSPC : 0;
}

void shrinker_unregister(shrinker_function *function, void *arg)
{
	int at;

	(void)pthread_mutex_lock(&lock);
	at = find(function, arg);
	if (at >= 0)
		shrinker[at] = (struct shrinker){ NULL, NULL };
	(void)pthread_mutex_unlock(&lock);
}

bool shrinker_any(void)
{
	return mc_load_relaxed(&shrinkers) != 0;
}

uint64_t shrinker_call(uint64_t pages)
{
	uint64_t given = 0;

	if (!shrinker_any())
		return 0;
	(void)pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < mc_load_relaxed(&shrinkers) && given < pages; i++)
		if (shrinker[i].function)
			given += shrinker[i].function(shrinker[i].arg, pages - given);
	(void)pthread_mutex_unlock(&lock);
	return given;
}
