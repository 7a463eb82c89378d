/* SPDX-License-Identifier: MIT */
/* Stall times, their averages and triggers, against values worked out beside. */
#include "tests/lib/unit.h"

#include "controld/psi.h"
#include "tests/lib/ground.h"

#include <errno.h>
#include <string.h>

#define S 1000000000ull
#define MS 1000000ull
#define T0 (7777 * S + 123) /* the clock need not begin at 0 */

static const struct psi_tasks nobody = { 0, 0, 1 };
static const struct psi_tasks one_stalled = { 1, 0, 1 };
static const struct psi_tasks one_of_two = { 1, 1, 1 };

static struct psi begin(struct psi_tasks tasks)
{
	struct psi p;

	psi_start(&p, T0);
	psi_change(&p, tasks, T0);
	return p;
}

static void expect(const struct psi *p, const char *text)
{
	char buf[PSI_TEXT_MAX];

	size_t n = psi_format(p, buf, sizeof(buf));

	assert_string_equal(buf, text);
	assert_int_equal(n, strlen(text));
}

/* Fixed-point in a separate script: a' = (a k + 100 x 2048 (2048 - k) + 2047) / 2048 with k = 1677, 1981, 2034 each
 * 2 s. The exponentials that it stands for, 100 (1 - exp(-t / span)):
 * after 2 s 18.13 3.28 0.66, 10 s 63.21 15.35 3.28, 30 s 95.02 39.35 9.52, 60 s 99.75 63.21 18.13. */
