/* SPDX-License-Identifier: MIT */
/* Making members give memory back, in a made-up world: who is asked, who is waited for, what is answered when. */
#include "tests/unit/giver_fixture.h"

#include "accounting/effort.h"
#include "controld/reclaim.h"

#define PAGE 4096

/* The answer that came later. */
static char late[PROTO_PACKET_MAX];

static void take_answer(const void *holder, char *text, size_t size)
{
	assert_non_null(holder);
	assert_int_equal(late[0], 0);
	memcpy(late, text, size);
	late[size] = 0;
	free(text);
}

static const struct caller waiting = { .pid = 1, .holder = late, .answer = take_answer };

/* Sends a request that is to be answered later. */
static void begin(const char *packet)
{
	size_t size = 0;

	late[0] = 0;
	assert_null(proto_handle(&fixture, &waiting, packet, strlen(packet), &size));
	assert_true(size == PROTO_LATER);
	assert_int_equal(late[0], 0);
}

static void reclaim_of(const char *group, const char *size)
{
	char packet[256];

	(void)snprintf(packet, sizeof(packet), "{\"v\":1,\"op\":\"reclaim\",\"group\":\"%s\",\"size\":\"%s\"}", group,
		       size);
	begin(packet);
}

static void set_to(const char *group, const char *key, long long value)
{
	char packet[256];

	(void)snprintf(packet, sizeof(packet), "{\"v\":1,\"op\":\"set\",\"group\":\"%s\",\"values\":{\"%s\":%lld}}",
		       group, key, value);
	begin(packet);
}

static void expect(const char *words)
{
	fixture_turn();
	if (!strstr(late, words))
		print_error("no %s in '%s'\n", words, late);
	assert_non_null(strstr(late, words));
}

static void expect_nothing(void)
{
	fixture_turn();
	assert_int_equal(late[0], 0);
}

/* /a with one member that holds 1000 pages, of which so many can be given. */
static uint32_t one_giver(uint64_t purgeable)
{
	uint32_t a;

	giver_make_group("/a");
	a = giver_join(100, "/a", 1000, purgeable);
	fixture_turn();
	return a;
}

/* And with another one. */
static void two_givers(uint64_t purgeable, uint32_t *ret_a, uint64_t others, uint32_t *ret_b)
{
	*ret_a = one_giver(purgeable);
	*ret_b = giver_join(101, "/a", 1000, others);
	fixture_turn();
}

static void the_answer_comes_when_it_was_given(void **state)
{
	uint32_t a, b;

	(void)state;
	two_givers(500, &a, 400, &b);
	reclaim_of("/a", "1M");
	expect_nothing();
	assert_int_equal(giver_wanted(a), 256); /* the largest first */
	assert_int_equal(giver_wanted(b), 0);
	giver_give(a, 256);
	expect("\"ok\":true");
	assert_non_null(strstr(late, "\"reclaimed\":1048576"));
	assert_int_equal(fixture_number("/a", "memory.current"), (2000 - 256) * PAGE);
	assert_null(fixture.served->reclaims);
}

static void who_gives_less_is_made_up_for_by_others(void **state)
{
	uint32_t a, b;

	(void)state;
	two_givers(300, &a, 200, &b);
	reclaim_of("/a", "1M");
	giver_give(a, 100);
	expect_nothing();
	assert_int_equal(giver_wanted(a), 0);
	assert_int_equal(giver_wanted(b), 156);
	giver_give(b, 1000);
	expect("\"ok\":true");
}

static void less_than_wanted_is_eagain(void **state)
{
	uint32_t a;

	(void)state;
	a = one_giver(100);
	reclaim_of("/a", "1M");
	assert_int_equal(giver_wanted(a), 100);
	giver_give(a, 100);
	expect_nothing(); /* now for its shrinkers */
	assert_int_equal(giver_wanted(a), 156);
	giver_give(a, 6);
	expect("EAGAIN");
	assert_non_null(strstr(late, "reclaimed 424.0 KiB of the 1.0 MiB"));
	fixture_refuse("reclaim", "\"group\":\"/a\",\"size\":\"1\\u004d\"", "EAGAIN"); /* who cannot wait */
	fixture_refuse("reclaim", "\"group\":\"/a\",\"size\":\"1x\"", "EINVAL");
	fixture_refuse("reclaim", "\"group\":\"/nix\",\"size\":\"1M\"", "ENOENT");
	fixture_drop(fixture_do("reclaim", "\"group\":\"/a\",\"size\":\"0\""));
}

