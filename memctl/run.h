/* SPDX-License-Identifier: MIT */
/* The parts of `memctl run`: the program, the group, the child, and what is said afterwards. */
#ifndef MEMCTL_RUN_H
#define MEMCTL_RUN_H

#include "accounting/keep.h"
#include "memctl/memctl.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- the program (run_target.c) ---------------------------------------------------------- */

struct run_target {
	char **argv;	    /* ends with NULL */
	const char *name;   /* last part of argv[0] */
	bool carries;	    /* it takes the preload library */
	bool keeps_preload; /* LD_PRELOAD stays in its environment, for what it starts */
	const char *words;  /* what is special about it, for people */
	bool on_device;	    /* it takes the library for device memory, too */
};

/* Finds the program and looks at it. 0, or SAY_RUN_NOT_FOUND, SAY_RUN_NOT_EXECUTABLE with a
 * sentence. */
int run_target_find(char **argv, struct run_target *ret);

/* Puts the preload library in front of LD_PRELOAD (or keeps it out), and says where COMMAND
 * belongs, in the environment of this process. 0, or SAY_RUN_FAILED with a sentence. */
int run_target_set_environment(const struct run_target *t, const char *dir, const char *group);

/* ---- device memory (run_device.c) --------------------------------------------------------- */

/* True when COMMAND is to have the library for device memory: there is a device, or the group or one above it limits
 * one, or MEMCTL_DEVICE=on; never with MEMCTL_DEVICE=off. */
bool run_device_is_wanted(struct memctl *m, const char *group);

/* Its path. NULL: not installed. */
const char *run_device_library(void);

/* ---- the group (run_group.c) ------------------------------------------------------------- */

struct run_group {
	char path[GROUP_PATH_MAX];
	bool transient;
};

/* Makes the group `named`, or uses it when there is one, or makes /run-PID when it is NULL; makes
 * the settings. Negative errno with its sentence. */
int run_group_make(struct memctl *m, const char *named, bool keep, const char *const *settings, struct run_group *ret);

/* Cuts the last name off a path, in place; false for "/". */
bool run_group_up(char *path);

/* ---- the room it needs (run_keep.c) --------------------------------------------------------- */

#define KEEP_LOOK_MS 20

struct run_keep {
	struct segment seg;
	struct keep keep;
	uint64_t need; /* pages */
	bool is_open;
};

/* Waits until `need` bytes are free in the group and all above it, and keeps them. -E2BIG: a limit is below
 * that. Negative errno with its sentence. */
int run_keep_wait(struct memctl *m, const struct run_group *g, uint64_t need, struct run_keep *ret);

/* What COMMAND has charged by now is no longer kept. False when nothing is kept any more: then there is nothing
 * to be looked at. */
bool run_keep_follow(struct run_keep *k);

/* Keeps nothing any more. All zero, or closed already, is fine. */
void run_keep_close(struct run_keep *k);

/* ---- the child (run_child.c) ------------------------------------------------------------- */

struct run_child {
	pid_t pid;
	int status; /* its exit status, or 128 + signal */
	int signal; /* 0: it exited */
};

/* Starts the program as a member of the group. 0; SAY_RUN_FAILED, SAY_RUN_NOT_FOUND or
 * SAY_RUN_NOT_EXECUTABLE with a sentence. From now on this process's signals wait. */
int run_child_start(const struct run_target *t, const char *dir, const char *group, struct run_child *ret);

/* Waits until it has ended, passing signals on, and meanwhile looks after what is kept for it. It stays a zombie:
 * its pid remains its own. */
void run_child_wait(struct run_child *c, struct run_keep *keep);

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

/* ---- call sites (run_profile.c) ------------------------------------------------------------ */

struct run_profile {
	bool asked;
	const char *file; /* NULL: text on stderr */
	const char *rate; /* NULL: the default */
	uint64_t since_ns;
};

/* What COMMAND starts will record its call sites. 0, or SAY_RUN_FAILED with a sentence. */
int run_profile_start(struct run_profile *p);

/* Writes what was recorded. With `was_short`, and where a file takes it, the ten largest sites go to stderr too. */
void run_profile_write(const struct run_profile *p, const char *group, bool was_short);

/* ---- the report (run_report.c) ----------------------------------------------------------- */

/* What the group and each above it say. */
struct run_level {
	uint64_t max, peak, failcnt;
	uint64_t oom;	    /* charges refused at this group */
	uint64_t oom_below; /* and at those below it */
	uint64_t oom_kill;  /* members killed for want of memory, here and below */
	uint64_t over;	    /* charges above memory.max that could not be refused, here and below */
	bool fails;	    /* memory.oom.policy is fail: what `oom` counts was refused */
};

struct run_levels {
	struct run_level level[GROUP_DEPTH_MAX + 1]; /* [0] is the group itself */
	unsigned n;				     /* 0: they could not be read */
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

/* False, errno set: its file cannot be opened. To be known before COMMAND has run for hours. */
bool run_report_can_be_written(const struct run_report *r);

/* Prints it if it was asked for; else only when charges were refused, a limit did not hold, members were killed, or
 * waited for each other. */
void run_report_print(struct memctl *m, const struct run_report *r);

/* True when charges were refused, members were killed, or waited for each other. */
bool run_report_was_short(const struct run_report *r);

#endif