static void all_stalled_all_the_time(void **state)
{
	struct psi p = begin(one_stalled);

	(void)state;
	expect(&p, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	psi_update(&p, T0 + 2 * S - 1); /* averages are made up every 2 s; totals always */
	expect(&p, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1999999\n"
		   "full avg10=0.00 avg60=0.00 avg300=0.00 total=1999999\n");
	psi_update(&p, T0 + 2 * S);
	expect(&p, "some avg10=18.11 avg60=3.27 avg300=0.68 total=2000000\n"
		   "full avg10=18.11 avg60=3.27 avg300=0.68 total=2000000\n");
	psi_update(&p, T0 + 10 * S);
	expect(&p, "some avg10=63.18 avg60=15.32 avg300=3.37 total=10000000\n"
		   "full avg10=63.18 avg60=15.32 avg300=3.37 total=10000000\n");
	psi_update(&p, T0 + 30 * S);
	expect(&p, "some avg10=95.01 avg60=39.28 avg300=9.78 total=30000000\n"
		   "full avg10=95.01 avg60=39.28 avg300=9.78 total=30000000\n");
	psi_update(&p, T0 + 60 * S);
	expect(&p, "some avg10=99.75 avg60=63.13 avg300=18.60 total=60000000\n"
		   "full avg10=99.75 avg60=63.13 avg300=18.60 total=60000000\n");
	psi_update(&p, T0 + 7200 * S); /* it does get there, and no further */
	expect(&p, "some avg10=100.00 avg60=100.00 avg300=100.00 total=7200000000\n"
		   "full avg10=100.00 avg60=100.00 avg300=100.00 total=7200000000\n");
}

/* The same script with 50 x 2048. */
static void half_the_time(void **state)
{
	struct psi p = begin(nobody);

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		psi_change(&p, one_of_two, T0 + i * S);
		psi_change(&p, nobody, T0 + i * S + 500 * MS);
	}
	psi_update(&p, T0 + 30 * S);
	expect(&p, "some avg10=47.50 avg60=19.64 avg300=4.89 total=15000000\n"
		   "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
}

static void somebody_else_runs(void **state)
{
	struct psi p = begin(one_of_two);

	(void)state;
	psi_change(&p, one_stalled, T0 + 300 * MS);
	psi_change(&p, nobody, T0 + 400 * MS);
	psi_change(&p, (struct psi_tasks){ 0, 3, 1 }, T0 + 700 * MS);
	psi_update(&p, T0 + S);
	assert_int_equal(p.line[PSI_SOME].total_ns, 400 * MS);
	assert_int_equal(p.line[PSI_FULL].total_ns, 100 * MS);
}

/* psi.c: threads = min(stalled + productive, processors); some = min(stalled / threads, 1);
 * full = (threads - min(productive, threads)) / threads. 1 s of each. */
static void parts_of_several_processors(void **state)
{
	static const struct {
		struct psi_tasks tasks;
		uint64_t some_ms, full_ms;
	} of[] = {
		{ { 1, 0, 4 }, 1000, 1000 }, { { 1, 3, 4 }, 250, 250 }, { { 1, 4, 4 }, 250, 0 },
		{ { 2, 2, 4 }, 500, 500 },   { { 3, 5, 4 }, 750, 0 },	{ { 9, 1, 4 }, 1000, 750 },
		{ { 0, 4, 4 }, 0, 0 },	     { { 1, 1, 1 }, 1000, 0 },	{ { 1, 0, 0 }, 1000, 1000 },
		{ { 1, 1, 0 }, 1000, 0 },    { { 0, 0, 4 }, 0, 0 },	{ { UINT32_MAX, UINT32_MAX, 4 }, 1000, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct psi p = begin(of[i].tasks);

		psi_update(&p, T0 + S);
		if (p.line[PSI_SOME].total_ns != of[i].some_ms * MS || p.line[PSI_FULL].total_ns != of[i].full_ms * MS)
			fail_msg("row %zu: %llu %llu", i, (unsigned long long)p.line[PSI_SOME].total_ns,
				 (unsigned long long)p.line[PSI_FULL].total_ns);
		assert_int_equal(psi_is_stalled(&p, PSI_SOME), of[i].some_ms > 0);
		assert_int_equal(psi_is_stalled(&p, PSI_FULL), of[i].full_ms > 0);
	}
}

/* 10 s of stall, then none: each period leaves 1677, 1981, 2034 of 2048. avg10 was 129406: one period without is
 * 129406 x 1677 / 2048 = 105963, 51.73; 30 periods in one, 1677/2048 to the power of 30 rounded at each product is
 * 5/2048: 129406 x 5 / 2048 = 315, 0.15. */
static void idle_time_is_made_up_at_once(void **state)
{
	struct psi p = begin(one_stalled), q;

	(void)state;
	psi_change(&p, nobody, T0 + 10 * S);
	assert_int_equal(p.line[PSI_SOME].avg[PSI_10], 129406);
	q = p;
	psi_update(&q, T0 + 12 * S);
	assert_int_equal(q.line[PSI_SOME].avg[PSI_10], 105963);
	q = p;
	psi_update(&q, T0 + 71 * S);
	assert_in_range(q.line[PSI_SOME].avg[PSI_10], 200, 400);
	q = p;
	psi_update(&q, T0 + 100000 * S);
	expect(&q, "some avg10=0.00 avg60=0.00 avg300=0.00 total=10000000\n"
		   "full avg10=0.00 avg60=0.00 avg300=0.00 total=10000000\n");
}

/* One look or many: it is the same, while something is stalled. */
static void how_often_one_looks_does_not_matter(void **state)
{
	struct psi seldom = begin(one_of_two), often = seldom;
	uint64_t seed = 5, now = T0;

	(void)state;
	while (now < T0 + 300 * S) {
		now += ground_random(&seed) % (700 * MS);
		psi_update(&often, now);
	}
	psi_update(&seldom, now);
	assert_memory_equal(&seldom, &often, sizeof(often));
}

/* So long unobserved that what was at first has left no trace: it is not made up, but counted. */
static void a_very_long_stall_is_cut_short(void **state)
{
	struct psi seldom = begin(one_stalled), often = seldom;
	uint64_t end = T0 + 50000 * S + 700 * MS;

	(void)state;
	for (uint64_t now = T0; now < end; now += 1900 * MS)
		psi_update(&often, now);
	psi_update(&often, end);
	psi_update(&seldom, end);
	assert_memory_equal(&seldom, &often, sizeof(often));
	assert_int_equal(seldom.line[PSI_FULL].total_ns, end - T0);
	assert_int_equal(seldom.line[PSI_FULL].sampled_ns, 50000 * S);
	assert_int_equal(seldom.line[PSI_FULL].avg[PSI_300], 100 << 11);
}

/* A stall that ended within a period counts in that period, however late the look. */
static void what_ended_is_where_it_was(void **state)
{
	struct psi p = begin(one_stalled), q;

	(void)state;
	psi_change(&p, nobody, T0 + S);
	q = p;
	psi_update(&p, T0 + 2 * S);
	psi_update(&p, T0 + 4 * S);
	psi_update(&q, T0 + 4 * S);
	assert_memory_equal(&p, &q, sizeof(p));
	assert_int_equal(p.line[PSI_SOME].avg[PSI_10], 50 * 371 * 1677 / 2048); /* 50 x 2048 x 371 / 2048, then kept */
}

/* Told afterwards: what is more than the time that has passed moves to the next period. */
static void intervals_measured_elsewhere(void **state)
{
	struct psi p = begin(nobody), q = begin(one_stalled);

	(void)state;
	psi_add(&p, 3 * S, 3 * S, T0 + S);
	psi_add(&p, 1 * S, 1 * S, T0 + S);
	psi_update(&p, T0 + 4 * S);
	psi_update(&q, T0 + 4 * S);
	assert_memory_equal(p.line, q.line, sizeof(p.line));
	psi_update(&p, T0 + 6 * S);
	assert_true(p.line[PSI_SOME].avg[PSI_10] < q.line[PSI_SOME].avg[PSI_10]);
}

static void time_never_goes_back(void **state)
{
	struct psi p = begin(one_stalled), q;

	(void)state;
	psi_update(&p, T0 + 5 * S);
	q = p;
	psi_update(&p, T0 + 3 * S);
	psi_update(&p, 0);
	assert_memory_equal(&p, &q, sizeof(p));
}

/* An average is a percentage, totals only grow, full is never more than some. */
static void holds_for_any_stalls(void **state)
{
	uint64_t seed = 2048;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		uint64_t now = T0, longest = 1 + ground_random(&seed) % (round % 4 ? 3 * S : 5000 * S);
		struct psi p = begin(nobody);

		for (unsigned i = 0; i < 100; i++) {
			struct psi was = p;
			struct psi_tasks tasks = { (uint32_t)(ground_random(&seed) % 3),
						   (uint32_t)(ground_random(&seed) % 3),
						   (uint32_t)(ground_random(&seed) % 3) };

			now += ground_random(&seed) % longest;
			psi_change(&p, tasks, now);
			assert_true(p.next_ns > now && p.next_ns <= now + PSI_PERIOD_NS);
			assert_true(p.line[PSI_FULL].total_ns <= p.line[PSI_SOME].total_ns);
			for (unsigned s = 0; s < PSI_STATES; s++) {
				assert_true(p.line[s].total_ns >= was.line[s].total_ns);
				assert_true(p.line[s].sampled_ns <= p.line[s].total_ns);
				for (unsigned span = 0; span < PSI_SPANS; span++)
					assert_true(p.line[s].avg[span] <= 100 << 11);
			}
		}
	}
}

static void triggers_are_checked(void **state)
{
	static const struct {
		const char *text;
		int privileged, unprivileged;
	} of[] = {
		{ "some 150000 1000000", 0, -EINVAL }, /* not a multiple of 2 s */
		{ "full 150000 2000000", 0, 0 },
		{ "some 1 2000000", 0, 0 },
		{ "some 2000000 2000000", 0, 0 },
		{ "some 10000000 10000000", 0, 0 },
		{ "some 1 1", 0, -EINVAL },
		{ "some 2000001 2000000", -EINVAL, -EINVAL }, /* more than there is */
		{ "some 0 2000000", -EINVAL, -EINVAL },
		{ "some 1 0", -EINVAL, -EINVAL },
		{ "some 1 12000000", -EINVAL, -EINVAL },
		{ "most 1 2000000", -EINVAL, -EINVAL },
		{ "some 1", -EINVAL, -EINVAL },
		{ "some", -EINVAL, -EINVAL },
		{ "", -EINVAL, -EINVAL },
	};
	struct psi p = begin(nobody);

	(void)state;
	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct psi_trigger t;

		if (psi_trigger_open(&t, of[i].text, true, &p) != of[i].privileged ||
		    psi_trigger_open(&t, of[i].text, false, &p) != of[i].unprivileged)
			fail_msg("\"%s\"", of[i].text);
	}
}

