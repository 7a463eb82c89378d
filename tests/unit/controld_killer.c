/* SPDX-License-Identifier: MIT */
/* memory.oom.policy=kill in a made-up world: who is killed, when, and what is said. */
#include "tests/unit/controld_fixture.h"

#include "controld/hook.h"
#include "controld/killer.h"

#include <signal.h>
#include <time.h>

#define M 256

static const struct segment *seg(void)
{
	return &fixture.served->seg;
}

static void make(const char *group, const char *values)
{
	char more[256];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{%s}", group, values);
	fixture_drop(fixture_do("create", more));
}

static void set(const char *group, const char *values)
{
	char more[256];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{%s}", group, values);
	fixture_drop(fixture_do("set", more));
}

static struct fake_process *join(pid_t pid, const char *group, uint64_t pages, uint32_t *ret_member)
{
	struct fake_process *p = fake_add(pid, (uint64_t)pid);

	p->usage.anon = pages;
	*ret_member = fixture_join(p, group);
	fixture_charge(*ret_member, pages);
	p->lingers = true;
	return p;
}

static mc_word *request_of(const char *group)
{
	uint16_t g;

	assert_int_equal(group_find(seg(), group, &g), 0);
	return &pool_of(seg(), RESOURCE_MEMORY, g)->oom;
}

/* The member was refused so much by the group. */
static void ask(const char *group, uint32_t member, uint64_t pages)
{
	mc_store_full(request_of(group), (uint64_t)(member + 1) << 32 | pages);
	fixture_turn();
}

static void expect_report(const char *group, const char *words)
{
	json_t *report = fixture_get(group, "memory.oom.report");

	if (!strstr(json_string_value(report), words))
		print_error("no '%s' in:\n%s\n", words, json_string_value(report));
	assert_non_null(strstr(json_string_value(report), words));
	json_decref(report);
}

static void the_largest_is_killed_and_counted(void **state)
{
	struct fake_process *small, *large, *other;
	uint32_t m, l, o;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\"");
	make("/a/b", "");
	make("/c", "");
	small = join(100, "/a", 10 * M, &m);
	large = join(101, "/a/b", 50 * M, &l);
	other = join(102, "/c", 900 * M, &o);
	fixture_turn();
	ask("/a", m, 10 * M);
	assert_int_equal(large->signal, SIGKILL);
	assert_int_equal(small->signal + other->signal, 0);
	assert_int_equal(mc_load_full(request_of("/a")), 0);
	assert_int_equal(fixture_row("/a", "memory.events.local", "oom"), 1);
	assert_int_equal(fixture_row("/a/b", "memory.events", "oom"), 0);
	assert_int_equal(fixture_row("/", "memory.events", "oom"), 1);
	assert_int_equal(fixture_row("/a/b", "memory.events.local", "oom_kill"), 1);
	assert_int_equal(fixture_row("/a", "memory.events.local", "oom_kill"), 0);
	assert_int_equal(fixture_row("/a", "memory.events", "oom_kill"), 1);
	assert_int_equal(fixture_row("/", "memory.events", "oom_kill"), 1);
	assert_int_equal(fixture_row("/c", "memory.events", "oom_kill"), 0);
	expect_report("/a", "out of memory in /a: pid 100 (test) asked for 10.0 MiB\n"
			    "killed pid 101 (new-101) in /a/b: 50.0 MiB held, 0 B swapped, oom_score_adj 0\n"
			    "/a/b: memory.current 50.0 MiB, high max, max max\n"
			    "/a: memory.current 60.0 MiB, high max, max 64.0 MiB: it refused\n"
			    "/: memory.current 960.0 MiB, high max, max max\n"
			    "asked for there, and not given back: heap 60.0 MiB\n"
			    "where it is asked for, memctl run --profile would tell\n"
			    "2 members; the largest:\n"
			    "  pid 101 (new-101) in /a/b: 50.0 MiB held");
	expect_report("/a/b", "out of memory in /a:");
	expect_report("/", "out of memory in /a:");
	expect_report("/c", "");
}

