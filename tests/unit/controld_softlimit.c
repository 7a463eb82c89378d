/* SPDX-License-Identifier: MIT */
/* Soft limits: the order of the groups, and the loops of a run with their limits. */
#include "tests/unit/survey_fixture.h"

#include "controld/softlimit.h"

#include <string.h>

#define STEPS_MAX 4000

/* A run, and what it did. `give`: pages that a group gives at each step, by group. */
struct play {
	struct softlimit *t;
	struct survey *s;
	const uint64_t *give;
	uint16_t step[STEPS_MAX];
	unsigned steps;
	uint64_t total;
};

static struct softlimit *make(void)
{
	struct softlimit *t;

	assert_int_equal(softlimit_make(&t), 0);
	return t;
}

static void run(struct play *p)
{
	struct softlimit_run run;
	uint64_t got = 0;
	uint16_t g;

	p->steps = 0;
	softlimit_begin(&run, p->t);
	while ((g = softlimit_step(&run, p->s, got)) != GROUP_NIL) {
		assert_true(p->steps < STEPS_MAX);
		p->step[p->steps++] = g;
		got = p->give[g];
		survey_give_back(p->s, g, got);
	}
	p->total = run.total;
	assert_true(softlimit_consistent(p->t));
}

static void update_all(struct softlimit *t, const struct survey *s)
{
	for (uint32_t g = 0; g < s->groups; g++)
		softlimit_update(t, s, (uint16_t)g);
}

static uint16_t sow_over(struct survey *s, uint16_t parent, uint64_t usage, uint64_t soft)
{
	uint16_t g = survey_sow(s, parent, usage);

	s->group[g].soft = soft;
	return g;
}

static void the_worst_comes_first(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 150, 100), b = sow_over(&s, 0, 300, 100), c = sow_over(&s, 0, 100, 100);

	(void)state;
	assert_int_equal(softlimit_worst(t), GROUP_NIL);
	update_all(t, &s);
	assert_int_equal(softlimit_worst(t), b);
	s.group[c].usage = 301;
	assert_int_equal(softlimit_worst(t), b); /* not known before the update */
	softlimit_update(t, &s, c);
	assert_int_equal(softlimit_worst(t), c);
	s.group[c].usage = 0;
	softlimit_update(t, &s, c);
	assert_int_equal(softlimit_worst(t), b);
	softlimit_forget(t, b);
	assert_int_equal(softlimit_worst(t), a);
	softlimit_forget(t, a);
	assert_int_equal(softlimit_worst(t), GROUP_NIL);
	assert_true(softlimit_consistent(t));
	softlimit_free(t);
	survey_free(&s);
}

static void of_equals_the_newest_is_the_worst(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 150, 100), b = sow_over(&s, 0, 250, 200), c = sow_over(&s, 0, 350, 300);

	(void)state;
	softlimit_update(t, &s, b);
	softlimit_update(t, &s, c);
	softlimit_update(t, &s, a);
	assert_int_equal(softlimit_worst(t), a);
	softlimit_update(t, &s, b);
	assert_int_equal(softlimit_worst(t), b);
	softlimit_free(t);
	survey_free(&s);
}

static void an_update_includes_those_above(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 500, 100), b = sow_over(&s, a, 250, 200);

	(void)state;
	s.group[GROUP_ROOT].usage = 500;
	s.group[GROUP_ROOT].soft = 50;
	softlimit_update(t, &s, b);
	assert_int_equal(softlimit_worst(t), GROUP_ROOT);
	softlimit_forget(t, GROUP_ROOT);
	assert_int_equal(softlimit_worst(t), a);
	softlimit_forget(t, a);
	assert_int_equal(softlimit_worst(t), b);
	softlimit_free(t);
	survey_free(&s);
}

static void an_update_is_due_every_1024_pages(void **state)
{
	struct softlimit *t = make();

	(void)state;
	assert_false(softlimit_note(t, 1, 1000));
	assert_false(softlimit_note(t, 2, 1000));
	assert_false(softlimit_note(t, 1, 23));
	assert_true(softlimit_note(t, 1, 1));
	assert_false(softlimit_note(t, 1, 1023));
	assert_true(softlimit_note(t, 2, UINT64_MAX));
	assert_false(softlimit_note(t, 2, 1));
	softlimit_free(t);
}

