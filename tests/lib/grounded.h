/* SPDX-License-Identifier: MIT */
/* cmocka tests on a ground of their own each. */
#ifndef TESTS_LIB_GROUNDED_H
#define TESTS_LIB_GROUNDED_H

#include "tests/lib/unit.h"

#include "tests/lib/ground.h"

static struct ground g;

static inline int grounded_up(void **state)
{
	(void)state;
	ground_up(&g);
	return 0;
}

static inline int grounded_down(void **state)
{
	(void)state;
	ground_down(&g);
	return 0;
}

/* The same where nothing may be left when all members have died. */
static inline int grounded_down_empty(void **state)
{
	struct actor daemon = ground_daemon(&g);

	assert_true(ground_consistent(&g));
	for (uint32_t i = 0; i < member_mark(&g.seg); i++)
		if (member_is_present(&g.seg, i))
			(void)settle_dead(&daemon, i);
	assert_true(ground_empty(&g));
	return grounded_down(state);
}

#endif
