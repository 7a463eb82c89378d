/* SPDX-License-Identifier: MIT */
/* Requests that are answered when a reclaim is over. */
#include "controld/demand.h"

#include "accounting/group.h"
#include "accounting/reclaim.h"
#include "accounting/units.h"
#include "controld/killer.h"
#include "controld/reclaim.h"
#include "controld/residency.h"

#include <errno.h>
#include <stdlib.h>

/* What a reclaim is for. */
struct demand {
	bool must_give;	  /* less than wanted is an error */
	bool is_to_apply; /* `changes` wait for it */
	int swappiness;	  /* RECLAIM_SWAPPINESS_OWN: each group's own */
	struct key_changes changes;
};

static int judge(const struct served *s, const struct reclaim *r, struct complaint *why)
{
	char got[UNITS_BUF], wanted[UNITS_BUF], path[GROUP_PATH_MAX];

	if (r->got >= r->wanted)
		return 0;
	(void)group_path(&s->seg, r->group, path);
	return complain(why, -EAGAIN, "reclaimed %s of the %s that %s was to give: nobody there has more to give",
			units_format(r->got << MC_PAGE_SHIFT, got),
			r->wanted >= PAGES_MAX ? "whole memory" : units_format(r->wanted << MC_PAGE_SHIFT, wanted),
			path);
}

static json_t *tell(const struct reclaim *r)
{
	return json_pack("{s:I}", "reclaimed", (json_int_t)(r->got << MC_PAGE_SHIFT));
}

static int conclude(struct served *s, const struct reclaim *r, const struct demand *d, struct complaint *why)
{
	if (!reclaim_is_of(s, r))
		return complain(why, -ENOENT, "the group was removed meanwhile");
	if (d->is_to_apply) {
		residency_refresh(s, r->group, s->daemon->world->now_ns());
		return key_apply(s, r->group, &d->changes, why);
	}
	if (d->must_give)
		return judge(s, r, why);
	killer_ask(s, r->group);
	return 0;
}

static void on_done(struct served *s, struct reclaim *r, void *arg)
{
	struct complaint why = { .text = "" };
	const struct demand *d = arg;
	int err = conclude(s, r, d, &why);

	proto_answer(&r->promise, err, why.text, err ? NULL : tell(r));
}

/* Nobody is told: what can be said now is. */
static int at_once(struct request *r, struct reclaim *reclaim, const struct demand *d)
{
	int err = d->is_to_apply ? key_apply(r->served, r->group, &d->changes, &r->why)
		  : d->must_give ? judge(r->served, reclaim, &r->why)
				 : 0;

	reclaim_cancel(r->served, reclaim);
	return err;
}

static int begin(struct request *r, uint64_t pages, const struct demand *like)
{
	struct demand *d = malloc(sizeof(*d));
	struct reclaim *reclaim;

	if (d)
		*d = *like;
	if (!d || reclaim_begin(r->served, r->group, pages, d->swappiness, on_done, d, &reclaim)) {
		free(d);
		return complain(&r->why, -ENOMEM, "the daemon is out of memory");
	}
	if (!r->caller->answer)
		return at_once(r, reclaim, d);
	reclaim->is_for_limit = !d->must_give;
	reclaim->promise = command_promise(r);
	return COMMAND_ANSWERS_LATER;
}

int demand_reclaim(struct request *r, uint64_t pages, int swappiness)
{
	const struct demand d = { .must_give = true, .swappiness = swappiness };

	return begin(r, pages, &d);
}

/* The largest of what the keys want; they want the same pages. */
static uint64_t excess_of(const struct request *r, const struct key_changes *changes, bool before)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < changes->count; i++) {
		const struct key *k = changes->change[i].key;
		uint64_t pages;

		if (!k->kind->excess || k->kind->may_fail != before)
			continue;
		pages = k->kind->excess(k, r->served, r->group, changes->change[i].value);
		most = pages > most ? pages : most;
	}
	return most;
}

static bool must_give(const struct key_changes *changes)
{
	for (unsigned i = 0; i < changes->count; i++)
		if (changes->change[i].key->kind->must_give)
			return true;
	return false;
}

int demand_set(struct request *r, const struct key_changes *changes)
{
	struct demand d = {
		.is_to_apply = true,
		.changes = *changes,
		.swappiness = key_reclaim_swappiness(changes),
	};
	uint64_t pages = excess_of(r, changes, true);
	int err;

	if (pages)
		return begin(r, pages, &d);
	err = key_apply(r->served, r->group, changes, &r->why);
	pages = err ? 0 : excess_of(r, changes, false);
	d.is_to_apply = false;
	d.must_give = must_give(changes);
	return pages ? begin(r, pages, &d) : err;
}
