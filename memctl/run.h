/* SPDX-License-Identifier: MIT */
/* The parts of `memctl run`: the program, the group, the child, and what is said afterwards. */
#ifndef MEMCTL_RUN_H
#define MEMCTL_RUN_H

#include "accounting/layout.h"
#include "memctl/memctl.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- the program (run_target.c) ---------------------------------------------------------- */

struct run_target {
	char **argv;        /* ends with NULL */
	const char *name;   /* last part of argv[0] */
	bool carries;       /* it takes the preload library */
	bool keeps_preload; /* LD_PRELOAD stays in its environment, for what it starts */
	const char *words;  /* what is special about it, for people */
};

/* Finds the program and looks at it. 0, or SAY_RUN_NOT_FOUND, SAY_RUN_NOT_EXECUTABLE with a
 * sentence. */
int run_target_find(char **argv, struct run_target *ret);

/* Puts the preload library in front of LD_PRELOAD (or keeps it out), and says where COMMAND
 * belongs, in the environment of this process. 0, or SAY_RUN_FAILED with a sentence. */
int run_target_set_environment(const struct run_target *t, const char *dir, const char *group);

/* ---- the group (run_group.c) ------------------------------------------------------------- */

struct run_group {
	char path[GROUP_PATH_MAX];
	bool transient;
};

/* Makes the group `named`, or uses it when there is one, or makes /run-PID when it is NULL; makes
 * the settings. Negative errno with its sentence. */
int run_group_make(struct memctl *m, const char *named, bool keep, const char *const *settings,
		   struct run_group *ret);

/* Waits until so much is free in the group and all above it. -E2BIG: a limit is below that. */
int run_group_wait_for_room(struct memctl *m, const struct run_group *g, uint64_t need);

/* Cuts the last name off a path, in place; false for "/". */
bool run_group_up(char *path);

/* ---- the child (run_child.c) ------------------------------------------------------------- */

struct run_child {
	pid_t pid;
	int status; /* its exit status, or 128 + signal */
	int signal; /* 0: it exited */
};

/* Starts the program as a member of the group. 0; SAY_RUN_FAILED, SAY_RUN_NOT_FOUND or
 * SAY_RUN_NOT_EXECUTABLE with a sentence. From now on this process's signals wait. */
int run_child_start(const struct run_target *t, const char *dir, const char *group,
		    struct run_child *ret);

/* Waits until it has ended, passing signals on. It stays a zombie: its pid remains its own. */
void run_child_wait(struct run_child *c);

/* Waits (not for ever) until what it was charged with is taken back, then lets the zombie go. */
void run_child_settle(const struct run_child *c, struct memctl *m, const char *group);

/* ---- what it leaves behind (run_orphans.c) --------------------------------------------------- */

/* From now on processes whose parent ends become our children; or no longer. */
void run_orphans_adopt(bool on);

/* Lets ended orphans go. True when COMMAND has ended: its zombie stays, *ret_end says how. */
bool run_orphans_bury(pid_t command, siginfo_t *ret_end);

/* Waits (not for ever) until each is a member or has ended. */
void run_orphans_settle(struct memctl *m);

/* True while anything that COMMAND started is alive. */
bool run_orphans_are_left(void);

/* ---- the report (run_report.c) ----------------------------------------------------------- */

/* What the group and each above it say. */
struct run_level {
	uint64_t max, peak, failcnt;
	uint64_t oom;       /* charges refused at this group */
	uint64_t oom_below; /* and at those below it */
	uint64_t oom_kill;  /* members killed for want of memory, here and below */
};

struct run_levels {
	struct run_level level[GROUP_DEPTH_MAX + 1]; /* [0] is the group itself */
	unsigned n;                                  /* 0: they could not be read */
};

/* What a report is made of. */
struct run_report {
	const struct run_target *target;
	const struct run_group *group;
	const struct run_child *child;
	struct run_levels before, after;
	bool asked; /* --report */
	bool json;
	const char *file; /* NULL: stderr */
};

/* Reads all levels. What cannot be read above the group is left 0. */
void run_report_read(struct memctl *m, const char *group, struct run_levels *ret);

/* Prints it if it was asked for; else only when charges were refused. */
void run_report_print(struct memctl *m, const struct run_report *r);

#endif
