/* SPDX-License-Identifier: MIT */
/* Out of memory in a group: which member is killed, and who goes with it. */
#include "controld/oom.h"

#include <errno.h>

uint64_t oom_total_pages(const struct survey *s, uint16_t domain, uint64_t swap_pages)
{
	return (survey_is_used(s, domain) ? s->group[domain].max : 0) + swap_pages;
}

/* Divided first, as in the kernel: with a total below 1000 pages adj says nothing but never. */
bool oom_score(const struct oom_candidate *c, uint64_t total_pages, int64_t *ret_score)
{
	if (c->adj <= OOM_ADJ_NEVER)
		return false;
	*ret_score = (int64_t)(c->held + c->swap) + c->adj * (int64_t)(total_pages / 1000);
	return true;
}

static bool is_rather(const struct oom_candidate *a, int64_t a_score, const struct oom_candidate *b, int64_t b_score)
{
	if (a_score != b_score)
		return a_score > b_score;
	if (a->start_time != b->start_time)
		return a->start_time > b->start_time;
	return a->pid > b->pid;
}

int oom_choose(const struct survey *s, uint16_t domain, uint64_t total_pages, const struct oom_candidate *candidates,
	       uint32_t count, uint32_t *ret_index)
{
	uint32_t best = count;
	int64_t best_score = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct oom_candidate *c = &candidates[i];
		int64_t score;

		if (!survey_is_within(s, c->group, domain))
			continue;
		if (c->is_dying)
			return -EBUSY;
		if (!oom_score(c, total_pages, &score))
			continue;
		if (best == count || is_rather(c, score, &candidates[best], best_score)) {
			best = i;
			best_score = score;
		}
	}
	if (best == count)
		return -ESRCH;
	*ret_index = best;
	return 0;
}

uint16_t oom_find_group(const struct survey *s, uint16_t domain, uint16_t group)
{
	uint16_t found = GROUP_NIL;

	if (!survey_is_within(s, group, domain))
		return GROUP_NIL;
	for (; group != GROUP_ROOT; group = s->group[group].parent) {
		if (s->group[group].oom_group)
			found = group;
		if (group == domain)
			break;
	}
	return found;
}

bool oom_goes_with(const struct survey *s, uint16_t group, const struct oom_candidate *c)
{
	return c->adj > OOM_ADJ_NEVER && !c->is_dying && survey_is_within(s, c->group, group);
}
