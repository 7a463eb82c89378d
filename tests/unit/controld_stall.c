/* SPDX-License-Identifier: MIT */
/* memory.pressure of groups, in a made-up world. */
#include "tests/unit/controld_fixture.h"

#include "controld/stall.h"

#define MS 1000000ull

/* What the line says: "some avg10", in hundredths, or "some total" in us. */
static long line_of(const char *group, const char *key, const char *name, const char *what)
{
	json_t *table = fixture_get(group, key);
	const char *text = json_string_value(json_object_get(table, name));
	const char *at;
	double value;

	assert_non_null(text);
	at = strstr(text, what);
	assert_non_null(at);
	value = strtod(at + strlen(what) + 1, NULL);
	json_decref(table);
	return (long)(strcmp(what, "total") == 0 ? value : value * 100);
}

static long line(const char *group, const char *name, const char *what)
{
	return line_of(group, "memory.pressure", name, what);
}

/* Time passes, of which threads of this member wait and run so much. */
static void pass(struct fake_process *p, uint32_t member, uint64_t ms, uint64_t stalled_ms, uint64_t ran_ms)
{
	fixture_pass(ms);
	mc_add_relaxed(&member_of(&fixture.served->seg, member)->stall_ns, stalled_ms * MS);
	p->ran_ns += ran_ms * MS;
	fixture_turn();
}

static void without_stalls_it_is_0(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	for (int i = 0; i < 10; i++)
		pass(p, m, 1000, 0, 900);
	assert_int_equal(line("/", "some", "total"), 0);
	assert_int_equal(line("/", "full", "avg10"), 0);
}

static void who_waits_all_the_time(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	fixture_drop(fixture_do("create", "\"group\":\"/b\""));
	m = fixture_join(p, "/a");
	fixture_turn();
	for (int i = 0; i < 120; i++)
		pass(p, m, 500, 500, 0);
	assert_in_range(line("/a", "some", "avg10"), 9900, 10000);
	assert_in_range(line("/a", "some", "avg60"), 6000, 6600);
	assert_in_range(line("/a", "full", "avg10"), 9900, 10000);
	assert_in_range(line("/a", "some", "total"), 59000000, 60000000);
	assert_in_range(line("/", "some", "avg10"), 9900, 10000);
	assert_int_equal(line("/b", "some", "total"), 0);
	for (int i = 0; i < 10; i++)
		pass(p, m, 1000, 0, 0);
	assert_in_range(line("/a", "some", "avg10"), 3000, 4500);
}

static void others_that_run_meanwhile(void **state)
{
	struct fake_process *p = fake_add(100, 7), *q = fake_add(101, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	(void)fixture_join(q, "/");
	fixture_turn();
	for (int i = 0; i < 60; i++) {
		q->ran_ns += 375 * MS;
		pass(p, m, 500, 500, 0);
	}
	assert_in_range(line("/", "some", "avg10"), 9000, 10000);
	assert_in_range(line("/", "full", "avg10"), 2000, 2600);
}

static void never_more_than_has_passed(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	fixture_turn();
	for (int i = 0; i < 20; i++)
		pass(p, m, 500, 5000, 0); /* ten threads */
	assert_in_range(line("/", "some", "total"), 9000000, 11000000);
	fixture_turn();
	assert_in_range(line("/", "some", "total"), 9000000, 11000000);
}

static void a_slot_that_is_used_again(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");
	long before;

	(void)state;
	fixture_turn();
	pass(p, m, 500, 100, 0);
	before = line("/", "some", "total");
	assert_int_equal(before, 100000);
	fake_end(p);
	fixture_pass(1000);
	p = fake_add(102, 8);
	assert_int_equal(fixture_join(p, "/"), m);
	mc_add_relaxed(&member_of(&fixture.served->seg, m)->stall_ns, 50 * MS); /* less than the one before him */
	fixture_pass(500);
	assert_int_equal(line("/", "some", "total"), before + 50000);
}

/* What "REGION.some" says as its total, in us. */
static long region_total(const char *group, const char *what)
{
	return line_of(group, "dmem.pressure", what, "total");
}

static void of_a_region_by_itself(void **state)
{
	struct fake_process *p = fake_add(100, 7), *q = fake_add(101, 7);
	unsigned region = fixture_region();
	uint32_t m, other, account;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	fixture_drop(fixture_do("create", "\"group\":\"/b\""));
	m = fixture_join(p, "/a");
	other = fixture_join(q, "/b");
	account = fixture_region_account(m, region);
	fixture_turn();
	for (int i = 0; i < 20; i++) {
		mc_add_relaxed(&account_of(&fixture.served->seg, account)->stall_ns, 500 * MS);
		pass(q, other, 500, 0, 500);
	}
	assert_in_range(region_total("/a", FIXTURE_REGION ".some"), 9000000, 10000000);
	assert_in_range(region_total("/a", FIXTURE_REGION ".full"), 9000000, 10000000);
	assert_in_range(region_total("/", FIXTURE_REGION ".some"), 9000000, 10000000);
	assert_in_range(region_total("/", FIXTURE_REGION ".full"), 0, 1000000); /* the other one ran */
	assert_int_equal(region_total("/b", FIXTURE_REGION ".some"), 0);
	assert_int_equal(line("/a", "some", "total"), 0);
	assert_in_range(line_of("/a", "dmem.pressure", FIXTURE_REGION ".some", "avg10"), 5000, 7500);
}

/* The next one in the slot, and in the account, begins with nothing. */
static void of_a_region_when_its_member_ends(void **state)
{
	struct fake_process *p = fake_add(100, 7), *q;
	unsigned region = fixture_region();
	uint32_t m = fixture_join(p, "/");

	(void)state;
	fixture_turn();
	mc_add_relaxed(&account_of(&fixture.served->seg, fixture_region_account(m, region))->stall_ns, 400 * MS);
	fixture_pass(500);
	fixture_turn();
	assert_int_equal(region_total("/", FIXTURE_REGION ".some"), 400000);
	fake_end(p);
	fixture_turn();
	q = fake_add(101, 8);
	m = fixture_join(q, "/");
	mc_add_relaxed(&account_of(&fixture.served->seg, fixture_region_account(m, region))->stall_ns, 100 * MS);
	fixture_pass(500);
	fixture_turn();
	assert_int_equal(region_total("/", FIXTURE_REGION ".some"), 500000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(without_stalls_it_is_0),		TEST(who_waits_all_the_time),
		TEST(others_that_run_meanwhile),	TEST(never_more_than_has_passed),
		TEST(a_slot_that_is_used_again),	TEST(of_a_region_by_itself),
		TEST(of_a_region_when_its_member_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
