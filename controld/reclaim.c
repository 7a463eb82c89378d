/* SPDX-License-Identifier: MIT */
/* Making members of a group give memory back. */
#include "controld/reclaim.h"

#include "accounting/effort.h"
#include "accounting/member.h"
#include "accounting/reclaim.h"
#include "accounting/stock.h"
#include "controld/daemon.h"
#include "controld/loop.h"
#include "controld/pager.h"
#include "controld/plan.h"
#include "controld/residency.h"
#include "controld/swap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define REST_MIN_NS (1 * MS) /* between looks at who has answered, longer and longer */
#define REST_MAX_NS (16 * MS)

/* ---- who can be asked ------------------------------------------------------------------------------------ */

static bool is_spent(const struct reclaim *r, uint32_t member)
{
	return r->spent[member / 8] & 1u << member % 8;
}

static void note_spent(struct reclaim *r, uint32_t member)
{
	r->spent[member / 8] |= (uint8_t)(1u << member % 8);
}

static bool is_silent(const struct member *m, uint32_t now)
{
	return mc_load_full(&m->ask) != mc_load_full(&m->answered) &&
	       now - mc_load_relaxed(&m->asked_at) >= RECLAIM_PATIENCE_MS;
}

static bool listens(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);

	return mc_load_relaxed(&m->answers) && member_state(mc_load_full(&m->state)) == MEMBER_LIVE &&
	       !is_silent(m, reclaim_now());
}

static bool has_no_helper(const struct served *s, uint32_t member)
{
	struct member *m = member_of(&s->seg, member);

	return !mc_load_relaxed(&m->answers) && member_state(mc_load_full(&m->state)) == MEMBER_LIVE &&
	       !is_silent(m, reclaim_now());
}

static bool is_of_phase(const struct served *s, const struct reclaim *r, uint32_t member)
{
	switch (r->phase) {
	case RECLAIM_COLD: /* for who cannot page out himself the daemon tries */
		return s->watch[member].pid != 0;
	case RECLAIM_SILENT:
		return has_no_helper(s, member);
	case RECLAIM_UNUSED:
	case RECLAIM_SHRINKERS:
	case RECLAIM_OVER:
	default:
		return listens(s, member);
	}
}

static bool may_be_asked(const struct served *s, const struct reclaim *r, uint32_t member)
{
	return is_of_phase(s, r, member) && !is_spent(r, member) &&
	       group_is_within(&s->seg, mc_load_full(&member_of(&s->seg, member)->group), r->group);
}

static bool may_go_cold(const struct served *s, uint32_t member)
{
	return s->swap.is_any || mc_load_relaxed(&member_of(&s->seg, member)->flags) & MEMBER_GIVES_UP;
}

/* Of so many pages that a member may give, those on the node: nobody chooses which they are. */
static uint64_t part_here(const struct served *s, const struct reclaim *r, uint32_t member, uint64_t pages)
{
	struct numa_spread spread;
	uint64_t here;

	if (!pages || r->node == NUMA_ANY || s->daemon->world->spread((pid_t)s->watch[member].pid, &spread))
		return pages;
	here = spread.pages[r->node];
	return pages < here ? pages : here;
}

/* What to count on. A shrinker may have anything. */
static uint64_t can_give(const struct served *s, const struct reclaim *r, uint32_t member)
{
	int64_t purgeable = (int64_t)mc_load_relaxed(&member_of(&s->seg, member)->purgeable);
	uint64_t unused;

	if (!may_be_asked(s, r, member))
		return 0;
	if (r->phase == RECLAIM_SHRINKERS)
		return member_held(&s->seg, member, RESOURCE_MEMORY);
	if (r->phase == RECLAIM_COLD)
		return may_go_cold(s, member) ? reclaim_may_page_out(&s->seg, member, r->swappiness) : 0;
	unused = (purgeable > 0 ? (uint64_t)purgeable : 0) + mc_load_relaxed(&member_of(&s->seg, member)->droppable);
	return r->phase == RECLAIM_SILENT && unused < RECLAIM_SILENT_LEAST ? 0 : unused;
}

/* ---- what they gave ---------------------------------------------------------------------------------------- */

