/* SPDX-License-Identifier: MIT */
/* Every struct in the segment: THE contract between members, the daemon and readers.
 *
 * Two files in the runtime directory, created at full (sparse) size and never resized:
 *
 *   limits     written by the daemon alone, mapped read-only by members: groups, names, limits.
 *   counters   written by all: pools, accounts, members, the bell. A wild write in an application can
 *              spoil a count here; it cannot raise a limit or break the tree.
 *
 * No pointers, only indices. Whatever changes here changes LAYOUT_VERSION; the hash of all sizes is
 * checked when a process maps the segment, so that two builds never share one by mistake.
 *
 * Every shared field says how it is synchronized:
 *   const     written before the ready flag or before its slot is published, then never again
 *   daemon    written by the daemon alone; readers may be a little behind
 *   owner     written by the process that owns the slot
 *   [On]      an ordered pair, see ARCHITECTURE.md "Memory orders"
 *   relaxed   a statistic
 */
#ifndef ACCOUNTING_LAYOUT_H
#define ACCOUNTING_LAYOUT_H

#include "accounting/atomic.h"

#define LAYOUT_VERSION 6u
#define LIMITS_MAGIC 0x6d656d63746c4c31ull   /* "memctlL1" */
#define COUNTERS_MAGIC 0x6d656d63746c4331ull /* "memctlC1" */
#define SEGMENT_READY 0x72656164u

#define GROUPS_MAX 65535u
#define MEMBERS_MAX 32768u
#define ACCOUNTS_MAX 131072u
#define GROUP_DEPTH_MAX 16
#define GROUP_NAME_MAX 63
#define GROUP_PATH_MAX (GROUP_DEPTH_MAX * (GROUP_NAME_MAX + 1) + 1)
#define RESOURCES_MAX 16
#define REGION_NAME_MAX 79
#define REGION_ADDRESS_MAX 31
#define MEMBER_TOLD_MAX 2
#define MEMBER_ACCOUNTS_MAX 15 /* the ledger has four bits for the account */

#define GROUP_ROOT 0u
#define GROUP_NIL 0xffffu
#define MEMBER_NIL 0xffffffffu

#define MC_PAGE_SHIFT 12
#define MC_PAGE_SIZE (1ull << MC_PAGE_SHIFT)
/* The kernel's PAGE_COUNTER_MAX: what "max" is in pages. */
#define PAGES_MAX (INT64_MAX / MC_PAGE_SIZE)

enum resource {
#define RESOURCE(id, name, unit, sentence) RESOURCE_##id,
#include "accounting/resources.def"
#undef RESOURCE
	RESOURCE_REGION_FIRST /* device regions from here to RESOURCES_MAX */
};

enum class {
#define CLASS(id, name, sentence) CLASS_##id,
#include "accounting/classes.def"
#undef CLASS
	CLASSES
};

enum event {
#define EVENT(id, name, sentence) EVENT_##id,
#include "accounting/events.def"
#undef EVENT
	EVENTS
};

enum over {
#define OVER(id, name, sentence) OVER_##id,
#include "accounting/overs.def"
#undef OVER
	OVERS
};

/* ---- limits: read-only to members -------------------------------------------------------------- */

enum group_state {
	GROUP_FREE,
	GROUP_LIVE,
	GROUP_DYING,   /* a removal looks for members; becomes LIVE again or GONE */
	GROUP_GONE,    /* has no name any more but is still charged */
	GROUP_COOLING, /* nothing charged; used again after the next recount, see group_sweep */
};
enum oom_policy { OOM_FAIL, OOM_KILL, OOM_WAIT };
enum oom_deadlock { DEADLOCK_PASS, DEADLOCK_REFUSE, DEADLOCK_WAIT }; /* of members that wait for each other */
enum charge_mode { CHARGE_RESIDENT, CHARGE_COMMIT };
enum region_view { VIEW_VIRTUAL, VIEW_REAL };

