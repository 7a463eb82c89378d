/* SPDX-License-Identifier: MIT */
/* Locks of what cooperating programs tell us. */
#include "preload/guard.h"

#include "accounting/atomic.h"

#include <pthread.h>

static pthread_mutex_t mutex[GUARDS] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };
static mc_word32 is_registered;

static void before_fork(void)
{
	for (int i = 0; i < GUARDS; i++)
		(void)pthread_mutex_lock(&mutex[i]);
}

static void after_fork(void)
{
	for (int i = GUARDS; i-- > 0;)
		(void)pthread_mutex_unlock(&mutex[i]);
}

static void block_signals(sigset_t *ret_old)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, ret_old);
}

/* The handlers come with the first use: most programs never cooperate. */
void guard_lock(enum guard g, sigset_t *ret_signals)
{
	if (!mc_load_relaxed(&is_registered) && !mc_exchange_full(&is_registered, 1))
		(void)pthread_atfork(before_fork, after_fork, after_fork);
	block_signals(ret_signals);
	(void)pthread_mutex_lock(&mutex[g]);
}

bool guard_try(enum guard g, sigset_t *ret_signals)
{
	block_signals(ret_signals);
	if (pthread_mutex_trylock(&mutex[g]) == 0)
		return true;
	(void)pthread_sigmask(SIG_SETMASK, ret_signals, NULL);
	return false;
}

void guard_unlock(enum guard g, const sigset_t *signals)
{
	(void)pthread_mutex_unlock(&mutex[g]);
	(void)pthread_sigmask(SIG_SETMASK, signals, NULL);
}
