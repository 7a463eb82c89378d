/* SPDX-License-Identifier: MIT */
/* One segment as the daemon serves it: its members' pidfds, its bell, its private lists.
 * All of it can be rebuilt from the segment: nothing here is missed after a kill -9. */
#ifndef CONTROLD_SERVED_H
#define CONTROLD_SERVED_H

#include "accounting/charge.h"
#include "controld/complaint.h"
#include "controld/world.h"

#include <pthread.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct census_file;
struct daemon;
struct heirs;
struct history;
struct notify;
struct pager;
struct reclaim;
struct report;
struct scarcity;
struct stalls;

/* What was seen of a member's memory; residency.c's. In pages. */
struct look {
	uint64_t at_ns, due_ns; /* the last, the next; 0: never */
	uint64_t period_ns;
	uint64_t total;			/* what it should hold */
	uint64_t anon;			/* private pages, shared copies in full */
	struct world_resident resident; /* in this turn */
	uint64_t missing;		/* resident, but the last look could not charge it */
	uint64_t untouched;		/* held above total after the last look */
	uint64_t excess;		/* the same at excess_ns */
	uint64_t excess_ns;
	uint64_t discount;	/* of anon: what relatives pay for, as of the last rollup */
	uint64_t born_ns;	/* when it was seen first */
	uint64_t leaving_ns;	/* when it was first seen to leave */
	bool has_part;		/* it was rolled up with its family; family.c's */
	uint64_t rolled;	/* the discount that a rollup under way has found */
	uint64_t discount_held; /* the discount, and what it paid for of shared objects, when it was last settled */
	uint64_t paid;
	uint64_t taken_over; /* by others, since then */
	uint64_t faults;
	bool is_chosen; /* in this turn */
	bool is_seen;	/* resident is of this turn */
};

/* What the daemon knows of a member slot; all zero: nothing. */
struct watch {
	struct served *served;
	sd_event_source *source; /* owns the pidfd */
	uint64_t start_time;	 /* with pid, whose slot this was when we looked */
	uint32_t pid;
	uint32_t next_dead;	/* slot + 1, in served.dead_first's list */
	uint64_t bare_since_ns; /* EXECING, and the segment is not mapped, since then; 0: it is */
	uint64_t execing_since_ns;
	uint64_t killed_ns; /* when it was killed for want of memory; 0: it was not */
	bool is_dead;
	struct look look;
};

/* A group that goes when its last member has gone. */
struct transient {
	uint16_t group;
	uint32_t generation;
	const void *holder; /* the connection that made it; NULL: closed */
};

struct served {
	struct served *next;
	struct daemon *daemon;
	struct segment seg;
	struct actor actor; /* the daemon's own charges */
	dev_t device;	    /* identity of the file "counters" */
	ino_t inode;

	struct watch *watch; /* by member slot */
	uint32_t dead_first; /* slot + 1 of the members that died since the last turn */
	uint32_t seen_changed;
	bool must_scan;	       /* look at all slots at the next turn */
	uint64_t next_look_ns; /* when a stage wants the next turn at the latest; 0: it does not */

	struct shmem *shmem;   /* who shares memory with whom; shmem.c's */
	struct family *family; /* members that share pages; family.c's */

	struct pager *pagers;	   /* at work; pager.c's */
	struct reclaim *reclaims;  /* under way; reclaim.c's */
	struct scarcity *scarcity; /* soft limits; scarcity.c's */
	struct report *reports;	   /* of kills, the last first; report.c's */
	struct stalls *stalls;	   /* memory.pressure; stall.c's */
	struct {
		uint64_t due_ns, asked_ns, looked_ns;
		uint16_t looked_group;
		bool is_any, had_any; /* the machine has swap; it had at the last look */
	} swap;			      /* swap.c's */
	struct notify *notify;	      /* subscriptions; NULL: none yet; notify.c's */

	struct census_file *census; /* the last one; census.c's */
	struct history *history;    /* of all groups; history.c's */
	struct heirs *heirs;	    /* of devices' memory; heirs.c's */

	uint64_t observe_due_ns; /* when observe.c looks again, and from which member on */
	uint32_t observe_from;
	struct loading *loading; /* who may be about to join by himself; observe.c's */

	struct transient *transient;
	uint32_t transient_count, transient_room;
	bool is_lingering; /* groups were unlinked since the last sweep */

	pthread_t bell_thread;
	sd_event_source *bell_source;
	int bell_fd;	    /* eventfd; the bell thread writes, the loop reads */
	uint32_t bell_seen; /* the thread's, once it runs */
	mc_word32 bell_stop;
};

/* Maps the segment in `dir`, made if there is none, put in order if another daemon left it. Errors
 * with a sentence. The caller frees it with served_free. */
int served_open(struct daemon *d, const char *dir, struct served **ret, struct complaint *why);

/* Unmaps and frees; the files stay. NULL is fine. */
void served_free(struct served *s);

/* A stage wants a turn at `at_ns` at the latest. */
void served_want_turn(struct served *s, uint64_t at_ns);

/* True while both files of the segment lie in its directory: others can attach it. */
bool served_is_in_place(const struct served *s);

/* True when nobody is in it. Looks at the slots, not at what was seen last. */
bool served_is_empty(const struct served *s);

/* The next used member slot from `from` on, MEMBER_NIL at the end. The one place that walks
 * them. */
uint32_t served_next_member(const struct served *s, uint32_t from);

/* Makes room for one more element. 0 or -ENOMEM. */
int served_grow(void **array, uint32_t count, uint32_t *room, size_t size);

#endif