struct group {
	mc_word32 state;	       /* sync: [O4] with member.state at join */
	uint32_t generation;	       /* sync: daemon; raised each time the slot is used again */
	mc_word16 parent;	       /* sync: const while not FREE */
	mc_word16 first_child;	       /* sync: daemon, under tree_seq; 0 none: the root is nobody's child */
	mc_word16 next_sibling;	       /* sync: daemon, under tree_seq */
	mc_word16 next_in_hash;	       /* sync: daemon, under tree_seq */
	uint8_t depth;		       /* sync: const while not FREE; root 0 */
	uint8_t oom_policy;	       /* sync: daemon; enum oom_policy */
	uint8_t oom_group;	       /* sync: daemon */
	uint8_t charge_mode;	       /* sync: daemon; enum charge_mode */
	uint8_t swappiness;	       /* sync: daemon */
	uint8_t move_charge;	       /* sync: daemon; bit 0 anon, bit 1 file */
	uint8_t transient;	       /* sync: daemon; removed when the last member has gone */
	uint8_t view;		       /* sync: daemon; enum region_view */
	char name[GROUP_NAME_MAX + 1]; /* sync: const while not FREE; root "" */
};

struct limits {
	mc_word min, low, high, max, soft; /* sync: daemon; max: [O3] with pool.word; resource units */
	mc_word memsw;	  /* sync: daemon; memory's: what usage and swap together shall not pass; 0 is no limit */
	mc_word told_max; /* sync: daemon; memory's: the max that was set while memsw leaves less than that in max */
	mc_word arm;	  /* sync: daemon [O10]; up (32) | down (32): who makes usage >= up (0: none) or < down tells
			   * the daemon, see arm.h */
};

struct limits_header {
	uint64_t magic;
	uint32_t version;
	uint32_t layout_hash;
	mc_word32 ready;	/* sync: release after everything else, acquire at attach */
	uint32_t daemon_pid_ns; /* sync: daemon; inode of the pid namespace in which members' pids count */
	mc_word32 tree_seq;	/* sync: daemon; odd while the tree is being changed */
	mc_word32 groups_used;	/* sync: daemon; high-water mark of group slots */
	uint64_t instance;	/* sync: const; random, tells two segments of one directory apart */
	mc_word32 groups_gone;	/* sync: daemon; slots that are GONE or COOLING */
	mc_word32 tell_at;	/* sync: daemon; members that end from then on (ms of CLOCK_MONOTONIC) fill in
				 * member.told; 0: nobody */
	mc_word32 watched;	/* sync: daemon; a bit for each enum mark_reason that somebody wants to be told of */
	uint32_t unused;
	struct {
		mc_word32 used; /* sync: release when registered */
		uint32_t unit;
		mc_word capacity; /* sync: daemon; bytes, 0 unknown */
		char name[REGION_NAME_MAX + 1];
		char address[REGION_ADDRESS_MAX + 1]; /* of a device: where it is plugged in; orders aliases */
	} region[RESOURCES_MAX];		      /* the first rows are those of resources.def; see region.h */
};

#define GROUP_OOM_HOOK_MAX 244

/* What precedes a kill in a group. Where `generation` is not the group's: nothing, it was of an older one. */
struct group_oom {
	mc_word32 generation;	       /* sync: release, after the rest; the group's, + 1 */
	mc_word32 term_ms;	       /* sync: relaxed; between SIGTERM and SIGKILL, 0 no SIGTERM */
	mc_word32 deadlock;	       /* sync: relaxed; enum oom_deadlock */
	char hook[GROUP_OOM_HOOK_MAX]; /* sync: daemon; a command, "" none */
};

#define GROUP_HASH_SIZE 65536u

/* The file "limits". */
struct limits_map {
	struct limits_header header;
	_Alignas(4096) struct group group[GROUPS_MAX + 1];
	_Alignas(4096) mc_word16 hash[GROUP_HASH_SIZE]; /* sync: daemon, under tree_seq */
	_Alignas(4096) struct group_oom oom[GROUPS_MAX + 1];
	_Alignas(4096) struct limits limits[RESOURCES_MAX][GROUPS_MAX + 1];
};

/* ---- counters: writable by all ------------------------------------------------------------------- */

