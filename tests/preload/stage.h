/* SPDX-License-Identifier: MIT */
/* Scenes that programs under the preload library play: a test program starts itself again, preloaded, in
 * a group of its own, and looks afterwards that nothing is left charged.
 *
 * A scene is one TAP case. It runs in a process of its own with LD_PRELOAD=$MEMCTL_PRELOAD (tools/env sets
 * that), says what is wrong by expect(), and may look into the segment by way of stage_held.
 */
#ifndef TESTS_PRELOAD_STAGE_H
#define TESTS_PRELOAD_STAGE_H

#include "tests/lib/ground.h"

#include <sys/types.h>

#define STAGE_GROUP "/demo"
#define STAGE_DEADLINE 120 /* seconds; then a scene hangs */
#define STAGE_SKIP 77	   /* a scene's exit status */
#define STAGE_MIB(n) ((uint64_t)(n) << 20 >> MC_PAGE_SHIFT)

/* The backstage side: a segment without a daemon, in which this pid namespace counts. */
struct stage {
	struct ground ground;
	uint16_t group;
};

struct scene {
	const char *name; /* argv[1] of the preloaded program */
	const char *sentence;
	int (*play)(void);
	uint64_t max; /* pages; 0: no limit */
};

void stage_up(struct stage *s, uint64_t max);
void stage_down(struct stage *s);

/* Starts argv[0] as a member of the group; `conf` (may be NULL) becomes MALLOC_CONF. */
pid_t stage_start(const struct stage *s, char *const argv[], const char *conf);

/* Waits at most STAGE_DEADLINE seconds, then kills. The wait status. */
int stage_wait(pid_t pid);

/* Settles dead members, as the daemon does. */
void stage_reap(const struct stage *s);

/* Reaps until nobody is left; true when nothing is charged anywhere. */
bool stage_is_empty(const struct stage *s);

/* Members that are present; in state `state` if that is not MEMBER_FREE. */
unsigned stage_members(const struct stage *s, enum member_state state);

/* Waits until condition(arg) or the deadline; false then. */
bool stage_until(bool (*condition)(void *arg), void *arg);

/* Plays one scene, and prints its TAP line. */
void stage_play(const struct scene *scene, char *const more[], const char *conf, const char *note);

/* main() of a program that has scenes only. */
int stage_main(int argc, char *argv[], const struct scene *scenes, unsigned n);

/* The path of this program. */
const char *stage_self(void);

/* ---- inside a scene -------------------------------------------------------------------------------------- */

/* What the program was started with: 0 the scene's name, then what was given to stage_play. NULL: no more. */
char *stage_argument(unsigned n);

/* The segment of this process's environment, read-only. */
const struct segment *stage_segment(void);

/* Pages held in the group; in one class. */
uint64_t stage_held(void);
uint64_t stage_class(enum class class);

/* What one process holds; its state as a member, MEMBER_FREE when it is none. */
uint64_t stage_held_by(pid_t pid);
enum member_state stage_state_of(pid_t pid);

/* Says what is wrong, and makes the scene fail. Allocates nothing. */
void expect_at(bool good, int line, const char *text);
#define expect(good) expect_at((good), __LINE__, #good)

/* The same for numbers. */
void expect_equal_at(uint64_t a, uint64_t b, int line, const char *text);
#define expect_equal(a, b) expect_equal_at((uint64_t)(a), (uint64_t)(b), __LINE__, #a " == " #b)

/* What a scene returns: 1 when an expectation was not met. */
int stage_verdict(void);

#endif
