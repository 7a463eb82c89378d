/* SPDX-License-Identifier: MIT */
/* Memory nodes: what the kernel says of them, read; and which of them is taken from. */
#include "tests/lib/unit.h"

#include "controld/world.h"

#include "accounting/layout.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what is read ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *line;
	uint64_t first, second, fourth;
} mappings[] = {
	{ "7f5c40000000 default anon=9 dirty=9 active=0 N0=5 N1=4 kernelpagesize_kB=4\n", 5, 4, 0 },
	{ "7f5c40000000 default anon=9 dirty=9 N3=9 kernelpagesize_kB=4\n", 0, 0, 9 },
	{ "55d0c0a1b000 default heap anon=33 dirty=33 N0=33 kernelpagesize_kB=4\n", 33, 0, 0 },
	{ "7ffc0a3e2000 interleave:0-1 stack anon=4 dirty=4 N0=2 N1=2 kernelpagesize_kB=4\n", 2, 2, 0 },
	{ "7f0000000000 default anon=2 dirty=2 N1=2 kernelpagesize_kB=2048\n", 0, 1024, 0 }, /* huge pages */
	{ "7f5c3fe00000 default file=/usr/lib/libc.so.6 mapped=300 N0=300 kernelpagesize_kB=4\n", 0, 0, 0 },
	{ "7f5c3fe00000 default file=/usr/lib/libc.so.6 anon=10 dirty=10 mapped=40 N0=20 N1=20 kernelpagesize_kB=4\n",
	  5, 5, 0 },
	{ "7f5c3fe00000 default file=/tmp/N1=7\\040N0=8 anon=1 dirty=1 N0=1 kernelpagesize_kB=4\n", 1, 0, 0 },
	{ "7f5c3fe00000 default\n", 0, 0, 0 },
	{ "7f5c3fe00000 default anon=5 dirty=5 N99=5 kernelpagesize_kB=4\n", 0, 0, 0 }, /* more than we know of */
	{ "", 0, 0, 0 },
};

static void mappings_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mappings); i++) {
		struct numa_spread sum = { { 1, 1, 1, 1 } };

		numa_add_mapping(&sum, mappings[i].line);
		if (sum.pages[0] != 1 + mappings[i].first || sum.pages[1] != 1 + mappings[i].second ||
		    sum.pages[2] != 1 || sum.pages[3] != 1 + mappings[i].fourth)
			fail_msg("%s: %d %d %d %d", mappings[i].line, (int)sum.pages[0], (int)sum.pages[1],
				 (int)sum.pages[2], (int)sum.pages[3]);
	}
}

static void nodes_are_read(void **state)
{
	static const char *const lines[] = {
		"Node 1 MemTotal:       24684092 kB\n", "Node 1 MemFree:        22759824 kB\n",
		"Node 1 MemUsed:         1924268 kB\n", "Node 1 Active:           613212 kB\n",
		"Node 1 Inactive:         400000 kB\n", "Node 1 Active(anon):      13212 kB\n",
		"Node 1 Inactive(anon):        0 kB\n", "Node 1 Active(file):     600000 kB\n",
		"Node 1 Inactive(file):   400000 kB\n", "Node 1 SReclaimable:      40000 kB\n",
	};
	struct numa_node node = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		numa_add_meminfo(&node, lines[i]);
	assert_int_equal(node.total, 24684092 / 4);
	assert_int_equal(node.available, (22759824 + 600000 + 400000 + 40000) / 4);
}

static void this_machine_is_read(void **state)
{
	struct numa_node node[NUMA_NODES_MAX];
	struct numa_spread before, after;
	const size_t size = 16 << 20;
	uint64_t grown = 0;
	char *p;
	int n = world_real.nodes(node, NUMA_NODES_MAX);

	(void)state;
	assert_in_range(n, 1, NUMA_NODES_MAX);
	assert_true(node[n - 1].total != 0);
	for (int i = 0; i < n; i++)
		assert_true(node[i].available <= node[i].total);
	assert_int_equal(world_real.spread(getpid(), &before), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	memset(p, 1, size);
	assert_int_equal(world_real.spread(getpid(), &after), 0);
	for (int i = 0; i < n; i++)
		grown += after.pages[i] - before.pages[i];
	assert_in_range(grown, size >> MC_PAGE_SHIFT, (size >> MC_PAGE_SHIFT) + 64);
	(void)munmap(p, size);
	assert_int_equal(world_real.spread(0x7ffffff0, &after), -ESRCH);
}

/* ---- what is chosen ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct numa_node node[4];
	bool is_machine_short;
	const char *order;
} choices[] = {
	{ "nothing is short", { { 100, 50 }, { 100, 6 } }, false, "" },
	{ "one is", { { 100, 50 }, { 100, 4 } }, false, "1" },
	{ "5 % is enough", { { 100, 5 }, { 100, 50 } }, false, "" },
	{ "two are, the shortest first", { { 100, 4 }, { 100, 50 }, { 100, 2 } }, false, "20" },
	{ "by part, not by size", { { 1000, 40 }, { 100, 3 } }, false, "10" },
	{ "the machine is: all", { { 100, 50 }, { 100, 40 }, { 100, 60 } }, true, "102" },
	{ "equal ones as they come", { { 100, 50 }, { 100, 50 }, { 100, 50 } }, true, "012" },
	{ "those without memory never", { { 0, 0 }, { 100, 50 }, { 0, 0 }, { 100, 50 } }, true, "13" },
};

static void the_shortest_is_chosen(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(choices); i++) {
		uint8_t order[NUMA_NODES_MAX];
		char text[NUMA_NODES_MAX + 1] = "";
		unsigned n = numa_choose(choices[i].node, 4, 20, choices[i].is_machine_short, order);

		for (unsigned j = 0; j < n; j++)
			text[j] = (char)('0' + order[j]);
		if (strcmp(text, choices[i].order) != 0)
			fail_msg("%s: '%s'", choices[i].name, text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_are_read),
		cmocka_unit_test(nodes_are_read),
		cmocka_unit_test(this_machine_is_read),
		cmocka_unit_test(the_shortest_is_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
