/* SPDX-License-Identifier: MIT */
/*
 * jemalloc's profiler with our stacks: it counts each thread's bytes, gives a sampled small block pages of its own (so
 * that freeing the others costs nothing), keeps what we say beside the block, and hands it back when the block is freed.
 * Its own tables of stacks and counters are never used.
 */
#include "preload/jemalloc_joined.h"

#include "preload/sample.h"
#include "preload/sites.h"

#include <string.h>

/* jemalloc 5.3.0's prof_tctx and what it leads to, as je_prof_malloc_sample_object touches them: a counter's lock,
 * and counters that nobody reads. Larger than they are there. */
struct nobodys_counters {
	void *thread_data; /* first in prof_tctx */
	char counters[248];
	struct sites_record *record; /* ours */
	void *lock;		     /* first in prof_tdata */
	uint64_t mutex[32];	     /* zeros are a mutex that nobody has */
};

void *mc_prof_tctx_create(void *tsd)
{
	struct unwind_registers here;
	struct sites_record *r;

	(void)tsd;
	unwind_here(&here);
	r = sites_begin(&here, STACKS_HEAP);
	return r ? (void *)r : JE_PROF_NOT_SAMPLED;
}

void mc_prof_malloc_sample_object(void *tsd, const void *p, size_t size, size_t usable, void *tctx)
{
	struct nobodys_counters c;

	memset(&c, 0, sizeof(c));
	c.thread_data = &c.lock;
	c.lock = c.mutex;
	c.record = tctx;
	je_prof_malloc_sample_object(tsd, p, size, usable, &c);
	sites_take(c.record, usable);
}

void mc_large_prof_info_set(void *extent, void *tctx, size_t size)
{
	je_large_prof_info_set(extent, ((struct nobodys_counters *)tctx)->record, size);
}

void mc_prof_free_sampled_object(void *tsd, size_t usable, struct je_prof_info *info)
{
	(void)tsd, (void)usable;
	sites_drop(info->tctx);
}

void mc_prof_alloc_rollback(void *tsd, void *tctx)
{
	(void)tsd;
	if (tctx && tctx != JE_PROF_NOT_SAMPLED)
		sites_cancel(tctx);
}

uint64_t mc_prof_sample_new_event_wait(void *tsd)
{
	(void)tsd;
	return sample_wait(sites_rate());
}
