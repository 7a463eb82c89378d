/* SPDX-License-Identifier: MIT */
/* How a reclaim is divided among groups. */
#include "controld/plan.h"

#include "controld/protect.h"

#include <stdlib.h>

#define PRIORITY_GENTLE 12u /* DEF_PRIORITY: the first round looks at 1/4096 */
#define ROUNDS_MAX 1024u    /* what is protected in part is approached, never reached */

/* One reclaim while it is planned. */
struct plan {
	struct survey *survey;
	uint16_t target;
	uint64_t wanted, sum;
	struct plan_row *rows;
	struct protection *protection;
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void take(struct plan *p, uint16_t group, uint64_t pages)
{
	struct plan_row *row = &p->rows[group];

	row->has -= pages;
	row->take += pages;
	p->sum += pages;
	survey_give_back(p->survey, group, pages);
}

static uint64_t total(const struct plan *p)
{
	uint64_t sum = 0;

	for (uint16_t g = p->target; g != GROUP_NIL; g = survey_next(p->survey, p->target, g))
		sum += p->rows[g].has;
	return sum;
}

/* True when low has spared somebody. */
static bool round_at(struct plan *p, enum protect_pass pass, unsigned priority)
{
	bool spared = false;

	protect_calculate(p->survey, p->target, true, p->protection);
	for (uint16_t g = p->target; g != GROUP_NIL && p->sum < p->wanted; g = survey_next(p->survey, p->target, g)) {
		enum protect_verdict verdict = p->rows[g].has
						       ? protect_judge(p->survey, p->target, g, &p->protection[g], pass)
						       : PROTECT_NEVER;
		bool by_low = false;
		uint64_t scan;

		spared |= verdict == PROTECT_LATER;
		if (verdict == PROTECT_LATER || verdict == PROTECT_NEVER)
			continue;
		scan = protect_scan(p->survey, g, &p->protection[g], pass, p->rows[g].has, priority, &by_low);
		spared |= by_low;
		p->rows[g].is_breached |= verdict == PROTECT_BREACH;
		take(p, g, least(least(scan, p->rows[g].has), p->wanted - p->sum));
	}
	return spared;
}

/* So gentle that a quarter of what is missing is not exceeded: protection is divided anew before each round, and where
 * it comes to rest depends on how small the steps were. */
static unsigned gentle_priority(const struct plan *p)
{
	uint64_t has = total(p);
	unsigned priority = PRIORITY_GENTLE;

	while (priority && has >> (priority - 1) <= (p->wanted - p->sum) / 4)
		priority--;
	return priority;
}

/* Rounds from gentle to everything until one gives something. True when nothing was had and low has spared somebody. */
static bool pass_over(struct plan *p, enum protect_pass pass)
{
	uint64_t before = p->sum;
	bool spared = false;

	for (unsigned priority = gentle_priority(p) + 1; priority-- > 0 && p->sum == before;)
		spared |= round_at(p, pass, priority);
	return spared && p->sum == before;
}

static bool is_anything_left(const struct plan *p)
{
	return p->sum < p->wanted && total(p) != 0;
}

uint64_t plan_take(struct survey *s, uint16_t target, uint64_t wanted, struct plan_row *rows)
{
	struct plan p = { .survey = s, .target = target, .wanted = wanted, .rows = rows };

	if (!survey_is_used(s, target) || !is_anything_left(&p))
		return 0;
	p.protection = calloc(s->groups, sizeof(*p.protection));
	for (unsigned i = 0; p.protection && i < ROUNDS_MAX && is_anything_left(&p); i++) {
		uint64_t before = p.sum;

		if (pass_over(&p, PROTECT_LOW_HONOURED))
			(void)pass_over(&p, PROTECT_LOW_IGNORED);
		if (p.sum == before)
			break;
	}
	free(p.protection);
	return p.sum;
}

uint64_t plan_soften(struct survey *s, struct softlimit *tree, struct plan_row *rows)
{
	struct softlimit_run run;
	uint64_t got = 0;

	softlimit_begin(&run, tree);
	for (uint16_t g; (g = softlimit_step(&run, s, got)) != GROUP_NIL;) {
		got = least(rows[g].has, SOFTLIMIT_GOAL);
		rows[g].has -= got;
		rows[g].take += got;
		survey_give_back(s, g, got);
	}
	return run.total;
}
