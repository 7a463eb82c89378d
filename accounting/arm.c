/* SPDX-License-Identifier: MIT */
/* Arming words. */
#include "accounting/arm.h"

#define SLACK_MIN 128u /* two stocks */
#define SLACK_MAX 2048u

/* Of a pool that is being recounted nothing is known; who recounts looks at all of them. */
static void look(const struct segment *seg, unsigned resource, uint16_t group)
{
	uint64_t word = mc_load_full(arm_of(seg, resource, group)); /* [O10] */
	uint64_t pool;

	if (!word)
		return;
	pool = mc_load_full(&pool_of(seg, resource, group)->word);
	if (!pool_is_busy(pool) && arm_is_crossed(word, pool_usage(pool)))
		mark_group(seg, MARK_CROSSED, group);
}

void arm_look_path(const struct segment *seg, unsigned resource, uint16_t group)
{
	for (; group != GROUP_NIL; group = group_parent(seg, group))
		look(seg, resource, group);
}

void arm_look_all(const struct segment *seg, unsigned resource, uint32_t groups)
{
	for (uint32_t g = 0; g < groups; g++)
		look(seg, resource, (uint16_t)g);
}

static uint64_t slack(uint64_t threshold)
{
	uint64_t part = threshold / 16;

	return part < SLACK_MIN ? SLACK_MIN : part > SLACK_MAX ? SLACK_MAX : part;
}

bool arm_is_near_in(const struct segment *seg, unsigned resource, uint16_t group, uint64_t n)
{
	uint64_t word = mc_load_full(arm_of(seg, resource, group));
	struct pool *pool = pool_of(seg, resource, group);
	uint64_t usage = pool_usage(mc_load_full(&pool->word));
	uint64_t down = arm_down(word);

	if (down && usage < down + slack(down)) {
		if (mc_load_full(&pool->stocked)) /* [O5] */
			mark_group(seg, MARK_CROSSED, group);
		return true;
	}
	return arm_up(word) && usage + n + slack(arm_up(word)) >= arm_up(word);
}