static uint64_t grown(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0; /* a new image begins with 0 */
}

static void close_ask(const struct served *s, struct reclaim *r, struct reclaim_asked *a)
{
	const struct member *m = member_of(&s->seg, a->member);
	uint64_t given = grown(a->reclaimed, mc_load_relaxed(&m->reclaimed));

	a->is_open = false;
	r->got += given;
	r->scanned += grown(a->scanned, mc_load_relaxed(&m->scanned));
	if (given < a->pages)
		note_spent(r, a->member);
}

/* It is asked anew: what it has given counts once. */
static void close_asks_of(const struct served *s, struct reclaim *r, uint32_t member)
{
	for (uint32_t i = 0; i < r->asked_count; i++)
		if (r->asked[i].is_open && r->asked[i].member == member)
			close_ask(s, r, &r->asked[i]);
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

static int ask(struct served *s, struct reclaim *r, uint32_t member, uint64_t pages)
{
	struct member *m = member_of(&s->seg, member);
	struct reclaim_asked *a;

	if (served_grow((void **)&r->asked, r->asked_count, &r->asked_room, sizeof(*r->asked)))
		return -ENOMEM;
	close_asks_of(s, r, member);
	a = &r->asked[r->asked_count++];
	*a = (struct reclaim_asked){
		.member = member,
		.generation = mc_load_relaxed(&m->generation),
		.pages = pages,
		.scanned = mc_load_relaxed(&m->scanned),
		.reclaimed = mc_load_relaxed(&m->reclaimed),
		.is_open = true,
		.by_daemon = r->phase == RECLAIM_COLD && !listens(s, member),
		.is_silent = r->phase == RECLAIM_SILENT,
	};
	if (a->by_daemon)
		(void)pager_begin(s, member, pages, r->swappiness);
	else if (r->phase == RECLAIM_COLD)
		reclaim_ask_cold(&s->seg, member, pages, reclaim_now());
	else if (!a->is_silent || !reclaim_is_asked_in_vain(m)) /* once, until it is answered */
		reclaim_ask(&s->seg, member, pages, reclaim_now());
	a->ask = mc_load_full(r->phase == RECLAIM_COLD ? &m->cold_ask : &m->ask);
	r->asks++;
	return 0;
}

struct giver {
	uint32_t member;
	uint16_t group;
	uint64_t has;
};

static int compare(const void *a, const void *b)
{
	const struct giver *x = a, *y = b;

	if (x->has != y->has)
		return x->has < y->has ? 1 : -1;
	return (x->member > y->member) - (x->member < y->member);
}

/* The largest first. */
static uint32_t find_givers(const struct served *s, const struct reclaim *r, uint32_t groups, struct giver **ret)
{
	struct giver *list = NULL;
	uint32_t count = 0, room = 0;

	for (uint32_t i = served_next_member(s, 0); i != MEMBER_NIL; i = served_next_member(s, i + 1)) {
		uint16_t group = mc_load_full(&member_of(&s->seg, i)->group);
		uint64_t has = part_here(s, r, i, can_give(s, r, i));

		if (!has || group >= groups || served_grow((void **)&list, count, &room, sizeof(*list)))
			continue;
		list[count++] = (struct giver){ .member = i, .group = group, .has = has };
	}
	if (count)
		qsort(list, count, sizeof(*list), compare);
	*ret = list;
	return count;
}

static void count_breaches(const struct served *s, const struct plan_row *rows, uint32_t groups)
{
	for (uint32_t g = 0; g < groups; g++)
		if (rows[g].is_breached)
			pool_count_event(&s->seg, RESOURCE_MEMORY, (uint16_t)g, EVENT_LOW);
}

/* What the plan wants of a group, its members give as they come. */
static void ask_givers(struct served *s, struct reclaim *r, struct survey *survey, const struct giver *list,
		       uint32_t count, struct plan_row *rows)
{
	for (uint32_t i = 0; i < count; i++)
		rows[list[i].group].has += list[i].has;
	if (r->soften)
		(void)plan_soften(survey, r->soften, rows);
	else
		(void)plan_take(survey, r->group, r->wanted - r->got, rows);
	count_breaches(s, rows, survey->groups);
	for (uint32_t i = 0; i < count; i++) {
		struct plan_row *row = &rows[list[i].group];
		uint64_t pages = row->take < list[i].has ? row->take : list[i].has;

		if (pages && ask(s, r, list[i].member, pages) == 0)
			row->take -= pages;
	}
}

static int take_survey(struct served *s, uint16_t group, struct survey *ret)
{
	struct snapshot snap;
	int err = residency_snapshot(s, group, s->daemon->world->now_ns(), &snap);

	if (err)
		return err;
	err = survey_take(&s->seg, &snap, ret);
	snapshot_free(&snap);
	return err;
}

/* Who has no helper may answer in a later round. */
static void forget_round(struct reclaim *r)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < r->asked_count; i++)
		if (r->asked[i].is_open)
			r->asked[kept++] = r->asked[i];
	r->asked_count = kept;
}

