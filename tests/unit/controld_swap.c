/* SPDX-License-Identifier: MIT */
/* Swap as the daemon counts it, what memsw leaves of memory.max, paging out for members that
 * cannot, and what is read of smaps and taken by memory.reclaim. */
#include "tests/unit/giver_fixture.h"

#include "accounting/smaps.h"
#include "controld/key.h"
#include "controld/pager.h"
#include "controld/swap.h"

#include <errno.h>
#include <stdio.h>

#define PAGE 4096

static uint64_t max_of(const char *path)
{
	uint16_t group = 0;

	assert_int_equal(group_find(&fixture.served->seg, path, &group), 0);
	return pool_max(&fixture.served->seg, RESOURCE_MEMORY, group);
}

static void set(const char *group, const char *key, const char *value)
{
	char more[256];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{\"%s\":\"%s\"}", group, key, value);
	fixture_drop(fixture_do("set", more));
}

static void refuse(const char *group, const char *key, const char *value, const char *name)
{
	char more[256];

	(void)snprintf(more, sizeof(more), "\"group\":\"%s\",\"values\":{\"%s\":\"%s\"}", group, key, value);
	fixture_refuse("set", more, name);
}

/* A second passes: then everybody is looked at. */
static void look(void)
{
	fixture_pass(1000);
	fixture_pass(10);
}

static void what_is_in_swap_is_counted_where_its_owner_is(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_machine.swap = 1 << 20;
	giver_make_group("/a");
	giver_make_group("/a/b");
	(void)giver_join(100, "/a/b", 1000, 0);
	p = fake_find(100);
	look();
	assert_int_equal(fixture_number("/a", "memory.swap.current"), 0);
	p->usage.anon = 600;
	p->usage.swap = 400;
	look();
	assert_int_equal(fixture_number("/a", "memory.swap.current"), 400 * PAGE);
	assert_int_equal(fixture_number("/a/b", "memory.swap.current"), 400 * PAGE);
	assert_int_equal(fixture_number("/a/b", "memory.memsw.usage_in_bytes"), 1000 * PAGE);
	giver_make_group("/c"); /* it goes with its member, whatever stays behind */
	fixture_drop(fixture_do("move", "\"pid\":100,\"group\":\"/c\""));
	look();
	assert_int_equal(fixture_number("/a", "memory.swap.current"), 0);
	assert_int_equal(fixture_number("/c", "memory.swap.current"), 400 * PAGE);
	assert_int_equal(fixture_number("/", "memory.swap.current"), 400 * PAGE);
	assert_true(snapshot_consistent(&fixture.served->seg, RESOURCE_SWAP, NULL));
	fixture_drop(fixture_do("move", "\"pid\":100,\"group\":\"/a/b\""));
	p->usage.swap = 100;
	look();
	assert_int_equal(fixture_number("/a/b", "memory.swap.current"), 100 * PAGE);
	assert_true(fixture_number("/a/b", "memory.swap.peak") >= 400 * PAGE);
	set("/a/b", "memory.swap.peak", "0");
	assert_true(fixture_number("/a/b", "memory.swap.peak") < 200 * PAGE);
	fake_machine.swap = 0; /* switched off */
	p->usage.swap = 0;
	look();
	look();
	assert_int_equal(fixture_number("/", "memory.swap.current"), 0);
}

/* Charged by one who is about to page out so much: a look that finds it not gone yet leaves it
 * charged. */
static void what_is_about_to_go_stays_charged(void **state)
{
	const struct segment *seg;
	struct actor by;
	uint32_t a, ask;

	(void)state;
	fake_machine.swap = 1 << 20;
	giver_make_group("/a");
	a = giver_join(100, "/a", 1000, 0);
	seg = &fixture.served->seg;
	look();
	reclaim_ask_cold(seg, a, 256, reclaim_now());
	by = (struct actor){ .seg = seg, .open = &member_of(seg, a)->open, .member = a };
	charge_force(&by,
		     member_account_at(
			     seg, a,
			     (unsigned)member_account(seg, a, RESOURCE_SWAP, mc_load_full(&member_of(seg, a)->group))),
		     256, OVER_LAZY);
	look();
	assert_int_equal(member_held(seg, a, RESOURCE_SWAP), 256);
	(void)reclaim_take_cold(seg, a, &ask);
	reclaim_answer_cold(seg, a, ask);
	look();
	assert_int_equal(member_held(seg, a, RESOURCE_SWAP), 0);
}

