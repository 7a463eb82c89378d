/* SPDX-License-Identifier: MIT */
/* memctl run --need: waits for room, and keeps it for COMMAND until that has charged as much.
 *
 * What is kept is charged to a slot of this process (accounting/keep.h), so it goes with us however we end. COMMAND and
 * what it starts are given of it when a limit refuses them; what they were granted without that is looked at
 * KEEP_LOOK_MS apart, and no longer kept then.
 */
#include "memctl/run.h"

#include "accounting/reclaim.h"
#include "accounting/stock.h"
#include "accounting/units.h"
#include "memctl/error.h"
#include "memctl/say.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ASK_MS 1000u /* members that have room to give are asked so often */
#define LOOK_MS 250u /* what waits for room looks by itself so often */

/* The group itself, or that above a transient one: nobody else is in there. */
static int find_group(const struct segment *seg, const struct run_group *g, uint16_t *ret)
{
	char path[GROUP_PATH_MAX];

	strcpy(path, g->path);
	if (g->transient)
		(void)run_group_up(path);
	return group_find(seg, path, ret);
}

static int check_limits(const struct segment *seg, const char *path, uint64_t pages)
{
	char size[UNITS_BUF], limit[UNITS_BUF], level[GROUP_PATH_MAX];
	uint16_t g;
	int err = group_find(seg, path, &g);

	if (err)
		return error_set(err, "the group %s was removed just now", path);
	for (; g != GROUP_NIL; g = group_parent(seg, g)) {
		uint64_t max = pool_max(seg, RESOURCE_MEMORY, g);

		if (pages <= max)
			continue;
		(void)group_path(seg, g, level);
		return error_set(-E2BIG, "%s can never be free in %s, whose memory.max is %s",
				 units_format(pages * MC_PAGE_SIZE, size), level,
				 units_format(max * MC_PAGE_SIZE, limit));
	}
	return 0;
}

/* Sleeps until there may be room in the group that has none. */
static void wait_for_room(const struct segment *seg, uint16_t full, uint64_t pages, uint32_t *asked_at)
{
	const struct pool *pool = pool_of(seg, RESOURCE_MEMORY, full);
	uint32_t seen = reclaim_gave(seg), now = reclaim_now();

	reclaim_want_room(seg, RESOURCE_MEMORY, full, pages);
	if (now - *asked_at >= ASK_MS) {
		*asked_at = now;
		(void)reclaim_ask_below(seg, full, MEMBER_NIL, pages, now);
	}
	if (pool_usage(mc_load_full(&((struct pool *)(uintptr_t)pool)->word)) + pages >
	    pool_max(seg, RESOURCE_MEMORY, full))
		reclaim_wait(seg, seen, LOOK_MS);
}

static int take(struct run_keep *k, const struct run_group *g)
{
	uint32_t asked_at = reclaim_now() - ASK_MS;
	char path[GROUP_PATH_MAX], size[UNITS_BUF];
	uint16_t full = GROUP_ROOT;
	bool said = false;
	int err;

	while ((err = check_limits(&k->seg, g->path, k->need)) == 0 && keep_take(&k->keep, k->need, &full)) {
		(void)stock_drain(&k->keep.actor, RESOURCE_MEMORY, full);
		(void)group_path(&k->seg, full, path);
		if (!said)
			say_note("run", "waiting until %s is free in %s", units_format(k->need * MC_PAGE_SIZE, size),
				 path);
		said = true;
		wait_for_room(&k->seg, full, k->need, &asked_at);
	}
	return err;
}

static int open_keep(struct run_keep *k, const struct run_group *g)
{
	uint16_t group;
	int err = find_group(&k->seg, g, &group);

	if (!err)
		err = keep_open(&k->seg, group, &k->keep);
	if (err == -EXDEV)
		return error_set(err, "--need does not work from another pid namespace than the daemon's");
	return err ? error_set(err, "no room can be kept in %s: %s", g->path, strerror(-err)) : 0;
}

/* In place: what is kept refers to the mapping in *ret. */
int run_keep_wait(struct memctl *m, const struct run_group *g, uint64_t need, struct run_keep *ret)
{
	int err;

	*ret = (struct run_keep){ .need = need / MC_PAGE_SIZE };
	err = segment_attach(memctl_dir(m), SEGMENT_MEMBER, &ret->seg);
	if (err)
		return error_set(err, "cannot use the segment in %s: %s", memctl_dir(m), strerror(-err));
	err = open_keep(ret, g);
	ret->is_open = !err;
	if (!err)
		err = take(ret, g);
	if (err)
		run_keep_close(ret);
	return err;
}

/* What COMMAND and those it has started hold. */
static uint64_t charged(const struct run_keep *k)
{
	uint32_t mark = member_mark(&k->seg), self = (uint32_t)getpid();
	uint64_t sum = 0;

	for (uint32_t i = 0; i < mark; i++) {
		uint64_t word = mc_load_full(&member_of(&k->seg, i)->state);

		if ((member_state(word) == MEMBER_LIVE || member_state(word) == MEMBER_OBSERVED) &&
		    keep_is_descendant(member_pid(word), self))
			sum += member_held(&k->seg, i, RESOURCE_MEMORY);
	}
	return sum;
}

bool run_keep_follow(struct run_keep *k)
{
	uint64_t used = k->is_open ? charged(k) : 0;

	if (!k->is_open)
		return false;
	keep_shrink(&k->keep, used < k->need ? k->need - used : 0);
	if (keep_held(&k->keep))
		return true;
	run_keep_close(k);
	return false;
}

void run_keep_close(struct run_keep *k)
{
	if (k->is_open)
		keep_close(&k->keep);
	k->is_open = false;
	if (k->seg.counters)
		segment_detach(&k->seg);
}