static void a_stopped_member_holds_up_nobody_for_long(void **state)
{
	uint32_t a, b;

	(void)state;
	two_givers(300, &a, 200, &b);
	reclaim_of("/a", "max");
	giver_give(b, 200);
	expect_nothing();
	fixture_pass(RECLAIM_LIMIT_NS / 1000000 - 100);
	assert_int_equal(late[0], 0);
	fixture_pass(200);
	expect("EAGAIN");
	assert_non_null(strstr(late, "reclaimed 800.0 KiB of"));
	assert_true(giver_wanted(a) != 0);
}

/* It has 300 pages to give, and no helper. */
static uint32_t one_without_helper(void)
{
	uint32_t a = one_giver(300);

	reclaim_listen(&fixture.served->seg, a, false);
	return a;
}

/* And another one with one, which is asked first and gives all it has: 50 of 256 pages. */
static void ask_one_with_and_one_without(uint32_t *ret_without, uint32_t *ret_with)
{
	*ret_without = one_without_helper();
	*ret_with = giver_join(101, "/a", 1000, 50);
	fixture_turn();
	reclaim_of("/a", "1M");
	assert_int_equal(giver_wanted(*ret_without), 0);
	giver_give(*ret_with, 50);
	expect_nothing();
	assert_int_equal(giver_wanted(*ret_without), 206);
}

static void who_has_no_helper_is_waited_for_a_moment(void **state)
{
	uint32_t a;

	(void)state;
	a = one_without_helper();
	reclaim_of("/a", "1M");
	expect_nothing();
	assert_int_equal(giver_wanted(a), 256);
	fixture_pass(RECLAIM_SILENT_NS / 1000000 - 10);
	assert_int_equal(late[0], 0);
	fixture_pass(20);
	expect("EAGAIN");
	assert_non_null(strstr(late, "reclaimed 0 B of"));
	assert_int_equal(giver_wanted(a), 256); /* it gives when it next allocates */
	reclaim_of("/a", "1M");
	assert_int_equal(giver_wanted(a), 256); /* and that once */
}

static void what_it_gives_by_itself_counts(void **state)
{
	uint32_t a, b;

	(void)state;
	ask_one_with_and_one_without(&a, &b);
	giver_give(a, 206);
	expect("\"ok\":true");
	assert_non_null(strstr(late, "\"reclaimed\":1048576"));
}

/* While something else is waited for. */
static void what_it_gives_late_counts_once(void **state)
{
	uint32_t a, b;

	(void)state;
	ask_one_with_and_one_without(&a, &b);
	fixture_pass(RECLAIM_SILENT_NS / 1000000 + 10); /* b is asked for its shrinkers */
	assert_int_equal(giver_wanted(b), 206);
	giver_give(a, 100);
	expect_nothing();
	giver_give(b, 10);
	expect("EAGAIN");
	assert_non_null(strstr(late, "reclaimed 640.0 KiB of the 1.0 MiB"));
}

/* memory.reclaim is not pressure; a limit's is, whoever gives. */
static void it_books_what_the_reclaim_books(void **state)
{
	mc_word *effort;
	uint32_t a;

	(void)state;
	a = one_without_helper();
	effort = &pool_of(&fixture.served->seg, RESOURCE_MEMORY, GROUP_ROOT + 1)->effort;
	mc_store_full(&fixture.served->seg.limits->header.watched, 1u << MARK_STRAINED);
	reclaim_of("/a", "400K");
	giver_give(a, 100);
	expect("\"ok\":true");
	assert_int_equal(mc_load_full(effort), 0);
	assert_int_equal(mc_load_full(&member_of(&fixture.served->seg, a)->asked_for), 0);
	set_to("/a", "memory.limit_in_bytes", 800 * PAGE);
	assert_int_equal(giver_wanted(a), 100); /* not what stocks hold */
	giver_give(a, 100);
	expect("\"ok\":true");
	assert_int_equal(effort_scanned(mc_load_full(effort)), 100);
	assert_int_equal(effort_reclaimed(mc_load_full(effort)), 100);
}

static void the_death_of_who_was_asked_is_an_answer(void **state)
{
	(void)state;
	giver_make_group("/a");
	(void)giver_join(100, "/a", 1000, 300);
	fixture_turn();
	reclaim_of("/a", "1M");
	expect_nothing();
	fake_end(fake_find(100));
	expect("EAGAIN");
}

