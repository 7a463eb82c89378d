/* SPDX-License-Identifier: MIT */
/* The runtime directory: private to its owner, served by one daemon at a time. */
#ifndef CONTROLD_RUNDIR_H
#define CONTROLD_RUNDIR_H

#include "controld/complaint.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RUNDIR_LOCK "memctld.lock"
#define RUNDIR_PID "memctld.pid"

struct rundir {
	char path[96]; /* short enough for a socket's address */
	int lock;      /* held as long as it is open */
	dev_t device;  /* of the directory, to notice that it was replaced */
	ino_t inode;
};

/* The directory where none is named: MEMCTL_DIR, else /run/memctl for root, else
 * /dev/shm/memctl-UID. */
void rundir_default(char *ret_path, size_t size);

/* Makes the directory if need be, checks that it is ours alone, takes the lock. -EBUSY: another
 * daemon serves it; else errno; each with its sentence. `ret` is untouched on failure. */
int rundir_open(const char *path, struct rundir *ret, struct complaint *why);

/* Writes memctld.pid; afterwards `memctl` knows whom to signal. */
int rundir_write_pid(const struct rundir *r, struct complaint *why);

/* True while the path still leads to the directory, and our lock's name is in it. */
bool rundir_is_there(const struct rundir *r);

/* True when `name` is a file in it. */
bool rundir_has(const struct rundir *r, const char *name);

/* Takes a file away; a missing one is fine. */
void rundir_remove(const struct rundir *r, const char *name);

/* Gives the lock up. Files stay. */
void rundir_close(struct rundir *r);

#endif
