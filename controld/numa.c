/* SPDX-License-Identifier: MIT */
/* The machine's memory nodes. */
#include "controld/numa.h"

#include "accounting/layout.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The number behind " name=", 0 where there is none. */
static uint64_t number(const char *line, const char *name)
{
	const char *at = strstr(line, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* "7f00 default anon=9 dirty=9 N0=5 N1=4 kernelpagesize_kB=4"; of a file that was written to privately anon is less than
 * what the nodes have together. A file's name has no blanks: the kernel writes \040. */
void numa_add_mapping(struct numa_spread *sum, const char *line)
{
	uint64_t anon = number(line, " anon="), kib = number(line, " kernelpagesize_kB=");
	uint64_t all = number(line, " mapped=");
	uint64_t scale = kib > MC_PAGE_SIZE / 1024 ? kib * 1024 / MC_PAGE_SIZE : 1;
	char *end;

	if (!anon)
		return;
	for (const char *p = strchr(line, ' '); p; p = strchr(p + 1, ' ')) {
		unsigned long node;
		uint64_t pages;

		if (p[1] != 'N' || !isdigit((unsigned char)p[2]))
			continue;
		node = strtoul(p + 2, &end, 10);
		pages = *end == '=' ? strtoull(end + 1, NULL, 10) : 0;
		if (all > anon)
			pages = (uint64_t)((unsigned __int128)pages * anon / all);
		if (node < NUMA_NODES_MAX)
			sum->pages[node] += pages * scale;
	}
}

/* "Node 0 MemFree:        22759824 kB" */
void numa_add_meminfo(struct numa_node *node, const char *line)
{
	static const char *const available[] = { " MemFree:", " Active(file):", " Inactive(file):", " SReclaimable:" };

	node->total += number(line, " MemTotal:") * 1024 / MC_PAGE_SIZE;
	for (unsigned i = 0; i < sizeof(available) / sizeof(available[0]); i++)
		node->available += number(line, available[i]) * 1024 / MC_PAGE_SIZE;
}

void numa_add(struct numa_spread *sum, const struct numa_spread *other)
{
	for (unsigned i = 0; i < NUMA_NODES_MAX; i++)
		sum->pages[i] += other->pages[i];
}

bool numa_is_short(const struct numa_node *node, unsigned part)
{
	return node->available < node->total / part;
}

/* A smaller part of a is available than of b. */
static bool is_worse(const struct numa_node *a, const struct numa_node *b)
{
	return (unsigned __int128)a->available * b->total < (unsigned __int128)b->available * a->total;
}

unsigned numa_choose(const struct numa_node *node, unsigned n, unsigned part, bool is_machine_short, uint8_t *ret_order)
{
	unsigned chosen = 0;

	for (unsigned i = 0; i < n && i < NUMA_NODES_MAX; i++) {
		unsigned at = chosen;

		if (!node[i].total || (!is_machine_short && !numa_is_short(&node[i], part)))
			continue;
		for (; at > 0 && is_worse(&node[i], &node[ret_order[at - 1]]); at--)
			ret_order[at] = ret_order[at - 1];
		ret_order[at] = (uint8_t)i;
		chosen++;
	}
	return chosen;
}
