/* SPDX-License-Identifier: MIT */
/* Shared objects, who maps them, and who shares: the tables behind shmem.h.
 *
 * shmem_object.c keeps them, shmem_read.c fills in what a member maps, shmem_walk.c compares page tables, shmem.c
 * measures and decides when. Only the daemon's loop calls any of it. */
#ifndef CONTROLD_SHMEM_OBJECT_H
#define CONTROLD_SHMEM_OBJECT_H

#include "controld/daemon.h"
#include "controld/served.h"
#include "controld/world.h"

#define DEVICES_MAX 32
#define OBJECT_PAGES_MAX (1ull << 28) /* beyond the first 1 TiB page tables are not compared */

/* Part of an object in a member's addresses. In bytes. */
struct range {
	uint64_t start, end, offset;
};

/* A member that maps an object. */
struct use {
	struct object *object;
	struct use *next;	     /* of the same member */
	struct use *older, *younger; /* of the same object */
	uint32_t member;
	bool is_seen; /* in the reading that is under way */
	uint64_t since_ns, start_time;
	struct range *range; /* at least one */
	uint32_t ranges, room;
	uint64_t *touched; /* a bit for each page of the object in its page table, as of the last
			      walk */
	uint64_t words;
	uint64_t shared; /* the member's shared pages then */
	uint64_t walked_ns, walk_cost_ns;
};

struct object {
	dev_t device;
	ino_t inode;
	bool is_sysv;
	bool must_walk; /* nobody tells its size: page tables are compared */
	char *path;
	struct use *first, *last; /* by age: the first pays */
	struct use *current;	  /* of the member that is being read */
	uint64_t pages;
	uint64_t asked_ns, ask_again_ns;
	struct world_way way;
	/* Of walked objects only. */
	uint64_t *touched; /* a bit for each page known to be resident */
	uint64_t words;
	uint64_t count; /* of these bits */
	uint64_t floor; /* how many pages there were when somebody told last, less what was lost
			   since */
};

/* What is known of a member; by slot. */
struct sharer {
	struct use *uses;
	uint64_t read_ns, read_cost_ns; /* its mappings */
	uint64_t size, shared;		/* what it had then */
	uint64_t last_shared;		/* and when it was measured last */
	uint64_t seen_shared;		/* and at the last look */
	uint64_t measured_ns, measure_cost_ns;
	uint32_t family; /* tells an image from the next */
	bool is_known;
};

struct device {
	dev_t device;
	bool is_memory;
	uint64_t until_ns;
};

struct shmem {
	void *objects; /* a tree, tsearch(3) */
	struct sharer *sharer;
	uint32_t readers, walkers;   /* sharers and uses, for their parts of a processor */
	unsigned share;		     /* SHARE, or SHARE_ASKED while somebody waits */
	uint64_t turn_ns, walked_ns; /* which turn it is, and how long walks took in it */
	struct device device[DEVICES_MAX];
	unsigned devices;
	ino_t limits;  /* the segment's other file */
	bool is_short; /* of memory, and it was said */
};

static inline const struct world *shmem_world(const struct served *s)
{
	return s->daemon->world;
}

static inline pid_t shmem_pid(const struct served *s, uint32_t member)
{
	return (pid_t)s->watch[member].pid;
}

/* ---- keeping (shmem_object.c) ---- */

/* The object behind a mapping, made if need be. NULL: no memory. One without users must be ended. */
struct object *shmem_get_object(struct served *s, const struct world_mapping *m);
void shmem_end_object(struct served *s, struct object *o);

/* What is resident of it; who pays is looked at again when that has changed. */
void shmem_set_pages(struct served *s, struct object *o, uint64_t pages);
void shmem_set_walked_pages(struct served *s, struct object *o);

/* A member's use of an object, without a range yet. NULL: no memory. Dropping the last one ends the object; the
 * caller has taken it off the member's list. */
struct use *shmem_add_use(struct served *s, uint32_t member, struct object *o, uint64_t now_ns);
void shmem_drop_use(struct served *s, struct use *u);

/* 0 or -ENOMEM. */
int shmem_add_range(struct use *u, const struct world_mapping *m);

/* No memory: said once; it stays uncounted until the next reading. */
void shmem_say_short(struct served *s);

/* Whether what was done at `at_ns` by one of `crowd`, and cost `cost_ns`, may be done again. */
bool shmem_is_rested(const struct served *s, uint64_t at_ns, uint64_t cost_ns, uint32_t crowd, uint64_t now_ns);

/* ---- reading what a member maps (shmem_read.c) ---- */

bool shmem_must_read(const struct served *s, const struct sharer *sharer, const struct world_resident *has,
		     uint64_t now_ns);

/* Where it may not be looked at, it maps nothing that we know of. */
void shmem_read(struct served *s, uint32_t member, const struct world_resident *has, uint64_t now_ns);

/* ---- comparing page tables (shmem_walk.c) ---- */

/* Walks the pages of this use where they may have changed; who has to wait is looked at soon again. */
void shmem_walk(struct served *s, struct use *u, uint64_t now_ns);

/* Forgets what walks have found: somebody tells the object's size. */
void shmem_end_walks(struct served *s, struct object *o);

#endif