#define POOL_USAGE_BITS 49
#define EPOCH_BITS 14
/* Where a resource's epochs begin: words of accounts of two resources never look alike by chance. */
#define EPOCH_FIRST(resource) ((uint64_t)(resource) << 9) /* all newer than 0, an unused word's */

/* pool.word = busy(1) | epoch(14) | usage(49); see charge.h for the protocol. */
struct pool {
	mc_word word;	       /* sync: compare-and-swap by everybody [O1] [O2] [O3] */
	mc_word32 stocked;     /* sync: full; an account below took stock since the last drain [O5] */
	mc_word32 waited;      /* sync: full; somebody waits for room here [O9] */
	mc_word peak;	       /* sync: relaxed; highest usage since the last reset */
	mc_word oom;	       /* sync: compare-and-swap; member + 1 (32) | pages (32): who asks for a kill; 0 nobody;
				* pages 0: the daemon's answer to him for a moment, nobody may be killed */
	mc_word memsw_peak;    /* sync: relaxed, daemon; memory's: usage and swap together */
	mc_word memsw_failcnt; /* sync: relaxed, daemon; memory's: of failcnt, what memsw's limit refused */
	mc_word memsw_seen;    /* sync: relaxed, daemon; failcnt when that was told apart last */
	mc_word effort;	       /* sync: full; scanned (32) | reclaimed (32): what reclaim for this limit looked for
				* and got, in units, since the daemon took it; see effort.h */

	mc_word failcnt;       /* sync: relaxed; charges refused here */
	mc_word event[EVENTS]; /* sync: relaxed; this group and all below */

	mc_word event_local[EVENTS]; /* sync: relaxed; this group alone */
	mc_word refused_units;	     /* sync: relaxed; the last refused charge */

	mc_word32 over[OVERS];	  /* sync: relaxed; this group alone, by cause; modulo 2^32 */
	mc_word32 refused_member; /* sync: relaxed; whose it was */
	mc_word32 refused_pid;	  /* sync: relaxed */
	mc_word refused_comm[2];  /* sync: relaxed; 16 bytes of name, outlives the member */
	uint64_t unused[2];
};

/* account.word = epoch(14) | held(36) | stock(14).
 * account.meta = generation(32) | resource(8) | inherited(1) | slot(7) | group(16): written at each claim, so that
 * whoever drains an account can tell that it belongs to somebody else by now. */
struct account {
	mc_word word;	  /* sync: compare-and-swap by everybody; the linearization point of each charge */
	mc_word meta;	  /* sync: full; const while claimed */
	mc_word32 member; /* sync: compare-and-swap; member + 1, 0 free */
	mc_word32 unused;
	mc_word absent;		/* sync: relaxed; charged when asked for, but not held: found untouched since */
	mc_word class[CLASSES]; /* sync: relaxed; asked for, by class; exact when no ticket is open */
	mc_word surplus;	/* sync: relaxed; held, but not charged when asked for: found touched since */
	mc_word stall_ns;	/* sync: relaxed; a region's: time that its member's threads waited for room in it */
	uint64_t unused1[10 - CLASSES];
};

enum member_state {
	MEMBER_FREE,	 /* slot is free */
	MEMBER_CLAIMED,	 /* its process is filling it in */
	MEMBER_LIVE,	 /* a preloaded process */
	MEMBER_OBSERVED, /* a process that could not be preloaded; the daemon charges what it sees */
	MEMBER_DEAD,	 /* its charges are being settled */
};

enum member_flag {
	MEMBER_PARTIAL = 1,    /* something of this process cannot be accounted */
	MEMBER_EXECING = 2,    /* between an exec call and its outcome: the daemon must look */
	MEMBER_FOREIGN = 4,    /* pid is of the daemon's namespace, told by SO_PEERCRED */
	MEMBER_RESTRICTED = 8, /* may not use the daemon's rights (setuid image) */
	MEMBER_SHARES = 16,    /* maps or attached memory that others may share */
	MEMBER_FORKED = 32,    /* this image began by a fork: it shares private pages with its family */
	MEMBER_KEEPS = 64,     /* CLAIMED: it keeps room for its descendants, see keep.h */
	MEMBER_GIVES_UP = 128, /* it has given memory up by MADV_FREE: without swap, too, it has some to give */
	MEMBER_LEAVES = 256, /* its last destructor has given back what it held: what is still resident goes with it */
	MEMBER_PARTIAL_HIP = 512, /* beside PARTIAL: it has device memory by HIP, which is passed on */
	MEMBER_PARTIAL_ZE = 1024, /* the same by Level Zero */
};