static void memsw_leaves_less_memory(void **state)
{
	struct fake_process *p;

	(void)state;
	fake_machine.swap = 1 << 20;
	giver_make_group("/a");
	(void)giver_join(100, "/a", 1000, 0);
	p = fake_find(100);
	look();
	refuse("/a", "memory.memsw.limit_in_bytes", "4096000", "EINVAL"); /* memory has no limit */
	set("/a", "memory.limit_in_bytes", "8192000");
	refuse("/a", "memory.memsw.limit_in_bytes", "8187904", "EINVAL");
	set("/a", "memory.memsw.limit_in_bytes", "8192000");
	refuse("/a", "memory.limit_in_bytes", "8196096", "EINVAL");
	assert_int_equal(max_of("/a"), 2000);
	p->usage.anon = 700;
	p->usage.swap = 300;
	look();
	assert_int_equal(max_of("/a"), 1700);
	assert_int_equal(fixture_number("/a", "memory.max"), 2000 * PAGE);
	assert_int_equal(fixture_number("/a", "memory.limit_in_bytes"), 2000 * PAGE);
	set("/a", "memory.max", "4096000");
	assert_int_equal(max_of("/a"), 1000);
	set("/a", "memory.max", "8192000");
	assert_int_equal(max_of("/a"), 1700);
	assert_int_equal(fixture_number("/a", "memory.memsw.max_usage_in_bytes"), 1000 * PAGE);
	refuse("/", "memory.memsw.limit_in_bytes", "8192000", "EINVAL");
	set("/a", "memory.memsw.limit_in_bytes", "-1");
	assert_int_equal(max_of("/a"), 2000);
	assert_int_equal(fixture_number("/a", "memory.memsw.limit_in_bytes"), (long long)(PAGES_MAX * PAGE));
}

static void the_daemon_pages_out_for_who_cannot(void **state)
{
	uint32_t a;

	(void)state;
	fake_machine.swap = 1 << 20;
	fake_is_privileged = true;
	giver_make_group("/a");
	a = giver_join(100, "/a", 10000, 0);
	reclaim_listen(&fixture.served->seg, a, false);
	look();
	assert_int_equal(pager_begin(fixture.served, a, 5000, RECLAIM_SWAPPINESS_OWN), 0);
	fixture_pass(10);
	assert_true(pager_is_busy(fixture.served, a)); /* whether it is used shows after a while */
	assert_int_equal(fake_find(100)->usage.swap, 0);
	for (int i = 0; i < 20 && pager_is_busy(fixture.served, a); i++)
		fixture_pass(100);
	assert_false(pager_is_busy(fixture.served, a));
	assert_in_range(fake_find(100)->usage.swap, 5000, 5000 + 2048);
	assert_int_equal(mc_load_relaxed(&member_of(&fixture.served->seg, a)->reclaimed), fake_find(100)->usage.swap);
	assert_int_equal(fixture_number("/a", "memory.swap.current"), fake_find(100)->usage.swap * PAGE);
}

static void where_it_may_not_it_says_so_at_once(void **state)
{
	uint32_t a;

	(void)state;
	fake_machine.swap = 1 << 20;
	fake_is_privileged = false;
	giver_make_group("/a");
	a = giver_join(100, "/a", 10000, 0);
	look();
	assert_int_equal(pager_begin(fixture.served, a, 5000, RECLAIM_SWAPPINESS_OWN), 0);
	fixture_pass(1);
	assert_false(pager_is_busy(fixture.served, a));
	fake_is_privileged = true;
	set("/a", "memory.swap.max", "4096000"); /* 1000 pages */
	assert_int_equal(pager_begin(fixture.served, a, 5000, RECLAIM_SWAPPINESS_OWN), 0);
	for (int i = 0; i < 20; i++)
		fixture_pass(100);
	assert_int_equal(fake_find(100)->usage.swap, 1000);
	assert_int_equal(reclaim_may_page_out(&fixture.served->seg, a, RECLAIM_SWAPPINESS_OWN), 0);
	set("/a", "memory.swap.max", "max");
	assert_true(reclaim_may_page_out(&fixture.served->seg, a, RECLAIM_SWAPPINESS_OWN) > 0);
	assert_int_equal(reclaim_may_page_out(&fixture.served->seg, a, 0), 0);
	set("/a", "memory.swappiness", "0");
	assert_int_equal(reclaim_may_page_out(&fixture.served->seg, a, RECLAIM_SWAPPINESS_OWN), 0);
	assert_true(reclaim_may_page_out(&fixture.served->seg, a, 1) > 0);
	set("/a", "memory.charge", "commit");
	assert_int_equal(reclaim_may_page_out(&fixture.served->seg, a, 1), 0);
}

