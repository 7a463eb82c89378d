/* SPDX-License-Identifier: MIT */
/* The outside world as the daemon's stages see it: tests bring their own. */
#ifndef CONTROLD_WORLD_H
#define CONTROLD_WORLD_H

#include <stdint.h>
#include <sys/types.h>

/* What a process has mapped, told by its /proc/PID/maps. */
enum world_image {
	IMAGE_ATTACHED, /* our segment */
	IMAGE_LOADING,  /* the preload library, not the segment (yet) */
	IMAGE_BARE,     /* neither; also when we may not look, as after a setuid exec */
};

/* What of a process is resident, in pages: cheap to ask. */
struct world_resident {
	uint64_t anon;   /* private; copies shared with relatives count in full */
	uint64_t shared; /* of files and of shared memory */
};

/* What of a process is in memory, in pages. */
struct world_usage {
	uint64_t anon; /* private */
	uint64_t file;
	uint64_t swap;
};

/* All functions return 0 or a descriptor, and negative errno; -ESRCH: there is no such process. */
struct world {
	uint64_t (*now_ns)(void); /* CLOCK_MONOTONIC */
	int (*pidfd_open)(pid_t pid);
	int (*pidfd_signal)(int pidfd, int signal);
	int (*start_time)(pid_t pid, uint64_t *ret_ticks);
	int (*usage)(pid_t pid, struct world_usage *ret);
	int (*resident)(pid_t pid, struct world_resident *ret);
	/* Its part of private pages: each divided by how many processes share it. Walks all pages. */
	int (*proportional)(pid_t pid, uint64_t *ret_pages);
	/* `counters` is the identity of the segment's file. */
	int (*image)(pid_t pid, dev_t device, ino_t counters, enum world_image *ret);
	int (*comm)(pid_t pid, char ret_comm[16]);
};

extern const struct world world_real;

#endif
