/* SPDX-License-Identifier: MIT */
/* Who is there and who has died, in a made-up world: reap, observe, tidy. */
#include "tests/unit/controld_fixture.h"

#include "controld/reap.h"
#include "controld/tidy.h"

#define PAGE 4096

static void dead_members_are_settled(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	fixture_charge(m, 1000);
	p->usage.anon = 1000;
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	assert_int_equal(fixture_number("/", "memory.current"), 1000 * PAGE);
	fake_end(p);
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_FREE);
	assert_int_equal(fixture_number("/", "memory.current"), 0);
	assert_true(snapshot_consistent(&fixture.served->seg, RESOURCE_MEMORY, NULL));
}

static void gone_before_the_first_look(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	fixture_charge(m, 10);
	fake_end(p);
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_FREE);
}

static void a_reused_pid_is_another_process(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	p->start_time = 8;
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_FREE);
}

static void an_open_slow_path_is_recounted(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	fixture_charge(m, 10);
	mc_store_full(&member_of(&fixture.served->seg, m)->open, 1);
	(void)pool_charge(&fixture.served->seg, RESOURCE_MEMORY, GROUP_ROOT, 5, 0); /* C4, then died */
	fake_end(p);
	fixture_turn();
	assert_true(snapshot_consistent(&fixture.served->seg, RESOURCE_MEMORY, NULL));
	assert_int_equal(fixture_number("/", "memory.usage_in_bytes"), 0);
}

static void a_claimer_that_died_is_freed(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");
	struct member *slot = member_of(&fixture.served->seg, m);

	(void)state;
	mc_store_full(&slot->state, member_state_word(100, MEMBER_CLAIMED));
	mc_store_relaxed(&slot->start_time, 0);
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_CLAIMED);
	fake_end(p);
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_FREE);
}

/* Nobody rang for it: the death of another is what brings the daemon there. */
static void an_unannounced_claimer_that_died_is_freed(void **state)
{
	struct fake_process *other = fake_add(100, 7);
	uint32_t m = fixture_join(other, "/");
	struct member *slot = member_of(&fixture.served->seg, m + 1);

	(void)state;
	fixture_turn();
	mc_store_full(&fixture.served->seg.counters->header.members_used, m + 2);
	mc_store_full(&slot->state, member_state_word(101, MEMBER_CLAIMED));
	fake_end(other);
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_FREE);
	assert_int_equal(fixture_state(m + 1), MEMBER_FREE);
}

static void what_a_dead_settler_left_is_settled(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	mc_store_full(&member_of(&fixture.served->seg, m)->state, member_state_word(100, MEMBER_DEAD));
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_FREE);
}

static void without_a_descriptor_it_is_looked_at(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	p->no_pidfd = true;
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	assert_true(fixture.served->next_look_ns > fake_now);
	fake_end(p);
	fixture_pass(1000);
	assert_int_equal(fixture_state(m), MEMBER_FREE);
	fixture_pass(1000); /* the history has seen it by then */
	assert_int_equal(fixture.served->next_look_ns, 0);
}

static void an_idle_member_is_looked_at_once_a_second(void **state)
{
	(void)state;
	(void)fixture_join(fake_add(100, 7), "/");
	fixture_turn();
	for (int i = 0; i < 5; i++)
		fixture_pass(1000);
	assert_int_equal(fixture.served->next_look_ns, fake_now + 1000000000);
}

static void a_bare_image_is_observed(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	fixture_charge(m, 1000);
	member_set_flags(&fixture.served->seg, m, MEMBER_EXECING, 0);
	p->image = IMAGE_BARE;
	p->usage.anon = 300;
	fixture_turn();
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	fixture_pass(100);
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	fixture_pass(400);
	assert_int_equal(fixture_state(m), MEMBER_OBSERVED);
	assert_string_equal(member_of(&fixture.served->seg, m)->comm, "new-100");
	fixture_pass(50);
	assert_int_equal(fixture_number("/", "memory.current"), 300 * PAGE);
	assert_int_equal(fixture_row("/", "memory.stat", "observed"), 300 * PAGE);
	assert_int_equal(fixture_row("/", "memory.stat", "heap"), 0);
	fake_end(p);
	fixture_turn();
	assert_int_equal(fixture_number("/", "memory.current"), 0);
	assert_true(snapshot_consistent(&fixture.served->seg, RESOURCE_MEMORY, NULL));
}

