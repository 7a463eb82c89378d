/* SPDX-License-Identifier: MIT */
/* Scenes (stage.h) in front of a real daemon: numbers as `memctl get` has them, looked at when they are read.
 *
 * Backstage is a process of the kernel's world: it starts memctld in a directory of its own, makes /demo, and
 * answers what the scene asks, so that asking allocates nothing in those who are counted. A scene may fork as
 * it likes; one process of it asks at a time. It is over when all its processes have ended, all must end
 * with 0, and nothing may be charged then.
 */
#ifndef TESTS_PRELOAD_LIVE_H
#define TESTS_PRELOAD_LIVE_H

#include "tests/preload/stage.h"

struct live_scene {
	const char *name; /* argv[1] of the preloaded program */
	const char *sentence;
	int (*play)(void);
	const char *setting[4]; /* of the group, "memory.max=64M" */
};

/* main() of a program of such scenes; with a scene's name behind it, it plays that one alone. */
int live_main(int argc, char *argv[], const struct live_scene *scenes, unsigned n);

/* ---- inside a scene -------------------------------------------------------------------------------------- */

/* A key of /demo, "memory.current" or "memory.stat.over_lazy": its number, in bytes where it is a size. */
uint64_t live_get(const char *key);

/* Changes one: "memory.charge=commit". */
void live_set(const char *setting);

/* What the kernel says: the sum of Pss_Anon of all members of /demo, in bytes. */
uint64_t live_truth(void);

/* How many members there are. */
uint64_t live_members(void);

/* Waits until `key` is within `slack` bytes of `bytes`; false, with a line on stderr, when it never is. */
bool live_settles(const char *key, uint64_t bytes, uint64_t slack);
#define expect_settles(key, bytes, slack) \
	expect_at(live_settles((key), (bytes), (slack)), __LINE__, key " settles at " #bytes)

/* The same for memory.current and what the kernel says at that moment, within `slack` bytes and 1 %. */
bool live_is_true(uint64_t slack);
#define expect_true_within(slack) expect_at(live_is_true(slack), __LINE__, "memory.current is what the kernel counts")

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t live_now_ns(void);

#endif