/* One process. Key: pid and start time; the start time is what tells a reused pid. */
struct member {
	mc_word state;	      /* sync: [O4]; compare-and-swap; pid(32) | enum member_state(8) in one word:
			       * a slot whose claimer dies at once still says whose it is */
	mc_word start_time;   /* sync: const while not FREE; clock ticks after boot, /proc/PID/stat field 22 */
	mc_word32 open;	      /* sync: full; slow paths under way in this process */
	mc_word32 flags;      /* sync: atomic or/and; enum member_flag */
	mc_word16 group;      /* sync: daemon or joiner; where new charges go */
	mc_word16 asked;      /* sync: joiner; the group its environment named: a later image that names
			       * another one asks for a change, whereas the daemon changes group alone */
	mc_word32 generation; /* sync: relaxed; raised at each claim */
	mc_word32 account[MEMBER_ACCOUNTS_MAX]; /* sync: release when claimed; account + 1, 0 none */
	mc_word32 family; /* sync: relaxed; the same for all that fork made of one image: they share pages */
	mc_word refused;  /* sync: relaxed; charges refused to this process */
	char comm[16];	  /* sync: relaxed bytes; a name for people */
	mc_word offset;	  /* sync: relaxed, daemon; what it pays for less what is resident of it as private
			   * pages, in pages, signed: shared objects, less pages that relatives pay for */

	mc_word purgeable; /* sync: relaxed; pages of the heap that are charged and free, signed */

	/* Asking it for pages, see reclaim.h; times in ms of CLOCK_MONOTONIC. */
	mc_word32 ask;	    /* sync: futex [O8]; raised by whoever wants pages of it */
	mc_word32 answered; /* sync: full; the value of `ask` that was met last */
	mc_word32 answers;  /* sync: owner; 1: a thread of it listens */
	mc_word32 asked_at; /* sync: relaxed; when the oldest ask came that is not answered yet */
	mc_word wanted;	    /* sync: full; pages that were asked for and not looked at yet */
	mc_word scanned;    /* sync: relaxed; pages that reclaim looked at, since it joined */
	mc_word reclaimed;  /* sync: relaxed; and that it gave back */
	mc_word stall_ns;   /* sync: relaxed; time its threads waited for memory, all together */

	/* Its largest shared anonymous mappings when it ended, where header.tell_at asks for them. */
	struct told {
		mc_word start; /* sync: release, after pages; address, 0 none */
		mc_word pages; /* sync: relaxed; resident of what is mapped there, by whomever */
	} told[MEMBER_TOLD_MAX];

	/* Asking it to page out what it does not use, see reclaim.h. */
	mc_word cold_wanted;	 /* sync: full; pages asked for and not looked at yet [O8] */
	mc_word32 cold_ask;	 /* sync: full; raised with each such ask */
	mc_word32 cold_answered; /* sync: full; the value of cold_ask that was met last */

	mc_word32 asked_for; /* sync: relaxed; the group whose limit was hit, + 1; 0: whoever asks books the effort */
	mc_word32 shrinkers; /* sync: relaxed; not 0: functions of the program may give something, nobody knows what */
	mc_word droppable;   /* sync: relaxed; pages that the program lets be dropped */

	mc_word leave;	      /* sync: full; the daemon's word to one of those that wait for each other, see plea.h */
	mc_word device_leave; /* sync: full; the same for a region of a device */

	/* Asking it for memory of devices, see evict.h. */
	mc_word device_wanted;	   /* sync: full; units asked for and not looked at yet [O8] */
	mc_word32 device_regions;  /* sync: full; and of which regions, a bit for each resource [O8] */
	mc_word32 device_ask;	   /* sync: full; raised with each such ask */
	mc_word32 device_answered; /* sync: full; the value of device_ask that was met last */
	mc_word32 device_asked_at; /* sync: relaxed; when the oldest one came that is not answered yet */
	mc_word32 device_gives;	   /* sync: owner; a bit for each region in which its drivers may keep something */
	uint32_t unused2;
	uint64_t unused3[3];
};