static void an_image_with_our_segment_stays(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	member_set_flags(&fixture.served->seg, m, MEMBER_EXECING, 0);
	p->image = IMAGE_BARE; /* the dynamic loader is at work */
	fixture_turn();
	p->image = IMAGE_ATTACHED;
	fixture_pass(500);
	fixture_pass(500);
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	member_set_flags(&fixture.served->seg, m, 0, MEMBER_EXECING);
	fixture_pass(500);
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	assert_true(fixture.served->next_look_ns > fake_now);
}

static void a_slow_constructor_has_more_time(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	uint32_t m = fixture_join(p, "/");

	(void)state;
	member_set_flags(&fixture.served->seg, m, MEMBER_EXECING, 0);
	p->image = IMAGE_LOADING;
	fixture_turn();
	fixture_pass(500);
	assert_int_equal(fixture_state(m), MEMBER_LIVE);
	fixture_pass(400);
	assert_int_equal(fixture_state(m), MEMBER_OBSERVED);
}

static void observed_memory_follows_the_sample(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	const struct segment *seg = &fixture.served->seg;
	uint32_t m;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/o\",\"values\":{\"memory.max\":\"1M\"}"));
	m = fixture_join(p, "/o");
	mc_store_full(&member_of(seg, m)->state, member_state_word(100, MEMBER_OBSERVED));
	p->usage.anon = 200;
	fixture_turn();
	fixture_pass(1000);
	assert_int_equal(fixture_number("/o", "memory.current"), 200 * PAGE);
	assert_int_equal(fixture_row("/o", "memory.events", "over"), 0);
	p->usage.anon = 300;
	fixture_pass(1000);
	assert_int_equal(fixture_number("/o", "memory.current"), 300 * PAGE);
	assert_int_equal(fixture_row("/o", "memory.events", "over"), 1);
	assert_int_equal(fixture_row("/", "memory.stat", "over_observed"), 1);
	p->usage.anon = 50;
	fixture_pass(1000);
	assert_int_equal(fixture_number("/", "memory.current"), 50 * PAGE);
	assert_int_equal(fixture_row("/", "memory.stat", "observed"), 50 * PAGE);
	fake_end(p);
	fixture_turn();
	fixture_pass(1000);
	assert_int_equal(fixture.served->next_look_ns, 0);
}

static void file_and_swap_are_seen_not_charged(void **state)
{
	struct fake_process *p = fake_add(100, 7);

	(void)state;
	(void)fixture_join(p, "/");
	p->usage = (struct world_usage){ .file = 3, .swap = 2 };
	assert_int_equal(fixture_row("/", "memory.stat", "file"), 3 * PAGE);
	assert_int_equal(fixture_row("/", "memory.stat", "swap"), 2 * PAGE);
	assert_int_equal(fixture_number("/", "memory.current"), 0);
}

static bool group_exists(const char *path)
{
	uint16_t g;

	return group_find(&fixture.served->seg, path, &g) == 0;
}

static void transient_groups_go_with_the_last(void **state)
{
	struct caller caller = { .pid = 1, .holder = &caller };
	struct fake_process *p = fake_add(100, 7);
	static const char make[] = "{\"v\":1,\"op\":\"create\",\"group\":\"/t\",\"transient\":true}";
	static const char below[] = "{\"v\":1,\"op\":\"create\",\"group\":\"/t/below\"}";

	(void)state;
	fixture_drop(fixture_ask_as(&caller, make, sizeof(make) - 1));
	fixture_drop(fixture_ask_as(&caller, below, sizeof(below) - 1));
	fixture_turn();
	assert_true(group_exists("/t/below"));
	(void)fixture_join(p, "/t/below");
	assert_true(tidy_release(fixture.served, &caller));
	fixture_turn();
	assert_true(group_exists("/t/below"));
	fake_end(p);
	fixture_turn();
	assert_false(group_exists("/t"));
	assert_false(tidy_release(fixture.served, &caller));
}

