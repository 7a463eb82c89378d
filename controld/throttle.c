/* SPDX-License-Identifier: MIT */
/* memory.high in a survey: how far a group is over it, and what its threads wait. */
#include "controld/throttle.h"

uint64_t throttle_find_overage(const struct survey *s, uint16_t group)
{
	uint64_t largest = 0;

	for (; group != GROUP_ROOT && survey_is_used(s, group); group = s->group[group].parent) {
		uint64_t overage = throttle_overage(s->group[group].usage, s->group[group].high);

		largest = overage > largest ? overage : largest;
	}
	return largest;
}

uint32_t throttle_find_delay_ms(const struct survey *s, const struct survey *swap, uint16_t group, uint64_t pages)
{
	return throttle_delay_ms(throttle_find_overage(s, group), swap ? throttle_find_overage(swap, group) : 0, pages);
}

uint64_t throttle_find_excess(const struct survey *s, uint16_t group)
{
	const struct survey_group *g = &s->group[group];

	if (group == GROUP_ROOT || !survey_is_used(s, group) || g->usage <= g->high)
		return 0;
	return g->usage - g->high;
}
