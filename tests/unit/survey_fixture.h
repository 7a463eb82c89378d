/* SPDX-License-Identifier: MIT */
/* Surveys made by hand or at random, for the tests of policy. */
#ifndef TESTS_UNIT_SURVEY_FIXTURE_H
#define TESTS_UNIT_SURVEY_FIXTURE_H

#include "tests/lib/unit.h"

#include "controld/survey.h"
#include "tests/lib/ground.h"

#include <stdlib.h>

/* A survey of the root alone, with room for `room` groups. */
static inline struct survey survey_plant(uint32_t room)
{
	struct survey s;

	assert_int_equal(survey_make(room, &s), 0);
	s.group[0] = (struct survey_group){ .parent = GROUP_NIL, .is_used = true, .is_live = true };
	s.group[0].high = s.group[0].max = s.group[0].soft = PAGES_MAX;
	return s;
}

/* The next free row, below `parent`, with nothing set but usage: as it is read, without what is below. */
static inline uint16_t survey_sow(struct survey *s, uint16_t parent, uint64_t usage)
{
	uint16_t g = 1;

	while (s->group[g].is_used)
		g++;
	assert_true(g < s->groups);
	s->group[g] = s->group[0];
	s->group[g].parent = parent;
	s->group[g].usage = usage;
	survey_link(s);
	return g;
}

/* Rows for all, parents before children, at most GROUP_DEPTH_MAX deep; own usage below `usage`, added up. */
static inline struct survey survey_grow(uint32_t groups, uint64_t usage, uint64_t *seed)
{
	struct survey s = survey_plant(groups);
	unsigned *depth = calloc(groups, sizeof(*depth));

	assert_non_null(depth);
	for (uint32_t g = 1; g < groups; g++) {
		uint32_t parent = (uint32_t)(ground_random(seed) % g);

		while (depth[parent] == GROUP_DEPTH_MAX)
			parent = s.group[parent].parent;
		depth[g] = depth[parent] + 1;
		s.group[g] = s.group[0];
		s.group[g].parent = (uint16_t)parent;
		s.group[g].usage = ground_random(seed) % 4 ? ground_random(seed) % usage : 0;
	}
	for (uint32_t g = groups - 1; g > 0; g--)
		s.group[s.group[g].parent].usage += s.group[g].usage;
	free(depth);
	survey_link(&s);
	return s;
}

#endif
