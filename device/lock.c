/* SPDX-License-Identifier: MIT */
/* Locks of this process alone. */
#include "device/lock.h"

#include "accounting/sys.h"
#include "device/member.h"

struct locks {
	mc_word32 held[LOCKS]; /* sync: full */
};

static struct locks *_Atomic page;

/* Two threads may both make one: the first one's stays. */
static struct locks *make_page(void)
{
	static struct locks common;
	struct locks *fresh = device_pages(MC_PAGE_SIZE, PAGES_WIPED), *none = NULL;

	if (!fresh)
		fresh = &common;
	if (mc_cas_full(&page, &none, fresh))
		return fresh;
	if (fresh != &common)
		(void)sys_munmap(fresh, MC_PAGE_SIZE);
	return none;
}

static mc_word32 *word_of(enum lock which)
{
	struct locks *locks = mc_load_acquire(&page);

	return &(locks ? locks : make_page())->held[which];
}

void lock_take(enum lock which)
{
	mc_word32 *held = word_of(which);

	while (mc_exchange_full(held, 1))
		mc_spin_hint();
}

void lock_release(enum lock which)
{
	mc_store_full(word_of(which), 0);
}