static void nobody_else_while_the_victim_dies(void **state)
{
	struct fake_process *small, *large;
	uint32_t m, l;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\"");
	small = join(100, "/a", 10 * M, &m);
	large = join(101, "/a", 50 * M, &l);
	fixture_turn();
	ask("/a", m, 10 * M);
	ask("/a", m, 10 * M);
	assert_int_equal(small->signal, 0);
	assert_int_not_equal(mc_load_full(request_of("/a")), 0); /* it is kept */
	assert_true(fixture.served->next_look_ns > fake_now);
	fake_end(large);
	fixture_turn();
	assert_int_equal(small->signal, 0);
	assert_int_equal(mc_load_full(request_of("/a")), 0); /* there is room now */
	assert_int_equal(fixture_row("/a", "memory.events", "oom_kill"), 1);
}

static void who_does_not_die_is_not_waited_for_long(void **state)
{
	struct fake_process *small;
	uint32_t m, l;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\"");
	small = join(100, "/a", 10 * M, &m);
	(void)join(101, "/a", 50 * M, &l);
	fixture_turn();
	ask("/a", m, 10 * M);
	ask("/a", m, 10 * M);
	fixture_pass(KILLER_PATIENCE_NS / 1000000 - 1000);
	assert_int_equal(small->signal, 0);
	fixture_pass(1100);
	assert_int_equal(small->signal, SIGKILL);
}

static void who_may_not_be_killed(void **state)
{
	struct fake_process *first, *second;
	uint32_t m, l;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\"");
	first = join(100, "/a", 10 * M, &m);
	second = join(101, "/a", 50 * M, &l);
	first->oom_adj = second->oom_adj = -1000;
	fixture_turn();
	ask("/a", m, 10 * M);
	assert_int_equal(first->signal + second->signal, 0);
	assert_int_equal(mc_load_full(request_of("/a")), (uint64_t)(m + 1) << 32); /* an answer, at once */
	assert_true(fixture.served->next_look_ns > fake_now);
	fixture_pass(400);
	assert_int_equal(mc_load_full(request_of("/a")), 0);
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 0); /* who fails counts it */
	first->oom_adj = 0;
	ask("/a", m, 10 * M);
	assert_int_equal(first->signal, SIGKILL);
	assert_int_equal(second->signal, 0);
}

static void without_need_nobody_is_killed(void **state)
{
	struct fake_process *p;
	uint32_t m;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\"");
	make("/f", "\"memory.max\":\"64M\"");
	p = join(100, "/a", 10 * M, &m);
	fixture_turn();
	ask("/a", m, 10 * M);
	assert_int_equal(mc_load_full(request_of("/a")), 0);
	ask("/f", m, 100 * M); /* another policy */
	assert_int_equal(p->signal, 0);
	set("/f", "\"memory.oom.policy\":\"kill\"");
	assert_int_equal(mc_load_full(request_of("/f")), 0);
}

static void the_whole_group_goes(void **state)
{
	struct fake_process *p[4];
	uint32_t m[4];

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\"");
	make("/a/b", "\"memory.oom.group\":1");
	make("/a/b/c", "");
	p[0] = join(100, "/a", 10 * M, &m[0]);
	p[1] = join(101, "/a/b/c", 30 * M, &m[1]);
	p[2] = join(102, "/a/b", 1 * M, &m[2]);
	p[3] = join(103, "/a/b", 1 * M, &m[3]);
	p[3]->oom_adj = -1000;
	fixture_turn();
	ask("/a", m[0], 60 * M);
	assert_int_equal(p[0]->signal + p[3]->signal, 0);
	assert_int_equal(p[1]->signal, SIGKILL);
	assert_int_equal(p[2]->signal, SIGKILL);
	assert_int_equal(fixture_row("/a/b", "memory.events", "oom_kill"), 2);
	assert_int_equal(fixture_row("/a/b", "memory.events", "oom_group_kill"), 1);
	assert_int_equal(fixture_row("/a/b/c", "memory.events", "oom_group_kill"), 0);
	assert_int_equal(fixture_row("/", "memory.events", "oom_group_kill"), 1);
	expect_report("/a/b", "and with it all of /a/b (memory.oom.group): 2 members\n");
}

