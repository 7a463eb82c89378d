/* SPDX-License-Identifier: MIT */
/* A private segment to test on: made in a directory of its own, with groups and members, gone at exit.
 *
 * What cannot be prepared ends the program (ground_bail); what is to be tested is the tests' business.
 * Members made here have invented pids: nothing in accounting/ looks at the processes themselves.
 */
#ifndef TESTS_LIB_GROUND_H
#define TESTS_LIB_GROUND_H

#include "accounting/settle.h"
#include "accounting/snapshot.h"
#include "accounting/stock.h"
#include "accounting/tree.h"

struct ground {
	char dir[64];
	struct segment seg;
	unsigned resource; /* what parties charge and the functions below look at; RESOURCE_MEMORY at first */
	uint32_t next_pid;
};

/* A member, its account in the ground's resource, and itself as an actor. */
struct party {
	struct actor by;
	uint32_t member;
	uint32_t account;
};

/* Ends the program: the test's own surroundings are not as they must be. */
void ground_bail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A new directory of mode 0700 on a tmpfs, and an empty segment in it. Removed by ground_down, or at
 * exit of the process that made it. One ground at a time. */
void ground_up(struct ground *g);
void ground_down(struct ground *g);

/* A directory as ground_up makes it, with nothing in it; and removal of one with the segment's files. */
void ground_make_dir(char *dir, size_t size);
void ground_remove_dir(const char *dir);

/* The group of `path`, made if need be with all above it; `max` in pages for memory. */
uint16_t ground_group(struct ground *g, const char *path, uint64_t max);
void ground_set_max(struct ground *g, uint16_t group, uint64_t max);

/* close, look for members, unlink: 0 or -EBUSY. As the daemon does it. */
int ground_remove_group(struct ground *g, uint16_t group);

struct party ground_join(struct ground *g, uint16_t group);
struct actor ground_daemon(struct ground *g);

uint64_t ground_usage(const struct ground *g, uint16_t group);
uint64_t ground_held(const struct ground *g, uint32_t account);
uint64_t ground_stock(const struct ground *g, uint32_t account);
struct pool *ground_pool(const struct ground *g, uint16_t group);
struct limits *ground_limits(const struct ground *g, uint16_t group);

/* True when usage = accounts + children for each group (I1). Says on stderr where it is not. */
bool ground_consistent(const struct ground *g);

/* True when consistent and nothing is charged anywhere. Says on stderr what is. */
bool ground_empty(const struct ground *g);

/* Room for what processes share in a test: zeroed memory that survives fork. */
void *ground_shared(size_t size);

/* A small, fast, seedable random number (xorshift); *state must not be 0. */
uint64_t ground_random(uint64_t *state);

#endif
