/* SPDX-License-Identifier: MIT */
/* The machine's memory nodes: which of them are short, and what of a process lies where.
 *
 * Pure: text in, numbers out; world.h reads the files. Where there is one node nobody looks. */
#ifndef CONTROLD_NUMA_H
#define CONTROLD_NUMA_H

#include <stdbool.h>
#include <stdint.h>

#define NUMA_NODES_MAX 16
#define NUMA_ANY (-1) /* instead of a node: wherever it lies */

/* Pages of private memory, by node. */
struct numa_spread {
	uint64_t pages[NUMA_NODES_MAX];
};

/* In pages. Available is what the kernel would have at once: free, and clean caches, roughly, as MemAvailable is. */
struct numa_node {
	uint64_t total, available;
};

/* Adds a line of /proc/PID/numa_maps, where it is of a mapping with private pages. */
void numa_add_mapping(struct numa_spread *sum, const char *line);

/* Adds a line of /sys/devices/system/node/node<N>/meminfo. */
void numa_add_meminfo(struct numa_node *node, const char *line);

void numa_add(struct numa_spread *sum, const struct numa_spread *other);

/* True when less than 1/part of it is available. A node without memory never is. */
bool numa_is_short(const struct numa_node *node, unsigned part);

/* The nodes to take memory from, one after the other until something comes: the one of which the smallest part is
 * available first, of equal ones the first. Of all nodes with memory where the machine is short as a whole, else of those
 * that are. Returns how many. */
unsigned numa_choose(const struct numa_node *node, unsigned n, unsigned part, bool is_machine_short,
		     uint8_t *ret_order);

#endif