static void a_limit_below_usage_kills_until_it_fits(void **state)
{
	struct fake_process *p[3];
	uint32_t m[3];

	(void)state;
	make("/a", "\"memory.oom.policy\":\"kill\"");
	for (int i = 0; i < 3; i++)
		p[i] = join(100 + i, "/a", (uint64_t)(10 + 10 * i) * M, &m[i]);
	fixture_turn();
	killer_ask(fixture.served, 1);
	fixture_turn();
	assert_int_equal(p[0]->signal + p[1]->signal + p[2]->signal, 0);
	set("/a", "\"memory.max\":\"15M\"");
	killer_ask(fixture.served, 1);
	fixture_turn();
	assert_int_equal(p[2]->signal, SIGKILL);
	assert_int_equal(p[1]->signal, 0);
	expect_report("/a", "out of memory in /a: its memory.max was set below what it uses\n");
	fake_end(p[2]);
	fixture_turn();
	assert_int_equal(p[1]->signal, SIGKILL);
	fake_end(p[1]);
	fixture_turn();
	assert_int_equal(p[0]->signal, 0);
	assert_int_equal(mc_load_full(request_of("/a")), 0);
}

static void as_in_version_1(void **state)
{
	struct fake_process *p;
	uint32_t m;
	json_t *word;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom_control\":\"1\"");
	p = join(100, "/a", 60 * M, &m);
	fixture_turn();
	word = fixture_get("/a", "memory.oom.policy");
	assert_string_equal(json_string_value(word), "wait");
	json_decref(word);
	assert_int_equal(fixture_row("/a", "memory.oom_control", "oom_kill_disable"), 1);
	assert_int_equal(fixture_row("/a", "memory.oom_control", "under_oom"), 0);
	mc_store_full(&pool_of(seg(), RESOURCE_MEMORY, 1)->waited, 10);
	assert_int_equal(fixture_row("/a", "memory.oom_control", "under_oom"), 1);
	set("/a", "\"memory.oom_control\":0");
	assert_int_equal(fixture_row("/a", "memory.oom_control", "oom_kill_disable"), 0);
	ask("/a", m, 10 * M);
	assert_int_equal(p->signal, SIGKILL);
	assert_int_equal(fixture_row("/a", "memory.oom_control", "oom_kill"), 1);
	fixture_refuse("set", "\"group\":\"/\",\"values\":{\"memory.oom_control\":\"1\"}", "EINVAL");
	fixture_refuse("set", "\"group\":\"/a\",\"values\":{\"memory.oom_control\":\"2\"}", "EINVAL");
}

/* ---- what precedes ----------------------------------------------------------------------------------------- */

static void first_it_is_told_to_end(void **state)
{
	struct fake_process *p;
	uint32_t m;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\",\"memory.oom.term\":2000");
	p = join(100, "/a", 60 * M, &m);
	fixture_turn();
	ask("/a", m, 10 * M);
	assert_int_equal(p->signal, SIGTERM);
	assert_int_equal(fixture_row("/a", "memory.events", "oom_kill"), 1);
	expect_report("/a", "told to end within 2000 ms, else killed: pid 100");
	fixture_pass(1900);
	assert_int_equal(p->signal, SIGTERM);
	fixture_pass(200);
	assert_int_equal(p->signal, SIGKILL);
	fake_end(p);
	fixture_turn();
	assert_int_equal(mc_load_full(request_of("/a")), 0);
	assert_int_equal(fixture_row("/a", "memory.events", "oom_kill"), 1);
	assert_int_equal(fixture_row("/a", "memory.events", "oom"), 1);
}

static void who_ends_when_told_is_not_killed(void **state)
{
	struct fake_process *p, *other;
	uint32_t m, o;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\",\"memory.oom.term\":2000");
	other = join(101, "/a", 10 * M, &o);
	p = join(100, "/a", 50 * M, &m);
	fixture_turn();
	ask("/a", o, 10 * M);
	assert_int_equal(p->signal, SIGTERM);
	fake_end(p);
	fixture_turn();
	assert_int_equal(other->signal, 0);
	assert_int_equal(mc_load_full(request_of("/a")), 0);
}

/* The hook is a real command; the clock of the daemon stands still meanwhile. */
static void turn_until(bool (*done)(void *), void *arg)
{
	for (int i = 0; i < 60000 && !done(arg); i++) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		fixture_turn();
	}
	assert_true(done(arg));
}

static bool was_signalled(void *arg)
{
	return ((struct fake_process *)arg)->signal != 0;
}

static bool is_answered(void *arg)
{
	return mc_load_full((mc_word *)arg) == 0;
}

