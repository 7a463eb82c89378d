/* SPDX-License-Identifier: MIT */
/* memory.min and memory.low: what of each group a reclaim leaves alone. */
#include "controld/protect.h"

#include "accounting/protection.h"

#include <string.h>

static void divide(const struct survey *s, uint16_t parent, bool recursive, struct protection *ret)
{
	const struct survey_group *p = &s->group[parent];
	struct protection_parent min = { ret[parent].min, p->usage, 0, recursive };
	struct protection_parent low = { ret[parent].low, p->usage, 0, recursive };

	for (uint16_t c = p->first_child; c; c = s->group[c].next_sibling) {
		min.claimed += protection_claim(s->group[c].usage, s->group[c].min);
		low.claimed += protection_claim(s->group[c].usage, s->group[c].low);
	}
	for (uint16_t c = p->first_child; c; c = s->group[c].next_sibling) {
		ret[c].min = protection_share(&min, s->group[c].usage, s->group[c].min);
		ret[c].low = protection_share(&low, s->group[c].usage, s->group[c].low);
	}
}

/* Nobody above them has a say: the target's own setting does not count. */
static void grant(const struct survey *s, uint16_t target, struct protection *ret)
{
	for (uint16_t c = s->group[target].first_child; c; c = s->group[c].next_sibling)
		if (s->group[c].usage)
			ret[c] = (struct protection){ s->group[c].min, s->group[c].low };
}

void protect_calculate(const struct survey *s, uint16_t target, bool recursive, struct protection *ret)
{
	memset(ret, 0, s->groups * sizeof(*ret));
	if (!survey_is_used(s, target))
		return;
	grant(s, target, ret);
	for (uint16_t g = survey_next(s, target, target); g != GROUP_NIL; g = survey_next(s, target, g))
		divide(s, g, recursive, ret);
}

static bool is_protectable(uint16_t target, uint16_t group)
{
	return group != target && group != GROUP_ROOT;
}

bool protect_is_below_min(const struct survey *s, uint16_t target, uint16_t group, const struct protection *p)
{
	return is_protectable(target, group) && p->min >= s->group[group].usage;
}

bool protect_is_below_low(const struct survey *s, uint16_t target, uint16_t group, const struct protection *p)
{
	return is_protectable(target, group) && p->low >= s->group[group].usage;
}

enum protect_verdict protect_judge(const struct survey *s, uint16_t target, uint16_t group, const struct protection *p,
				   enum protect_pass pass)
{
	if (!survey_is_within(s, group, target) || protect_is_below_min(s, target, group, p))
		return PROTECT_NEVER;
	if (!protect_is_below_low(s, target, group, p))
		return PROTECT_TAKE;
	return pass == PROTECT_LOW_HONOURED ? PROTECT_LATER : PROTECT_BREACH;
}

uint64_t protect_scan(const struct survey *s, uint16_t group, const struct protection *p, enum protect_pass pass,
		      uint64_t size, unsigned priority, bool *ret_spared)
{
	bool by_low = pass == PROTECT_LOW_HONOURED && p->low > p->min;
	uint64_t spared = by_low ? p->low : p->min;
	uint64_t usage = s->group[group].usage > spared ? s->group[group].usage : spared;
	uint64_t scan = size;

	if (p->min || p->low) {
		scan -= (uint64_t)((protection_wide)size * spared / ((protection_wide)usage + 1));
		scan = scan > PROTECT_SCAN_MIN ? scan : PROTECT_SCAN_MIN;
	}
	if (ret_spared)
		*ret_spared = by_low;
	return priority < 64 ? scan >> priority : 0;
}