static void kill_signals_members_below_and_no_others(void **state)
{
	struct fake_process *in = fake_add(100, 7), *below = fake_add(101, 7), *out = fake_add(102, 7);
	json_t *reply;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/k\""));
	fixture_drop(fixture_do("create", "\"group\":\"/k/below\""));
	(void)fixture_join(in, "/k");
	(void)fixture_join(below, "/k/below");
	(void)fixture_join(out, "/");
	below->start_time = 9; /* the pid is somebody else's by now */
	reply = fixture_do("kill", "\"group\":\"/k\"");
	assert_int_equal(json_integer_value(json_object_get(reply, "killed")), 1);
	json_decref(reply);
	fixture_refuse("kill", "\"group\":\"/k\",\"signal\":65", "EINVAL");
	fixture_refuse("kill", "\"group\":\"/k\",\"signal\":0", "EINVAL");
}

static void what_is_in_the_way_is_named(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	json_t *reply;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/r\""));
	fixture_drop(fixture_do("create", "\"group\":\"/r/s\""));
	fixture_refuse("remove", "\"group\":\"/r\"", "EBUSY");
	(void)fixture_join(p, "/r/s");
	fixture_refuse("remove", "\"group\":\"/r\",\"recursive\":true", "EBUSY");
	reply = fixture_ask("remove", "\"group\":\"/r/s\"");
	assert_non_null(strstr(json_string_value(json_object_get(reply, "error")), "100 test"));
	json_decref(reply);
	fake_end(p);
	reply = fixture_do("remove", "\"group\":\"/r\",\"recursive\":true");
	assert_int_equal(json_integer_value(json_object_get(reply, "removed")), 2);
	json_decref(reply);
	fixture_refuse("remove", "\"group\":\"/\"", "EPERM");
}

static void members_may_not_set_their_own_limits(void **state)
{
	struct fake_process *p = fake_add(100, 7);
	struct caller member = { .pid = 100 };
	static const char own[] = "{\"v\":1,\"op\":\"set\",\"group\":\"/m\",\"values\":{\"memory.max\":\"max\"}}";
	static const char root[] = "{\"v\":1,\"op\":\"set\",\"group\":\"/\",\"values\":{\"memory.max\":\"max\"}}";
	static const char other[] = "{\"v\":1,\"op\":\"set\",\"group\":\"/n\",\"values\":{\"memory.max\":\"max\"}}";
	json_t *reply;

	(void)state;
	fixture_drop(fixture_do("create", "\"group\":\"/m\""));
	fixture_drop(fixture_do("create", "\"group\":\"/n\""));
	(void)fixture_join(p, "/m");
	reply = fixture_ask_as(&member, own, sizeof(own) - 1);
	assert_string_equal(json_string_value(json_object_get(reply, "errno")), "EPERM");
	json_decref(reply);
	reply = fixture_ask_as(&member, root, sizeof(root) - 1);
	assert_true(json_is_false(json_object_get(reply, "ok")));
	json_decref(reply);
	reply = fixture_ask_as(&member, other, sizeof(other) - 1);
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	fixture.allow_members = true;
	reply = fixture_ask_as(&member, own, sizeof(own) - 1);
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(dead_members_are_settled),
		TEST(gone_before_the_first_look),
		TEST(a_reused_pid_is_another_process),
		TEST(an_open_slow_path_is_recounted),
		TEST(a_claimer_that_died_is_freed),
		TEST(an_unannounced_claimer_that_died_is_freed),
		TEST(what_a_dead_settler_left_is_settled),
		TEST(without_a_descriptor_it_is_looked_at),
		TEST(an_idle_member_is_looked_at_once_a_second),
		TEST(a_bare_image_is_observed),
		TEST(an_image_with_our_segment_stays),
		TEST(a_slow_constructor_has_more_time),
		TEST(observed_memory_follows_the_sample),
		TEST(file_and_swap_are_seen_not_charged),
		TEST(transient_groups_go_with_the_last),
		TEST(kill_signals_members_below_and_no_others),
		TEST(what_is_in_the_way_is_named),
		TEST(members_may_not_set_their_own_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