static void memory_reclaim_takes_swappiness(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t pages;
		int swappiness;
	} rows[] = {
		{ "4M", 0, 1024, RECLAIM_SWAPPINESS_OWN },
		{ "max", 0, PAGES_MAX, RECLAIM_SWAPPINESS_OWN },
		{ "4M swappiness=60", 0, 1024, 60 },
		{ " 4M \t swappiness=0\n", 0, 1024, 0 },
		{ "4M swappiness=200", 0, 1024, 200 },
		{ "max swappiness=max", 0, PAGES_MAX, 200 },
		{ "4M swappiness=201", -EINVAL, 0, 0 },
		{ "4M swappiness=-1", -EINVAL, 0, 0 },
		{ "4M swappiness=", -EINVAL, 0, 0 },
		{ "4M swappiness=6 0", -EINVAL, 0, 0 },
		{ "4Mswappiness=60", -EINVAL, 0, 0 },
		{ "swappiness=60", -EINVAL, 0, 0 },
		{ "4M 60", -EINVAL, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t pages = 0;
		int swappiness = 0;
		int err = key_parse_reclaim(rows[i].text, &pages, &swappiness);

		if (err != rows[i].err)
			print_error("'%s'\n", rows[i].text);
		assert_int_equal(err, rows[i].err);
		if (err)
			continue;
		assert_int_equal(pages, rows[i].pages);
		assert_int_equal(swappiness, rows[i].swappiness);
	}
}

/* ---- smaps ----------------------------------------------------------------------------------------------- */

static const char sample[] = "55a7f8790000-55a7f8792000 r--p 00000000 fe:00 11092837                   /usr/bin/x "
			     "[anon\n"
			     "Rss: 8 kB\nReferenced: 8 kB\nAnonymous: 0 kB\nVmFlags: rd mr mw me sd\n"
			     "55a7f87a2000-55a7f8862000 rw-p 00000000 00:00 0                          [heap]\n"
			     "Size: 768 kB\nRss: 300 kB\nReferenced: 4 kB\nAnonymous: 296 kB\nLazyFree: 8 kB\n"
			     "AnonHugePages: 20 kB\n"
			     "Swap: 12 kB\nSwapPss: 12 kB\nVmFlags: rd wr mr mw me ac sd\n"
			     "7f61b3000000-7f61b3800000 rw-p 00000000 00:00 0 \n"
			     "Rss: 8192 kB\nReferenced: 8192 kB\nAnonymous: 8192 kB\nSwap: 0 kB\nVmFlags: rd wr mr mw "
			     "me lo ac\n"
			     "7f61c4055000-7f61c787d000 rw-s 00000000 00:01 163804                     /dev/zero "
			     "(deleted)\n"
			     "Anonymous: 4 kB\nVmFlags: rd wr sh\n"
			     "7fff5838b000-7fff583ac000 rw-p 00000000 00:00 0                          [stack]\n"
			     "Anonymous: 16 kB\nVmFlags: rd wr gd\n";

static struct smaps_mapping seen[8];
static unsigned seen_count;

static void keep(const struct smaps_mapping *m, void *to)
{
	assert_ptr_equal(to, seen);
	assert_true(seen_count < 8);
	seen[seen_count++] = *m;
}

/* Whatever pieces it comes in. */
static void smaps_are_read(void **state)
{
	char text[SMAPS_TEXT_LEAST];

	(void)state;
	for (size_t size = 128; size <= sizeof(text); size += 61) {
		FILE *f = tmpfile();

		assert_non_null(f);
		assert_int_equal(fwrite(sample, 1, sizeof(sample) - 1, f), sizeof(sample) - 1);
		rewind(f);
		seen_count = 0;
		assert_int_equal(smaps_walk(fileno(f), text, size, keep, seen), 0);
		(void)fclose(f);
		assert_int_equal(seen_count, 5);
		assert_false(seen[0].is_anonymous || seen[3].is_anonymous || seen[4].is_anonymous);
		assert_true(seen[1].is_anonymous && seen[2].is_anonymous);
		assert_true(seen[2].is_fixed && !seen[1].is_fixed);
		assert_true(seen[1].start == 0x55a7f87a2000 && seen[1].end == 0x55a7f8862000);
		assert_int_equal(seen[1].resident, 74);
		assert_int_equal(seen[1].referenced, 1);
		assert_int_equal(seen[1].swapped, 3);
		assert_int_equal(seen[1].lazy_free, 2);
		assert_int_equal(seen[1].huge, 5);
		assert_int_equal(seen[2].huge, 0);
		assert_int_equal(seen[2].referenced, 2048);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_in_swap_is_counted_where_its_owner_is),
		TEST(what_is_about_to_go_stays_charged),
		TEST(memsw_leaves_less_memory),
		TEST(the_daemon_pages_out_for_who_cannot),
		TEST(where_it_may_not_it_says_so_at_once),
		cmocka_unit_test(memory_reclaim_takes_swappiness),
		cmocka_unit_test(smaps_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
