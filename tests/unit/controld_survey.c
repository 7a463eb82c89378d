/* SPDX-License-Identifier: MIT */
/* The survey: the tree as policy sees it. */
#include "tests/unit/survey_fixture.h"

static void walks_in_pre_order(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = survey_sow(&s, 0, 0), b = survey_sow(&s, 0, 0), aa = survey_sow(&s, a, 0);
	uint16_t ab = survey_sow(&s, a, 0), aaa = survey_sow(&s, aa, 0);
	const uint16_t all[] = { 0, a, aa, aaa, ab, b, GROUP_NIL }, below_a[] = { a, aa, aaa, ab, GROUP_NIL };
	uint16_t at;

	(void)state;
	at = GROUP_ROOT;
	for (unsigned i = 0; all[i] != GROUP_NIL; i++, at = survey_next(&s, GROUP_ROOT, at))
		assert_int_equal(at, all[i]);
	assert_int_equal(at, GROUP_NIL);
	at = a;
	for (unsigned i = 0; below_a[i] != GROUP_NIL; i++, at = survey_next(&s, a, at))
		assert_int_equal(at, below_a[i]);
	assert_int_equal(at, GROUP_NIL);
	assert_int_equal(survey_next(&s, b, b), GROUP_NIL);
	survey_free(&s);
}

static void knows_what_lies_within(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = survey_sow(&s, 0, 0), b = survey_sow(&s, 0, 0), aa = survey_sow(&s, a, 0);

	(void)state;
	assert_true(survey_is_within(&s, aa, a));
	assert_true(survey_is_within(&s, a, a));
	assert_true(survey_is_within(&s, b, GROUP_ROOT));
	assert_true(survey_is_within(&s, GROUP_ROOT, GROUP_ROOT));
	assert_false(survey_is_within(&s, a, aa));
	assert_false(survey_is_within(&s, aa, b));
	assert_false(survey_is_within(&s, 7, 7)); /* not in use */
	assert_false(survey_is_within(&s, a, 7));
	assert_false(survey_is_within(&s, GROUP_NIL, a));
	survey_free(&s);
}

static void what_is_given_back_is_off_all_above(void **state)
{
	struct survey s = survey_plant(8);
	uint16_t a = survey_sow(&s, 0, 100), b = survey_sow(&s, 0, 50), aa = survey_sow(&s, a, 30);

	(void)state;
	s.group[GROUP_ROOT].usage = 150;
	survey_give_back(&s, aa, 20);
	assert_int_equal(s.group[aa].usage, 10);
	assert_int_equal(s.group[a].usage, 80);
	assert_int_equal(s.group[b].usage, 50);
	assert_int_equal(s.group[GROUP_ROOT].usage, 130);
	survey_give_back(&s, aa, 1000); /* never below 0 */
	assert_int_equal(s.group[aa].usage, 0);
	assert_int_equal(s.group[a].usage, 0);
	survey_free(&s);
}

/* A removed group has neither name nor protection, but weighs on those above while it is charged. */
static void is_taken_from_the_segment(void **state)
{
	struct ground g;
	struct snapshot snap;
	struct survey s;
	uint16_t a, b, gone;

	(void)state;
	ground_up(&g);
	a = ground_group(&g, "/a", 1000);
	b = ground_group(&g, "/a/b", 500);
	gone = ground_group(&g, "/a/gone", 500);
	mc_store_relaxed(&ground_limits(&g, b)->low, 7);
	mc_store_relaxed(&ground_limits(&g, gone)->low, 7);
	g.seg.limits->group[b].oom_group = g.seg.limits->group[gone].oom_group = 1;
	assert_int_equal(ground_remove_group(&g, gone), 0);
	assert_int_equal(snapshot_take(&g.seg, RESOURCE_MEMORY, &snap), 0);
	snap.pool[b].current = 33;
	snap.pool[b].untouched = 3;
	assert_int_equal(survey_take(&g.seg, &snap, &s), 0);

	assert_int_equal(s.group[GROUP_ROOT].parent, GROUP_NIL);
	assert_int_equal(s.group[a].parent, GROUP_ROOT);
	assert_int_equal(s.group[b].parent, a);
	assert_int_equal(s.group[b].usage, 30);
	assert_int_equal(s.group[b].low, 7);
	assert_int_equal(s.group[b].max, 500);
	assert_int_equal(s.group[b].soft, PAGES_MAX);
	assert_true(s.group[b].oom_group);
	assert_true(s.group[b].is_live);
	assert_true(s.group[gone].is_used);
	assert_false(s.group[gone].is_live);
	assert_int_equal(s.group[gone].low, 0);
	assert_false(s.group[gone].oom_group);
	assert_int_equal(s.group[gone].max, PAGES_MAX);
	assert_true(survey_is_within(&s, gone, a));
	survey_free(&s);
	snapshot_free(&snap);
	ground_down(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_in_pre_order),
		cmocka_unit_test(knows_what_lies_within),
		cmocka_unit_test(what_is_given_back_is_off_all_above),
		cmocka_unit_test(is_taken_from_the_segment),
	};

	return cmocka_run_group_tests_name("controld_survey", tests, NULL, NULL);
}