static void a_client_that_goes_is_not_answered(void **state)
{
	uint32_t a;

	(void)state;
	a = one_giver(300);
	reclaim_of("/a", "1M");
	reclaim_release(fixture.served, late);
	giver_give(a, 256);
	expect_nothing();
	assert_null(fixture.served->reclaims);
}

static void a_group_that_goes_meanwhile(void **state)
{
	(void)state;
	giver_make_group("/a");
	(void)giver_join(100, "/a", 1000, 300);
	fixture_turn();
	set_to("/a", "memory.limit_in_bytes", 900 * PAGE);
	fake_end(fake_find(100));
	fixture_drop(fixture_do("remove", "\"group\":\"/a\""));
	expect("ENOENT");
}

static void max_below_usage_applies_at_once(void **state)
{
	uint32_t a;

	(void)state;
	a = one_giver(300);
	set_to("/a", "memory.max", 800 * PAGE);
	assert_int_equal(fixture_number("/a", "memory.max"), 800 * PAGE);
	assert_true(giver_wanted(a) >= 200);
	giver_give(a, 10);
	expect("\"ok\":true"); /* even so */
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"1G\"}"));
}

static void a_v1_limit_reclaims_first(void **state)
{
	uint32_t a;

	(void)state;
	a = one_giver(300);
	set_to("/a", "memory.limit_in_bytes", 800 * PAGE);
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 9223372036854771712);
	giver_give(a, 300);
	expect("\"ok\":true");
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 800 * PAGE);
	set_to("/a", "memory.limit_in_bytes", 100 * PAGE);
	assert_true(giver_wanted(a) != 0);
	giver_give(a, 0);
	expect("EBUSY");
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 800 * PAGE);
}

static void the_keys(void **state)
{
	uint32_t a;

	(void)state;
	a = one_giver(300);
	set_to("/a", "memory.reclaim", 200 * PAGE);
	giver_give(a, 200);
	expect("\"ok\":true");
	set_to("/a", "memory.reclaim", 200 * PAGE);
	giver_give(a, 50);
	fixture_turn();
	giver_give(a, 0);
	expect("EAGAIN");
	set_to("/a", "memory.force_empty", 0);
	giver_give(a, 50);
	fixture_turn();
	giver_give(a, 0);
	expect("\"ok\":true");
	fixture_refuse("set", "\"group\":\"/a\",\"values\":{\"memory.reclaim\":\"1x\"}", "EINVAL");
	fixture_refuse("get", "\"group\":\"/a\",\"keys\":[\"memory.reclaim\"]", "EINVAL");
}

static void protection_counts_and_is_counted(void **state)
{
	uint32_t a, b;

	(void)state;
	giver_make_group("/a");
	giver_make_group("/b");
	a = giver_join(100, "/a", 1000, 1000);
	b = giver_join(101, "/b", 1000, 100);
	fixture_drop(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.low\":\"1G\"}"));
	fixture_turn();
	reclaim_of("/", "400K");
	assert_int_equal(giver_wanted(a), 0);
	giver_give(b, 100);
	expect("\"ok\":true");
	assert_int_equal(fixture_row("/a", "memory.events", "low"), 0);
	reclaim_of("/", "400K");
	assert_int_equal(giver_wanted(a), 100);
	giver_give(a, 100);
	expect("\"ok\":true");
	assert_int_equal(fixture_row("/a", "memory.events", "low"), 1);
	assert_int_equal(fixture_row("/b", "memory.events", "low"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_answer_comes_when_it_was_given),
		TEST(who_gives_less_is_made_up_for_by_others),
		TEST(less_than_wanted_is_eagain),
		TEST(a_stopped_member_holds_up_nobody_for_long),
		TEST(who_has_no_helper_is_waited_for_a_moment),
		TEST(what_it_gives_by_itself_counts),
		TEST(what_it_gives_late_counts_once),
		TEST(it_books_what_the_reclaim_books),
		TEST(the_death_of_who_was_asked_is_an_answer),
		TEST(a_client_that_goes_is_not_answered),
		TEST(a_group_that_goes_meanwhile),
		TEST(max_below_usage_applies_at_once),
		TEST(a_v1_limit_reclaims_first),
		TEST(the_keys),
		TEST(protection_counts_and_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