/* Lets time pass to `until` as the daemon does, looking when the trigger wants to. Returns how often it fired, the
 * last time in *ret_ns. */
static unsigned watch(struct psi_trigger *t, struct psi *p, uint64_t until, uint64_t *ret_ns)
{
	unsigned fired = 0;

	while (t->next_ns <= until) {
		psi_update(p, t->next_ns);
		if (psi_trigger_look(t, p)) {
			fired++;
			*ret_ns = p->now_ns;
		}
	}
	psi_update(p, until);
	return fired;
}

static void change(struct psi_trigger *t, struct psi *p, struct psi_tasks tasks, uint64_t now)
{
	psi_change(p, tasks, now);
	(void)psi_trigger_look(t, p);
}

/* 150 ms in 1 s: all stalled, it fires at the look after 150 ms (they are 100 ms apart), then once a window. */
static void fires_at_the_threshold_once_a_window(void **state)
{
	struct psi p = begin(nobody);
	struct psi_trigger t;
	uint64_t at = 0;

	(void)state;
	assert_int_equal(psi_trigger_open(&t, "some 150000 1000000", true, &p), 0);
	assert_int_equal(t.next_ns, PSI_NEVER);
	change(&t, &p, one_stalled, T0 + 10 * S);
	assert_int_equal(watch(&t, &p, T0 + 10 * S + 150 * MS, &at), 0);
	assert_int_equal(watch(&t, &p, T0 + 10 * S + 999 * MS, &at), 1);
	assert_int_equal(at, T0 + 10 * S + 200 * MS);
	assert_int_equal(watch(&t, &p, T0 + 20 * S, &at), 9); /* 11.2, 12.2, ... 19.2 */
	assert_int_equal(at, T0 + 19 * S + 200 * MS);
}