/* True when somebody was asked. */
static bool begin_round(struct served *s, struct reclaim *r)
{
	unsigned asks = r->asks;
	struct survey survey;
	struct plan_row *rows;
	struct giver *list = NULL;
	uint32_t count;

	forget_round(r);
	if (take_survey(s, r->group, &survey))
		return false;
	rows = calloc(survey.groups ? survey.groups : 1, sizeof(*rows));
	count = find_givers(s, r, survey.groups, &list);
	if (rows && count)
		ask_givers(s, r, &survey, list, count, rows);
	free(list);
	free(rows);
	survey_free(&survey);
	return r->asks != asks;
}

/* ---- taking answers -------------------------------------------------------------------------------------- */

static bool has_answered(const struct served *s, const struct reclaim *r, const struct reclaim_asked *a)
{
	const struct member *m = member_of(&s->seg, a->member);
	bool is_cold = r->phase == RECLAIM_COLD && !a->is_silent;
	uint32_t answered = mc_load_full(is_cold ? &m->cold_answered : &m->answered);

	if (a->by_daemon)
		return !pager_is_busy(s, a->member);
	return mc_load_relaxed(&m->generation) != a->generation || (!a->is_silent && !mc_load_relaxed(&m->answers)) ||
	       member_state(mc_load_full(&m->state)) != MEMBER_LIVE || (int32_t)(answered - a->ask) >= 0;
}

/* True while somebody has not answered who is worth waiting for. */
static bool is_waiting(const struct served *s, struct reclaim *r, uint64_t now_ns)
{
	bool waiting = false;

	for (uint32_t i = 0; i < r->asked_count; i++) {
		struct reclaim_asked *a = &r->asked[i];

		if (a->is_open && has_answered(s, r, a))
			close_ask(s, r, a);
		waiting |= a->is_open && (!a->is_silent || now_ns < r->silent_until_ns);
	}
	return waiting;
}

/* Who has not answered in time may have given something nevertheless. */
static void end(const struct served *s, struct reclaim *r)
{
	for (uint32_t i = 0; i < r->asked_count; i++)
		if (r->asked[i].is_open)
			close_ask(s, r, &r->asked[i]);
	r->phase = RECLAIM_OVER;
}

static bool has_enough(const struct reclaim *r)
{
	return r->soften ? r->asks != 0 : r->got >= r->wanted;
}

/* Whether memory is used shows after a while only, and swap may be slow: as long as something comes. */
static void allow_time(const struct served *s, struct reclaim *r, uint64_t now_ns)
{
	uint64_t coming = r->got;

	for (uint32_t i = 0; i < r->asked_count; i++)
		if (r->asked[i].is_open)
			coming += grown(r->asked[i].reclaimed,
					mc_load_relaxed(&member_of(&s->seg, r->asked[i].member)->reclaimed));
	if (coming == r->coming)
		return;
	r->coming = coming;
	r->end_ns = now_ns + RECLAIM_COLD_LIMIT_NS;
}

/* Who had nothing unused may have something that he does not use. */
static void next_phase(struct served *s, struct reclaim *r, uint64_t now_ns)
{
	if (++r->phase == RECLAIM_SILENT)
		r->silent_until_ns = now_ns + RECLAIM_SILENT_NS;
	if (r->phase != RECLAIM_COLD)
		return;
	(void)swap_is_there(s, now_ns);
	memset(r->spent, 0, MEMBERS_MAX / 8);
	r->coming = UINT64_MAX;
	allow_time(s, r, now_ns);
}

