/* SPDX-License-Identifier: MIT */
/* One turn: the stages in order. */
#include "controld/cycle.h"

#include "accounting/snapshot.h"
#include "controld/heirs.h"
#include "controld/history.h"
#include "controld/killer.h"
#include "controld/log.h"
#include "controld/loop.h"
#include "controld/notify.h"
#include "controld/observe.h"
#include "controld/pager.h"
#include "controld/reap.h"
#include "controld/reclaim.h"
#include "controld/residency.h"
#include "controld/scarcity.h"
#include "controld/stall.h"
#include "controld/swap.h"
#include "controld/tidy.h"

/* What is settled in this turn shows in the next one's snapshot. */
static void turn(struct served *s, uint64_t now_ns)
{
	struct snapshot snap;

	s->next_look_ns = 0;
	if (snapshot_take(&s->seg, RESOURCE_MEMORY, &snap)) {
		log_line(LOG_ERR, "no memory for a snapshot, trying again");
		served_want_turn(s, now_ns + 1000000000u);
		return;
	}
	if (reap(s, now_ns))
		loop_request_turn(s->daemon);
	heirs_look(s);
	residency(s, now_ns);
	swap_turn(s, now_ns);
	observe(s, now_ns);
	pager_turn(s, now_ns);
	reclaim_turn(s, now_ns);
	killer(s, now_ns);
	scarcity(s, &snap, now_ns);
	stall(s, now_ns);
	notify(s, now_ns);
	history(s, &snap, now_ns);
	tidy(s, &snap);
	snapshot_free(&snap);
}

void cycle_turn(struct daemon *d)
{
	uint64_t now_ns = d->world->now_ns();

	for (struct served *s = d->served; s; s = s->next)
		turn(s, now_ns);
	daemon_retire_old(d);
}
