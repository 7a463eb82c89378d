/* SPDX-License-Identifier: MIT */
/* The environment variables that carry membership from a process to its children. */
#ifndef PRELOAD_ENVIRONMENT_H
#define PRELOAD_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

#define ENVIRONMENT_VALUE_MAX 1200

/* What this image was started with; empty strings where it was not set. Filled once by
 * environment_start, before the program can change anything. */
struct environment {
	char dir[200];			     /* MEMCTL_DIR, or the default */
	char group[ENVIRONMENT_VALUE_MAX];   /* MEMCTL_GROUP */
	char preload[ENVIRONMENT_VALUE_MAX]; /* our own entry of LD_PRELOAD */
	char device[ENVIRONMENT_VALUE_MAX];  /* that of the library for device memory */
};

extern struct environment environment;

/* Reads the variables; false while libc has no environment yet. Idempotent, signal-safe. */
bool environment_start(void);

/* False when the next image would look for our library in vain, as after chroot: the dynamic linker complains of it. */
bool environment_is_reachable(void);

/* A copy of an environment for a new image, on the caller's stack. */
struct environment_copy {
	char **env;	/* NULL-terminated; entries point into the original or below */
	size_t entries; /* capacity of env */
	char library[ENVIRONMENT_VALUE_MAX];
	char preload[ENVIRONMENT_VALUE_MAX * 3];
	char group[ENVIRONMENT_VALUE_MAX + 16];
	char dir[216];
};

/* Entries that a copy needs at most for `env` (which may be NULL). */
size_t environment_entries(char *const env[]);

/* Fills copy->env (of copy->entries entries) with env, and sees to it that our library is first of
 * LD_PRELOAD and the group known (`preloadable`), or that our library is not there at all. Values the
 * program set for MEMCTL_* itself are kept; MEMCTL_ALLOCATOR, where env has it, says which library of ours
 * it is. Where LD_PRELOAD is too long to be copied, it stays. */
void environment_fill(struct environment_copy *copy, char *const env[], bool preloadable);

#endif
