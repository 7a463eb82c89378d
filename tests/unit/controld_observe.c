/* SPDX-License-Identifier: MIT */
/* Children of observed members, in a made-up world. */
#include "tests/unit/controld_fixture.h"

#include "accounting/settle.h"

#include "controld/observe.h"

static uint32_t find(const struct fake_process *p)
{
	uint32_t member = MEMBER_NIL;

	(void)member_find(&fixture.served->seg, (uint32_t)p->pid, p->start_time, &member);
	return member;
}

static uint32_t add_observed(const char *group, pid_t pid)
{
	struct fake_process *p = fake_add(pid, (uint64_t)pid);
	uint32_t member;
	uint16_t number;

	assert_int_equal(group_find(&fixture.served->seg, group, &number), 0);
	assert_int_equal(member_join(&fixture.served->seg, (uint32_t)pid, (uint64_t)pid, number, MEMBER_OBSERVED,
				     "static", &member),
			 0);
	p->image = IMAGE_BARE;
	return member;
}

static struct fake_process *add_child(pid_t parent, pid_t pid)
{
	struct fake_process *p = fake_add(pid, (uint64_t)pid);

	p->parent = parent;
	p->image = IMAGE_BARE;
	p->usage.anon = p->proportional = 100;
	return p;
}

static void children_are_found(void **state)
{
	struct fake_process *child, *grandchild;
	uint32_t parent, m;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	parent = add_observed("/a", 100);
	child = add_child(100, 101);
	grandchild = add_child(101, 102);
	fixture_pass(1000);
	fixture_pass(1000);
	m = find(child);
	assert_int_not_equal(m, MEMBER_NIL);
	assert_int_equal(fixture_state(m), MEMBER_OBSERVED);
	assert_int_equal(member_of(&fixture.served->seg, m)->group, member_of(&fixture.served->seg, parent)->group);
	assert_int_equal(member_of(&fixture.served->seg, m)->family, member_of(&fixture.served->seg, parent)->family);
	assert_int_not_equal(find(grandchild), MEMBER_NIL);
	fixture_pass(1000);
	assert_int_equal(fixture_number("/a", "memory.current"), 200 * 4096);
	fake_end(child);
	fixture_pass(1000);
	assert_int_equal(fixture_number("/a", "memory.current"), 100 * 4096);
}

static void nobody_twice(void **state)
{
	struct fake_process *child;
	uint32_t n = 0;

	(void)state;
	(void)add_observed("/", 100);
	child = add_child(100, 101);
	for (int i = 0; i < 5; i++)
		fixture_pass(1000);
	for (uint32_t i = 0; i < member_mark(&fixture.served->seg); i++)
		n += member_is_present(&fixture.served->seg, i);
	assert_int_equal(n, 2);
	assert_int_not_equal(find(child), MEMBER_NIL);
}

/* They join by themselves; registered by somebody else they would be there twice. */
static void who_joins_by_himself_is_left_alone(void **state)
{
	struct fake_process *p = fake_add(100, 7), *child, *loading;

	(void)state;
	(void)fixture_join(p, "/");
	(void)add_observed("/", 200);
	child = add_child(100, 101);
	loading = add_child(200, 201);
	loading->image = IMAGE_LOADING;
	for (int i = 0; i < 2; i++)
		fixture_pass(300);
	assert_int_equal(find(child), MEMBER_NIL);
	assert_int_equal(find(loading), MEMBER_NIL);
	loading->image = IMAGE_ATTACHED;
	for (int i = 0; i < 5; i++)
		fixture_pass(1000);
	assert_int_equal(find(loading), MEMBER_NIL);
	loading->image = IMAGE_BARE;
	fixture_pass(1000);
	assert_int_not_equal(find(loading), MEMBER_NIL);
}

/* The library is there and may not use the segment: another user's program. */
static void who_was_turned_away_is_observed(void **state)
{
	struct fake_process *child;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	(void)add_observed("/a", 100);
	for (pid_t pid = 101; pid < 110; pid++)
		add_child(100, pid)->image = IMAGE_LOADING;
	child = fake_find(109);
	for (int i = 0; i < 5; i++)
		fixture_pass(300);
	assert_int_not_equal(find(child), MEMBER_NIL);
	assert_int_equal(fixture_state(find(child)), MEMBER_OBSERVED);
	fixture_pass(1000);
	assert_int_equal(fixture_number("/a", "memory.current"), 900 * 4096);
}

/* It has given back what it held; what is resident is on its way out. One that lingers is looked at again. */
static void who_leaves_is_not_charged_again(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	p->usage.anon = 1000;
	m = fixture_join(p, "/a");
	fixture_charge(m, 1000);
	fixture_pass(200);
	assert_int_equal(fixture_number("/a", "memory.current"), 1000 * 4096);
	settle_leave(&fixture.served->seg, m);
	for (int i = 0; i < 5; i++) {
		fixture_pass(100);
		assert_int_equal(fixture_number("/a", "memory.current"), 0);
		assert_int_equal(fixture_number("/a", "memory.peak"), 1000 * 4096);
	}
	for (int i = 0; i < 40; i++)
		fixture_pass(100);
	assert_int_equal(fixture_number("/a", "memory.current"), 1000 * 4096);
}

/* Between the look and the charge. */
static void what_is_given_back_meanwhile_is_not_charged(void **state)
{
	struct fake_process *p = fake_add(100, 7);

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/a\""));
	(void)fixture_join(p, "/a");
	fixture_pass(200);
	p->usage.anon = 1000;
	p->gives_back = 900;
	fixture_pass(100);
	assert_int_equal(fixture_number("/a", "memory.current"), 100 * 4096);
	assert_int_equal(fixture_number("/a", "memory.peak"), 100 * 4096);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(children_are_found),
		TEST(nobody_twice),
		TEST(who_joins_by_himself_is_left_alone),
		TEST(who_was_turned_away_is_observed),
		TEST(who_leaves_is_not_charged_again),
		TEST(what_is_given_back_meanwhile_is_not_charged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