static void advance(struct served *s, struct reclaim *r, uint64_t now_ns)
{
	while (r->phase != RECLAIM_OVER) {
		if (r->phase == RECLAIM_COLD)
			allow_time(s, r, now_ns);
		if (is_waiting(s, r, now_ns) && now_ns < r->end_ns && r->got < r->wanted)
			return;
		if (has_enough(r) || now_ns >= r->end_ns)
			end(s, r);
		else if (!begin_round(s, r))
			next_phase(s, r, now_ns);
	}
}

/* ---- from outside ---------------------------------------------------------------------------------------- */

static void release(struct reclaim *r)
{
	free(r->asked);
	free(r->spent);
	free(r->arg);
	free(r);
}

static int begin(struct served *s, const struct reclaim *like, struct reclaim **ret)
{
	struct reclaim *r = malloc(sizeof(*r));
	uint64_t now_ns = s->daemon->world->now_ns();

	if (!r)
		return -ENOMEM;
	*r = *like;
	r->spent = calloc(MEMBERS_MAX / 8, 1);
	if (!r->spent) {
		free(r);
		return -ENOMEM;
	}
	r->generation = s->seg.limits->group[r->group].generation;
	r->end_ns = now_ns + RECLAIM_LIMIT_NS;
	r->rest_ns = REST_MIN_NS;
	r->next = s->reclaims;
	s->reclaims = r;
	advance(s, r, now_ns);
	loop_request_turn(s->daemon);
	*ret = r;
	return 0;
}

int reclaim_begin(struct served *s, uint16_t group, uint64_t pages, int swappiness, reclaim_done *done, void *arg,
		  struct reclaim **ret)
{
	struct reclaim r = {
		.group = group, .wanted = pages, .node = NUMA_ANY, .swappiness = swappiness, .done = done, .arg = arg
	};

	(void)stock_drain(&s->actor, RESOURCE_MEMORY, group);
	return begin(s, &r, ret);
}

int reclaim_soften(struct served *s, struct softlimit *tree, int node, reclaim_done *done, void *arg,
		   struct reclaim **ret)
{
	struct reclaim r = { .group = GROUP_ROOT,
			     .wanted = PAGES_MAX,
			     .soften = tree,
			     .node = node,
			     .swappiness = RECLAIM_SWAPPINESS_OWN,
			     .done = done,
			     .arg = arg };

	return begin(s, &r, ret);
}

bool reclaim_is_of(const struct served *s, const struct reclaim *r)
{
	return s->seg.limits->group[r->group].generation == r->generation &&
	       group_state(&s->seg, r->group) == GROUP_LIVE;
}

void reclaim_cancel(struct served *s, struct reclaim *r)
{
	struct reclaim **at = &s->reclaims;

	while (*at && *at != r)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = r->next;
	release(r);
}

/* What `done` begins stands at the front of the list, before what is looked at here. */
void reclaim_turn(struct served *s, uint64_t now_ns)
{
	struct reclaim **at = &s->reclaims;

	while (*at) {
		struct reclaim *r = *at;

		advance(s, r, now_ns);
		if (r->phase != RECLAIM_OVER) {
			served_want_turn(s, now_ns + r->rest_ns);
			r->rest_ns = r->rest_ns * 2 < REST_MAX_NS ? r->rest_ns * 2 : REST_MAX_NS;
			at = &r->next;
			continue;
		}
		*at = r->next;
		if (r->is_for_limit)
			effort_book(&s->seg, RESOURCE_MEMORY, r->group, r->wanted, r->got);
		if (r->done)
			r->done(s, r, r->arg);
		release(r);
		at = &s->reclaims;
	}
}

void reclaim_release(struct served *s, const void *holder)
{
	for (struct reclaim *r = s->reclaims; r; r = r->next)
		if (r->promise.holder == holder)
			r->promise = (struct promise){ 0 };
}

void reclaim_forget_all(struct served *s)
{
	while (s->reclaims)
		reclaim_cancel(s, s->reclaims);
}