/* 70 ms in each second are never 150 ms in one, and 200 ms are, whichever way the windows lie. (100 ms may be: what
 * grew in the window before counts as if it had grown evenly, so that up to twice as much is seen.) */
static void counts_what_grows_within_a_window(void **state)
{
	(void)state;
	for (unsigned stall_ms = 70; stall_ms <= 200; stall_ms += 130) {
		struct psi p = begin(nobody);
		struct psi_trigger t;
		uint64_t at;
		unsigned fired = 0;

		assert_int_equal(psi_trigger_open(&t, "some 150000 1000000", true, &p), 0);
		for (unsigned i = 0; i < 60; i++) {
			uint64_t from = T0 + i * S + i * 17 * MS;

			fired += watch(&t, &p, from, &at);
			change(&t, &p, one_stalled, from);
			fired += watch(&t, &p, from + stall_ms * MS, &at);
			change(&t, &p, nobody, from + stall_ms * MS);
		}
		if (stall_ms == 70)
			assert_int_equal(fired, 0);
		else
			assert_in_range(fired, 45, 62); /* in 61 s */
	}
}

static void full_waits_for_full(void **state)
{
	struct psi p = begin(nobody);
	struct psi_trigger t;
	uint64_t at;

	(void)state;
	assert_int_equal(psi_trigger_open(&t, "full 100000 2000000", false, &p), 0);
	change(&t, &p, one_of_two, T0 + S);
	assert_int_equal(t.next_ns, PSI_NEVER);
	assert_int_equal(watch(&t, &p, T0 + 5 * S, &at), 0);
	change(&t, &p, one_stalled, T0 + 5 * S);
	assert_int_equal(watch(&t, &p, T0 + 6 * S, &at), 1);
	assert_int_equal(at, T0 + 5 * S + 200 * MS);
}

