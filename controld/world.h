/* SPDX-License-Identifier: MIT */
/* The outside world as the daemon's stages see it: tests bring their own. */
#ifndef CONTROLD_WORLD_H
#define CONTROLD_WORLD_H

#include "accounting/smaps.h"
#include "controld/numa.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* What a process has mapped, told by its /proc/PID/maps. */
enum world_image {
	IMAGE_ATTACHED, /* our segment */
	IMAGE_LOADING,	/* the preload library, not the segment (yet) */
	IMAGE_BARE,	/* neither; also when we may not look, as after a setuid exec */
};

/* What of a process is resident, in pages: cheap to ask. */
struct world_resident {
	uint64_t anon;	 /* private; copies shared with relatives count in full */
	uint64_t shared; /* of files and of shared memory */
	uint64_t size;	 /* of its addresses */
};

/* What of a process is in memory, in pages. */
struct world_usage {
	uint64_t anon; /* private */
	uint64_t file;
	uint64_t swap;
	uint64_t locked;
	uint64_t stack; /* the main thread's */
};

/* The machine, in pages. */
struct world_host {
	uint64_t total, available;
	uint64_t swap; /* of all its swap areas */
};

/* A mapping with a file behind it, as in /proc/PID/maps; in bytes. */
struct world_mapping {
	uint64_t start, end, offset;
	dev_t device;
	ino_t inode;
	const char *path; /* valid for the time of the call alone */
};

typedef void world_take_child(pid_t child, uint64_t start_time, void *to);

typedef void world_take_mapping(const struct world_mapping *m, void *to);

/* A System V segment's inode number is its id, which another object of the same device may have too. */
static inline bool world_is_sysv(const struct world_mapping *m)
{
	return strncmp(m->path, "/SYSV", 5) == 0;
}

/* How an object was measured last, for the next time; all zero at first. See mapped.h. */
enum world_way_kind {
	WAY_UNKNOWN,
	WAY_MAP_FILES,
	WAY_SYSV,
	WAY_PATH,
	WAY_DESCRIPTOR,
	WAY_NONE,
};

struct world_way {
	enum world_way_kind kind;
	pid_t pid; /* DESCRIPTOR: whose */
	int fd;
};

/* All functions return 0 or a descriptor, and negative errno; -ESRCH: there is no such process. */
struct world {
	uint64_t (*now_ns)(void); /* CLOCK_MONOTONIC */
	int (*pidfd_open)(pid_t pid);
	int (*pidfd_signal)(int pidfd, int signal);
	int (*start_time)(pid_t pid, uint64_t *ret_ticks);
	int (*usage)(pid_t pid, struct world_usage *ret);
	int (*resident)(pid_t pid, struct world_resident *ret);
	/* Its pages in swap; what relatives share is divided where it `shares`. */
	int (*swapped)(pid_t pid, bool shares, uint64_t *ret_pages);
	/* Its mappings as smaps has them: walks all pages. */
	int (*used)(pid_t pid, smaps_take *take, void *to);
	/* process_madvise. -EPERM: we may not. */
	int (*advise)(pid_t pid, uint64_t start, uint64_t size, int advice);
	/* Page faults served without a disk, since the process began. */
	int (*faults)(pid_t pid, uint64_t *ret);
	uint64_t (*spent_ns)(void); /* processor time of this thread */
	int (*host)(struct world_host *ret);
	/* The machine's memory nodes, by number; how many there are. */
	int (*nodes)(struct numa_node *ret, unsigned most);
	/* Its private pages by node: walks all pages. */
	int (*spread)(pid_t pid, struct numa_spread *ret);
	/* Processor time of all its threads. */
	int (*ran_ns)(pid_t pid, uint64_t *ret_ns);
	/* /proc/PID/oom_score_adj. */
	int (*oom_adj)(pid_t pid, int *ret);
	/* Its part of private pages: each divided by how many processes share it; of `sharers` in all. Walks all
	 * pages. */
	int (*proportional)(pid_t pid, unsigned sharers, uint64_t *ret_pages);
	/* `counters` is the identity of the segment's file. */
	int (*image)(pid_t pid, dev_t device, ino_t counters, enum world_image *ret);
	int (*comm)(pid_t pid, char ret_comm[16]);
	/* All children that are not about to become somebody else. */
	int (*children)(pid_t pid, world_take_child *take, void *to);
	/* All mappings with a file, by address. */
	int (*mappings)(pid_t pid, world_take_mapping *take, void *to);
	/* True when the files of a device, known to `pid`, lie in memory and nowhere else. */
	int (*is_memory)(pid_t pid, dev_t device, bool *ret);
	/* Pages in memory of the object behind a mapping of `pid`. -ENODATA: no way to ask is open to us. */
	int (*object)(const struct world_mapping *m, pid_t pid, struct world_way *way, uint64_t *ret_pages);
	/* Sets a bit, from bit `first` on, for each page of an object that is in this process's page table. */
	int (*touched)(pid_t pid, uint64_t start, uint64_t pages, uint64_t first, uint64_t *bits);
};

extern const struct world world_real;

#endif