static void the_hook_comes_first(void **state)
{
	char name[] = "/tmp/memctl-hook-XXXXXX", values[256], text[256] = "";
	struct fake_process *p;
	uint32_t m;
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	(void)snprintf(values, sizeof(values),
		       "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\",\"memory.oom.hook\":"
		       "\" echo $MEMCTL_OOM_GROUP $MEMCTL_OOM_LIMIT $MEMCTL_OOM_ASKED $MEMCTL_OOM_PID >%s \"",
		       name);
	make("/a", values);
	p = join(100, "/a", 60 * M, &m);
	fixture_turn();
	ask("/a", m, 10 * M);
	turn_until(was_signalled, p);
	assert_int_equal(p->signal, SIGKILL);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "/a 67108864 10485760 100\n");
	(void)close(fd);
	(void)unlink(name);
}

static void a_hook_that_makes_room_saves_all(void **state)
{
	struct fake_process *p;
	uint32_t m;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\",\"memory.oom.hook\":\"sleep 1000\"");
	p = join(100, "/a", 60 * M, &m);
	fixture_turn();
	ask("/a", m, 10 * M);
	fixture_pass(1000);
	assert_int_equal(p->signal, 0);
	set("/a", "\"memory.max\":\"80M\"");
	turn_until(is_answered, request_of("/a"));
	assert_int_equal(p->signal, 0);
}

static void a_hook_has_its_time_and_no_more(void **state)
{
	struct fake_process *p;
	uint32_t m;

	(void)state;
	make("/a", "\"memory.max\":\"64M\",\"memory.oom.policy\":\"kill\",\"memory.oom.hook\":\"sleep 1000\"");
	p = join(100, "/a", 60 * M, &m);
	fixture_turn();
	ask("/a", m, 10 * M);
	fixture_pass(HOOK_LIMIT_NS / 1000000 - 100);
	assert_int_equal(p->signal, 0);
	fixture_pass(200);
	assert_int_equal(p->signal, SIGKILL);
}

static void expect_text(const char *key, const char *text)
{
	json_t *value = fixture_get("/a", key);

	assert_string_equal(json_string_value(value), text);
	json_decref(value);
}

static void its_keys(void **state)
{
	char longest[300];

	(void)state;
	make("/a", "");
	expect_text("memory.oom.hook", "");
	expect_text("memory.oom.deadlock", "pass");
	set("/a", "\"memory.oom.hook\":\" a b \",\"memory.oom.deadlock\":\" refuse\\n\",\"memory.oom.term\":\"0x10\"");
	expect_text("memory.oom.hook", "a b");
	expect_text("memory.oom.deadlock", "refuse");
	set("/a", "\"memory.oom.hook\":\"\"");
	expect_text("memory.oom.hook", "");
	expect_text("memory.oom.deadlock", "refuse");
	fixture_refuse("set", "\"group\":\"/a\",\"values\":{\"memory.oom.term\":\"30001\"}", "EINVAL");
	fixture_refuse("set", "\"group\":\"/a\",\"values\":{\"memory.oom.term\":\"-1\"}", "EINVAL");
	fixture_refuse("set", "\"group\":\"/a\",\"values\":{\"memory.oom.deadlock\":\"passes\"}", "EINVAL");
	(void)snprintf(longest, sizeof(longest), "\"group\":\"/a\",\"values\":{\"memory.oom.hook\":\"%0244d\"}", 0);
	fixture_refuse("set", longest, "E2BIG");
	fixture_drop(fixture_do("remove", "\"group\":\"/a\""));
	make("/a", "");
	expect_text("memory.oom.deadlock", "pass"); /* not what an older group had set */
}

/* ---- a device's memory ------------------------------------------------------------------------------------- */

static unsigned region;

/* So many units of the region, and less of host memory than the others have. */
static struct fake_process *hold(pid_t pid, const char *group, uint64_t units, uint32_t *ret_member)
{
	struct fake_process *p = join(pid, group, (uint64_t)(1000 - pid), ret_member);

	if (units)
		fixture_charge_region(*ret_member, region, units);
	return p;
}

static mc_word *region_request_of(const char *group)
{
	uint16_t g;

	assert_int_equal(group_find(seg(), group, &g), 0);
	return &pool_of(seg(), region, g)->oom;
}

static void ask_region(const char *group, uint32_t member, uint64_t units)
{
	mc_store_full(region_request_of(group), (uint64_t)(member + 1) << 32 | units);
	fixture_turn();
}

