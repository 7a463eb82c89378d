/* SPDX-License-Identifier: MIT */
/* The bell: waking the daemon. */
#include "accounting/bell.h"

#include "accounting/sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

void bell_ring(const struct segment *seg)
{
	struct counters_header *h = &seg->counters->header;

	mc_add_full(&h->bell, 1); /* [O6] */
	if (mc_load_full(&h->bell_waiting))
		(void)sys_call6(SYS_futex, (long)&h->bell, FUTEX_WAKE, INT_MAX, 0, 0, 0);
}

uint32_t bell_wait(const struct segment *seg, uint32_t seen, uint64_t timeout_ns)
{
	struct counters_header *h = &seg->counters->header;
	struct timespec t = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	mc_store_full(&h->bell_waiting, 1); /* [O6] */
	if (mc_load_full(&h->bell) == seen)
		(void)sys_call6(SYS_futex, (long)&h->bell, FUTEX_WAIT, (long)seen, timeout_ns ? (long)&t : 0, 0, 0);
	mc_store_full(&h->bell_waiting, 0);
	return mc_load_full(&h->bell);
}