/* When nothing has stalled for a window, nobody need look any more; old growth is forgotten. */
static void rests_when_nothing_stalls(void **state)
{
	struct psi p = begin(nobody);
	struct psi_trigger t;
	uint64_t at;

	(void)state;
	assert_int_equal(psi_trigger_open(&t, "some 150000 1000000", true, &p), 0);
	change(&t, &p, one_stalled, T0);
	change(&t, &p, nobody, T0 + 100 * MS);
	assert_int_equal(watch(&t, &p, T0 + 3 * S, &at), 0);
	assert_int_equal(t.next_ns, PSI_NEVER);
	change(&t, &p, one_stalled, T0 + 3 * S);
	change(&t, &p, nobody, T0 + 3 * S + 100 * MS);
	assert_int_equal(watch(&t, &p, T0 + 9 * S, &at), 0);
	assert_int_equal(t.next_ns, PSI_NEVER);
}

/* In between, the trigger is not looked at, whatever has grown: its looks are a tenth of the window apart. */
static void is_not_looked_at_too_often(void **state)
{
	struct psi p = begin(nobody);
	struct psi_trigger t;
	uint64_t next;

	(void)state;
	assert_int_equal(psi_trigger_open(&t, "some 150000 1000000", true, &p), 0);
	change(&t, &p, one_stalled, T0 + S);
	next = t.next_ns;
	assert_int_equal(next, T0 + S + 100 * MS);
	psi_add(&p, 500 * MS, 0, T0 + S + 50 * MS);
	assert_false(psi_trigger_look(&t, &p));
	assert_int_equal(t.next_ns, next);
	psi_update(&p, next);
	assert_true(psi_trigger_look(&t, &p));
}

/* What was told in one piece counts from where it began. */
static void a_stall_told_afterwards_fires(void **state)
{
	struct psi p = begin(nobody);
	struct psi_trigger t;

	(void)state;
	assert_int_equal(psi_trigger_open(&t, "some 150000 1000000", true, &p), 0);
	psi_add(&p, 149 * MS, 0, T0 + S);
	assert_false(psi_trigger_look(&t, &p));
	psi_add(&p, 1 * MS, 0, T0 + S + 100 * MS);
	assert_true(psi_trigger_look(&t, &p));
}

/* A threshold met while it must keep quiet is told when it may speak again. */
static void nothing_is_dropped_in_the_quiet_time(void **state)
{
	struct psi p = begin(nobody);
	struct psi_trigger t;
	uint64_t at;

	(void)state;
	assert_int_equal(psi_trigger_open(&t, "some 150000 1000000", true, &p), 0);
	psi_add(&p, 200 * MS, 0, T0 + S);
	assert_true(psi_trigger_look(&t, &p));
	psi_add(&p, 200 * MS, 0, T0 + S + 500 * MS);
	assert_int_equal(watch(&t, &p, T0 + 2 * S - 1, &at), 0);
	assert_int_equal(watch(&t, &p, T0 + 9 * S, &at), 1);
	assert_in_range(at, T0 + 2 * S, T0 + 2 * S + 100 * MS);
	assert_int_equal(t.next_ns, PSI_NEVER);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_stalled_all_the_time),
		cmocka_unit_test(half_the_time),
		cmocka_unit_test(somebody_else_runs),
		cmocka_unit_test(parts_of_several_processors),
		cmocka_unit_test(idle_time_is_made_up_at_once),
		cmocka_unit_test(how_often_one_looks_does_not_matter),
		cmocka_unit_test(a_very_long_stall_is_cut_short),
		cmocka_unit_test(what_ended_is_where_it_was),
		cmocka_unit_test(intervals_measured_elsewhere),
		cmocka_unit_test(time_never_goes_back),
		cmocka_unit_test(holds_for_any_stalls),
		cmocka_unit_test(triggers_are_checked),
		cmocka_unit_test(fires_at_the_threshold_once_a_window),
		cmocka_unit_test(counts_what_grows_within_a_window),
		cmocka_unit_test(full_waits_for_full),
		cmocka_unit_test(rests_when_nothing_stalls),
		cmocka_unit_test(is_not_looked_at_too_often),
		cmocka_unit_test(a_stall_told_afterwards_fires),
		cmocka_unit_test(nothing_is_dropped_in_the_quiet_time),
	};

	return cmocka_run_group_tests_name("controld_psi", tests, NULL, NULL);
}
