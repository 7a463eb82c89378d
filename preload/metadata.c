/* SPDX-License-Identifier: MIT */
/* jemalloc's own bookkeeping. It is used from the front of each block to its end and never given back, so
 * that each block has one frontier, and a measurement looks at the pages behind it alone. A child's pages
 * are its parent's until written: it charges what lies behind the frontier it inherited. */
#include "preload/metadata.h"

#include "accounting/account.h"
#include "accounting/sys.h"
#include "preload/self.h"

#define BLOCKS_MAX 1024
#define LOOK_AHEAD 64	 /* pages per mincore */
#define MEASURE_EVERY 64 /* heap growths */

struct block {
	char *at;
	size_t pages;
	mc_word frontier; /* sync: compare-and-swap; pages charged */
};

static struct block block[BLOCKS_MAX];
static mc_word32 blocks;
static mc_word32 turns;

/* Pages in use behind the frontier, LOOK_AHEAD at most. */
static size_t look(const struct block *b, size_t from)
{
	unsigned char resident[LOOK_AHEAD];
	size_t n = b->pages - from < LOOK_AHEAD ? b->pages - from : LOOK_AHEAD;
	size_t last = 0;

	if (n == 0 || sys_call3(SYS_mincore, b->at + from * MC_PAGE_SIZE, n * MC_PAGE_SIZE, resident))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (resident[i] & 1)
			last = i + 1;
	return last;
}

static void charge_pages(uint64_t pages)
{
	struct self *self = self_get();

	if (!self) {
		self_pend((int64_t)pages);
		return;
	}
	account_class_add(self->actor.seg, self_target(self).account, CLASS_HEAP, (int64_t)pages);
	charge_force(&self->actor, self_target(self).account, pages, OVER_METADATA);
}

static void measure_block(struct block *b)
{
	uint64_t from = mc_load_relaxed(&b->frontier);
	size_t more;

	while ((more = look(b, from)) != 0) {
		if (!mc_cas_full(&b->frontier, &from, from + more))
			continue;
		charge_pages(more);
		from += more;
		if (more < LOOK_AHEAD)
			break;
	}
}

void metadata_measure(bool now)
{
	uint32_t n = mc_load_acquire(&blocks);

	if (!now && mc_add_relaxed(&turns, 1) % MEASURE_EVERY)
		return;
	for (uint32_t i = 0; i < n && i < BLOCKS_MAX; i++)
		if (block[i].at && mc_load_relaxed(&block[i].frontier) < block[i].pages)
			measure_block(&block[i]);
}

void metadata_add(void *addr, size_t size)
{
	uint32_t i = mc_add_full(&blocks, 1);

	if (i >= BLOCKS_MAX) {
		self_mark_partial();
		return;
	}
	block[i].pages = size >> MC_PAGE_SHIFT;
	mc_compiler_fence();
	block[i].at = addr;
}