struct counters_header {
	uint64_t magic;
	uint32_t version;
	uint32_t layout_hash;
	mc_word32 ready;
	mc_word32 families;	      /* sync: relaxed; the last number given to a family */
	uint64_t instance;	      /* sync: const; same as in limits */
	mc_word32 daemon_open;	      /* sync: full; slow paths of the daemon under way */
	mc_word32 daemon_pid;	      /* sync: relaxed; 0 none */
	mc_word32 accounts_used;      /* sync: [O7]; high-water mark of account slots */
	mc_word32 members_used;	      /* sync: full; high-water mark of member slots */
	mc_word32 account_hint;	      /* sync: relaxed; where the next search for a free account begins */
	mc_word32 member_hint;	      /* sync: relaxed; where the next search for a free member slot begins */
	mc_word epoch[RESOURCES_MAX]; /* sync: compare-and-swap [O1]; recounting(1) | relabel(49) |
				       * epoch(14), see recount.c */
	mc_word32 keepers;	      /* sync: full; how many slots have begun to keep room for others, see keep.h */

	/* The bell: whoever wants the daemon to look adds one; see bell.h. A line of its own. */
	_Alignas(64) mc_word32 bell; /* sync: futex */
	mc_word32 bell_waiting;	     /* sync: full; the daemon sleeps on bell */
	mc_word32 members_changed;   /* sync: full; somebody joined, left or is about to exec */

	/* What waiters for room sleep on; see reclaim.h. A line of its own. */
	_Alignas(64) mc_word32 gave; /* sync: futex; somebody gave pages back on purpose, or made room */

	/* What the daemon's notifier sleeps on; see mark.h. A line of its own. */
	_Alignas(64) mc_word32 marked; /* sync: futex [O11] */
	mc_word32 marked_waiting;      /* sync: full; the notifier sleeps on marked */
};

/* Why the daemon shall look at a group; a bit in limits_header.watched where anybody wants to know. */
enum mark_reason {
	MARK_CROSSED,  /* usage is beyond an arming word */
	MARK_COUNTED,  /* an event was counted */
	MARK_STRAINED, /* reclaim has filled a window */
	MARKS
};

/* A bit for each group, and one for each word of those bits. */
struct marks {
	mc_word some[(GROUPS_MAX + 1) / 64 / 64]; /* sync: full [O11] */
	mc_word group[(GROUPS_MAX + 1) / 64];	  /* sync: full [O11] */
};

/* The file "counters". Host resources come first: a member maps only what it uses. */
struct counters_map {
	struct counters_header header;
	_Alignas(4096) struct member member[MEMBERS_MAX];
	/* By pid modulo its size: slot + 1 of a member that may be the one; a hint, 0 if certainly none.
	 * sync: compare-and-swap; set by a joiner, cleared with his slot. */
	_Alignas(4096) mc_word32 member_of_pid[MEMBERS_MAX];
	_Alignas(4096) struct marks marks[MARKS];
	_Alignas(4096) struct account account[ACCOUNTS_MAX];
	_Alignas(4096) struct pool pool[RESOURCES_MAX][GROUPS_MAX + 1];
};

_Static_assert((EPOCH_FIRST(RESOURCES_MAX - 1)) < 1u << (EPOCH_BITS - 1), "a fresh word must look older");
_Static_assert(sizeof(struct group) == 88, "layout");
_Static_assert(sizeof(struct group_oom) == 256, "layout");
_Static_assert(sizeof(struct limits) == 64, "layout");
_Static_assert(sizeof(struct pool) == 256, "layout");
_Static_assert(sizeof(struct account) == 128, "layout");
_Static_assert(sizeof(struct member) == 320, "layout");
_Static_assert(RESOURCES_MAX <= 16, "a bit for each in 32, and four bits of member.device_leave");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free across processes");
_Static_assert(CLASSES <= 6, "the ledger has three bits for the class");

#endif