static void of_a_region_the_largest_holder_is_killed(void **state)
{
	struct fake_process *p[5];
	uint32_t m[5];

	(void)state;
	region = fixture_region();
	make("/a", "\"dmem.max\":\"all 64M\",\"memory.oom.policy\":\"kill\"");
	make("/b", "");
	p[0] = hold(100, "/a", 0, &m[0]); /* most host memory, and nothing there */
	p[1] = hold(101, "/a", 10 * M, &m[1]);
	p[2] = hold(102, "/a", 40 * M, &m[2]);
	p[3] = hold(103, "/a", 50 * M, &m[3]);
	p[4] = hold(104, "/b", 900 * M, &m[4]);
	p[3]->oom_adj = -1000;
	fixture_turn();
	ask_region("/a", m[1], 10 * M);
	assert_int_equal(p[2]->signal, SIGKILL);
	assert_int_equal(p[0]->signal + p[1]->signal + p[3]->signal + p[4]->signal, 0);
	assert_int_equal(fixture_row("/a", "dmem.events", FIXTURE_REGION ".oom_kill"), 1);
	assert_int_equal(fixture_row("/a", "dmem.events", FIXTURE_REGION ".oom"), 1);
	assert_int_equal(fixture_row("/a", "memory.events", "oom_kill"), 0);
	expect_report("/a", "out of " FIXTURE_REGION " in /a: pid 101 (test) asked for 10.0 MiB\n"
			    "killed pid 102 (new-102) in /a: 40.0 MiB held, oom_score_adj 0\n"
			    "/a: dmem.current 100.0 MiB, high max, max 64.0 MiB: it refused\n"
			    "/: dmem.current 1000.0 MiB, high max, max max\n"
			    "3 members; the largest:\n");
}

/* A thousandth of 1 GiB for each. */
static void of_a_region_adj_is_a_share_of_the_device(void **state)
{
	struct fake_process *large, *small;
	uint32_t l, m;

	(void)state;
	region = fixture_region();
	make("/a", "\"dmem.max\":\"all 64M\",\"memory.oom.policy\":\"kill\"");
	large = hold(100, "/a", 50 * M, &l);
	small = hold(101, "/a", 14 * M, &m);
	small->oom_adj = 37; /* 37 MiB, and 9 more of 1024 than of 1000 */
	fixture_turn();
	ask_region("/a", l, 1 * M);
	assert_int_equal(small->signal, SIGKILL);
	assert_int_equal(large->signal, 0);
}

static void of_a_region_nobody_may_be_killed(void **state)
{
	struct fake_process *p, *other;
	uint32_t m, o;

	(void)state;
	region = fixture_region();
	make("/a", "\"dmem.max\":\"all 64M\",\"memory.oom.policy\":\"kill\"");
	p = hold(100, "/a", 50 * M, &m);
	other = hold(101, "/a", 0, &o);
	p->oom_adj = -1000;
	fixture_turn();
	ask_region("/a", m, 20 * M);
	assert_int_equal(p->signal + other->signal, 0);
	assert_int_equal(mc_load_full(region_request_of("/a")), (uint64_t)(m + 1) << 32);
	fixture_pass(400);
	assert_int_equal(mc_load_full(region_request_of("/a")), 0);
	ask_region("/a", m, 10 * M); /* there is room */
	assert_int_equal(mc_load_full(region_request_of("/a")), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_largest_is_killed_and_counted),
		TEST(nobody_else_while_the_victim_dies),
		TEST(who_does_not_die_is_not_waited_for_long),
		TEST(who_may_not_be_killed),
		TEST(without_need_nobody_is_killed),
		TEST(the_whole_group_goes),
		TEST(a_limit_below_usage_kills_until_it_fits),
		TEST(as_in_version_1),
		TEST(first_it_is_told_to_end),
		TEST(who_ends_when_told_is_not_killed),
		TEST(the_hook_comes_first),
		TEST(a_hook_that_makes_room_saves_all),
		TEST(a_hook_has_its_time_and_no_more),
		TEST(its_keys),
		TEST(of_a_region_the_largest_holder_is_killed),
		TEST(of_a_region_adj_is_a_share_of_the_device),
		TEST(of_a_region_nobody_may_be_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