/* A subtree is gone round; the next round goes on where the last was left, whoever it was for. */
static void rounds_go_on_where_they_were_left(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 300, 0), b = survey_sow(&s, a, 100), c = survey_sow(&s, a, 100);
	const uint64_t give[8] = { [2] = 40 };
	struct play p = { .t = t, .s = &s, .give = give };
	const uint16_t first[] = { a, b, c, a, b, c }, second[] = { a, b, c, a, b, c };

	(void)state;
	assert_int_equal(b, 2);
	update_all(t, &s);
	/* 300 >> 2 is 75: two rounds give 80 */
	run(&p);
	assert_int_equal(p.steps, 6);
	assert_memory_equal(p.step, first, sizeof(first));
	assert_int_equal(p.total, 80);
	/* 220 >> 2 is 55; b has but 20: two rounds give 2 x 40 by its own account */
	run(&p);
	assert_int_equal(p.steps, 6);
	assert_memory_equal(p.step, second, sizeof(second));
	/* 20 above: b's step ends it, amid the round */
	s.group[a].usage = 320;
	s.group[a].soft = 300;
	s.group[b].usage = 100;
	update_all(t, &s);
	run(&p);
	assert_int_equal(p.steps, 2);
	assert_int_equal(p.step[1], b);
	assert_int_equal(softlimit_worst(t), GROUP_NIL);
	s.group[a].usage = 320;
	update_all(t, &s);
	run(&p);
	assert_int_equal(p.step[0], c); /* after b */
	softlimit_free(t);
	survey_free(&s);
}

static void a_cursor_on_what_is_gone_begins_anew(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 320, 300), b = survey_sow(&s, a, 100), c = survey_sow(&s, a, 100);
	const uint64_t give[8] = { [2] = 40 };
	struct play p = { .t = t, .s = &s, .give = give };

	(void)state;
	update_all(t, &s);
	run(&p);
	assert_int_equal(p.step[p.steps - 1], b);
	s.group[b].is_used = false;
	survey_link(&s);
	s.group[a].usage = 320;
	update_all(t, &s);
	run(&p);
	assert_int_equal(p.step[0], a);
	assert_int_equal(p.step[1], c);
	assert_int_equal(p.steps, 4); /* what was left of the round did not count as one */
	softlimit_free(t);
	survey_free(&s);
}

/* Nothing comes back: two rounds of the worst, of the next, and of the worst again, which is back on the tree by then;
 * and that is all. As in the kernel. */
static void three_fruitless_tries_are_enough(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	const uint64_t give[8] = { 0 };
	struct play p = { .t = t, .s = &s, .give = give };
	uint16_t g[5];
	const uint16_t expect[] = { 5, 5, 4, 4, 5, 5 };

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		g[i] = sow_over(&s, 0, 100 + i, 10);
	assert_int_equal(g[4], 5);
	update_all(t, &s);
	run(&p);
	assert_int_equal(p.steps, 6);
	assert_memory_equal(p.step, expect, sizeof(expect));
	assert_int_equal(p.total, 0);
	/* All are back on the tree, the one that was next and not tried as well. */
	for (unsigned i = 5; i > 0; i--) {
		assert_int_equal(softlimit_worst(t), i);
		softlimit_forget(t, (uint16_t)i);
	}
	softlimit_free(t);
	survey_free(&s);
}

static void the_first_that_gives_ends_the_run(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 300, 0), b = sow_over(&s, 0, 200, 0);
	const uint64_t give[8] = { [2] = 32 };
	struct play p = { .t = t, .s = &s, .give = give };
	const uint16_t expect[] = { a, a, b, b };

	(void)state;
	sow_over(&s, 0, 100, 0);
	update_all(t, &s);
	run(&p); /* 200 >> 2 is 50: two rounds of 32 */
	assert_int_equal(p.steps, 4);
	assert_memory_equal(p.step, expect, sizeof(expect));
	assert_int_equal(p.total, 64);
	softlimit_free(t);
	survey_free(&s);
}

/* A little each time: until a quarter has come back, or 101 rounds are over. */
static void little_by_little(void **state)
{
	static const struct {
		uint64_t excess, give;
		unsigned steps;
	} of[] = {
		{ 4000, 100, 10 },
		{ 4003, 100, 10 },
		{ 4004, 100, 11 }, /* a quarter is cut to whole pages */
		{ 1000, 300, 2 },  /* at least two rounds */
		{ 3, 1, 2 },
		{ 1, 1, 1 }, /* no excess any more */
		{ 1000000, 1, SOFTLIMIT_ROUNDS + 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct survey s = survey_plant(2);
		struct softlimit *t = make();
		uint16_t a = sow_over(&s, 0, of[i].excess + 5, 5);
		const uint64_t give[2] = { 0, of[i].give };
		struct play p = { .t = t, .s = &s, .give = give };

		update_all(t, &s);
		run(&p);
		if (p.steps != of[i].steps)
			fail_msg("row %zu: %u steps", i, p.steps);
		assert_int_equal(p.total, of[i].give * of[i].steps);
		assert_int_equal(softlimit_worst(t), softlimit_excess(&s, a) ? a : GROUP_NIL);
		softlimit_free(t);
		survey_free(&s);
	}
}

/* What the tree says is old: those without excess are dropped, nobody dead is touched. */
static void old_keys_are_checked(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 300, 0), b = sow_over(&s, 0, 400, 0), c = sow_over(&s, 0, 500, 0);
	const uint64_t give[8] = { 0, 100, 100, 100 };
	struct play p = { .t = t, .s = &s, .give = give };

	(void)state;
	update_all(t, &s);
	s.group[c].is_used = false;
	s.group[b].usage = 0;
	survey_link(&s);
	run(&p);
	assert_int_equal(p.steps, 2);
	assert_int_equal(p.step[0], a);
	assert_int_equal(softlimit_worst(t), a);
	softlimit_free(t);
	survey_free(&s);
}

