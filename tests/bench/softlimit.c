/* SPDX-License-Identifier: MIT */
/* What it costs to choose whom to take from, by the number of groups above their soft limit:
 * softlimit GROUPS -> "NS NS NS": to name the worst and take it off the tree; to put it back with less excess; to update
 * any group after a change. */
#include "controld/softlimit.h"
#include "tests/lib/ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 50 /* chosen one after the other, so that reading the clock costs nothing */
#define BATCHES 1000
#define ROUNDS 20	      /* the best counts: what else runs here only adds */
#define EXCESS_MIN (1u << 20) /* more than a round takes from it */
#define EXCESS_MAX (1u << 20)

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* All below the root, as in a daemon that serves many small jobs: excess is whatever it is. */
static int plant(struct survey *s, struct softlimit **ret_tree, uint32_t groups, uint64_t *seed)
{
	if (survey_make(groups + 1, s) || softlimit_make(ret_tree))
		return -1;
	s->group[0] = (struct survey_group){ .parent = GROUP_NIL, .is_used = true, .soft = PAGES_MAX };
	for (uint32_t g = 1; g <= groups; g++) {
		s->group[g] = s->group[0];
		s->group[g].parent = GROUP_ROOT;
		s->group[g].soft = 0;
		s->group[g].usage = EXCESS_MIN + ground_random(seed) % EXCESS_MAX;
	}
	survey_link(s);
	for (uint32_t g = 1; g <= groups; g++)
		softlimit_update(*ret_tree, s, (uint16_t)g);
	return 0;
}

struct cost {
	double choose, put_back, update;
};

/* As a run of the daemon does, each group giving what a step asks for. */
static void choose(struct survey *s, struct softlimit *t, struct cost *ret)
{
	struct softlimit_run run[BATCH];
	double began = now_ns(), chosen;
	uint16_t g[BATCH];

	for (int i = 0; i < BATCH; i++) {
		softlimit_begin(&run[i], t);
		g[i] = softlimit_step(&run[i], s, 0);
	}
	chosen = now_ns();
	for (int i = 0; i < BATCH; i++) {
		s->group[g[i]].usage -= SOFTLIMIT_GOAL;
		softlimit_end(&run[i], s);
	}
	ret->choose += (chosen - began) / BATCH / BATCHES;
	ret->put_back += (now_ns() - chosen) / BATCH / BATCHES;
}

static void change(struct survey *s, struct softlimit *t, uint64_t *seed, struct cost *ret)
{
	double began = now_ns();

	for (int i = 0; i < BATCH; i++) {
		uint16_t g = (uint16_t)(1 + ground_random(seed) % (s->groups - 1));

		s->group[g].usage = EXCESS_MIN + ground_random(seed) % EXCESS_MAX;
		softlimit_update(t, s, g);
	}
	ret->update += (now_ns() - began) / BATCH / BATCHES;
}

static void keep_least(double *least, double seen)
{
	*least = *least > 0 && *least < seen ? *least : seen;
}

static struct cost measure(struct survey *s, struct softlimit *t, uint64_t *seed)
{
	struct cost least = { 0 };

	for (int round = 0; round < ROUNDS; round++) {
		struct cost seen = { 0 };

		for (int i = 0; i < BATCHES; i++)
			choose(s, t, &seen);
		for (int i = 0; i < BATCHES; i++)
			change(s, t, seed, &seen);
		keep_least(&least.choose, seen.choose);
		keep_least(&least.put_back, seen.put_back);
		keep_least(&least.update, seen.update);
	}
	return least;
}

int main(int argc, char **argv)
{
	uint32_t groups = argc > 1 ? (uint32_t)atoi(argv[1]) : 100;
	uint64_t seed = 1;
	struct softlimit *t;
	struct survey s;
	struct cost cost;

	if (groups < BATCH || groups >= GROUPS_MAX || plant(&s, &t, groups, &seed))
		return 1;
	cost = measure(&s, t, &seed);
	if (!softlimit_consistent(t))
		return 2;
	(void)printf("%.1f %.1f %.1f\n", cost.choose, cost.put_back, cost.update);
	softlimit_free(t);
	survey_free(&s);
	return 0;
}