static void a_run_can_be_left(void **state)
{
	struct survey s = survey_plant(8);
	struct softlimit *t = make();
	uint16_t a = sow_over(&s, 0, 300, 0), b = sow_over(&s, 0, 400, 0);
	struct softlimit_run left;

	(void)state;
	update_all(t, &s);
	softlimit_begin(&left, t);
	assert_int_equal(softlimit_step(&left, &s, 0), b);
	assert_int_equal(softlimit_worst(t), a);
	softlimit_end(&left, &s);
	assert_int_equal(softlimit_worst(t), b);
	softlimit_free(t);
	survey_free(&s);
}

/* Random trees and yields: the run ends, takes from nobody outside the groups over their limit, and does the same
 * again from the same state. */
static void holds_in_any_tree(void **state)
{
	uint64_t seed = 20260801;
	static struct play one, two;

	(void)state;
	for (unsigned round = 0; round < 100; round++) {
		struct survey s = survey_grow(2 + (uint32_t)(ground_random(&seed) % 30), 10000, &seed), same;
		uint64_t *give = calloc(s.groups, sizeof(*give));
		struct softlimit *t = make(), *u = make();

		assert_non_null(give);
		for (uint32_t g = 0; g < s.groups; g++) {
			give[g] = round % 3 && ground_random(&seed) % 2 ? ground_random(&seed) % 300 : 0;
			s.group[g].soft = ground_random(&seed) % 2 ? ground_random(&seed) % 20000 : PAGES_MAX;
		}
		assert_int_equal(survey_make(s.groups, &same), 0);
		memcpy(same.group, s.group, s.groups * sizeof(*s.group));
		update_all(t, &s);
		update_all(u, &same);
		one = (struct play){ .t = t, .s = &s, .give = give };
		two = (struct play){ .t = u, .s = &same, .give = give };
		run(&one);
		run(&two);
		assert_int_equal(one.steps, two.steps);
		assert_memory_equal(one.step, two.step, one.steps * sizeof(one.step[0]));
		for (unsigned i = 0; i < one.steps; i++) {
			uint16_t g = one.step[i];

			while (g != GROUP_NIL && s.group[g].soft == PAGES_MAX)
				g = s.group[g].parent;
			assert_int_not_equal(g, GROUP_NIL);
		}
		softlimit_free(t);
		softlimit_free(u);
		survey_free(&s);
		survey_free(&same);
		free(give);
	}
}

/* Against a search of all: the order is right after any number of changes. */
static void the_worst_is_the_maximum(void **state)
{
	struct survey s = survey_plant(500);
	struct softlimit *t = make();
	uint64_t seed = 7, key[500] = { 0 };

	(void)state;
	for (uint16_t g = 1; g < 500; g++)
		sow_over(&s, 0, 0, 100);
	for (unsigned i = 0; i < 20000; i++) {
		uint16_t g = (uint16_t)(1 + ground_random(&seed) % 499), worst;
		uint64_t most = 0;

		s.group[g].usage = ground_random(&seed) % 200;
		softlimit_update(t, &s, g);
		key[g] = softlimit_excess(&s, g);
		for (unsigned k = 0; k < 500; k++)
			most = key[k] > most ? key[k] : most;
		worst = softlimit_worst(t);
		assert_int_equal(worst == GROUP_NIL ? 0 : key[worst], most);
	}
	assert_true(softlimit_consistent(t));
	softlimit_free(t);
	survey_free(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_worst_comes_first),
		cmocka_unit_test(of_equals_the_newest_is_the_worst),
		cmocka_unit_test(an_update_includes_those_above),
		cmocka_unit_test(an_update_is_due_every_1024_pages),
		cmocka_unit_test(rounds_go_on_where_they_were_left),
		cmocka_unit_test(a_cursor_on_what_is_gone_begins_anew),
		cmocka_unit_test(three_fruitless_tries_are_enough),
		cmocka_unit_test(the_first_that_gives_ends_the_run),
		cmocka_unit_test(little_by_little),
		cmocka_unit_test(old_keys_are_checked),
		cmocka_unit_test(a_run_can_be_left),
		cmocka_unit_test(holds_in_any_tree),
		cmocka_unit_test(the_worst_is_the_maximum),
	};

	return cmocka_run_group_tests_name("controld_softlimit", tests, NULL, NULL);
}
