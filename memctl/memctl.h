/* SPDX-License-Identifier: MIT */
/* libmemctl: groups of processes, their memory and limits, by way of the daemon memctld.
 *
 * contract   Functions return 0 (or what is said here) or a negative errno; results are untouched
 *            on failure. memctl_error() then has one sentence for people: what failed and why.
 *            A struct memctl may be used by several threads; requests through it take turns.
 *            After fork the child must not use it, and opens its own.
 *            A daemon that went away is started again by the next call; groups outlive it.
 *            A callback that returns other than 0 ends the walk, and its value is the result.
 *            What it is given lives until it returns.
 * groups     Paths from "/": names [A-Za-z0-9._@:+-]{1,63}, at most 16 deep.
 * settings   "KEY=VALUE" strings, a NULL at the end, as `memctl set` takes them: "memory.max=64M".
 * errors     -EINVAL     a bad path, key, size or option      -ENOENT   no such group or key
 *            -EBUSY      members or groups are in the way     -EEXIST   the group exists
 *            -EPERM      not yours, or not allowed            -ENOSPC   the directory is full
 *            -EOPNOTSUPP not in this version                  -EPROTO   another version
 *            -ENOTCONN   no daemon, and none was or could be started
 *            -ECONNRESET the daemon ended in the middle: did it take effect? unknown
 *            -ETIMEDOUT  the daemon does not answer
 */
#ifndef MEMCTL_H
#define MEMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* What "max" is as a number. */
#define MEMCTL_MAX UINT64_MAX

struct memctl;

/* ---- connection -------------------------------------------------------------------------- */

#define MEMCTL_NO_START 1u /* do not start a daemon: -ENOTCONN when none runs */

/* Connects to the daemon of the runtime directory `dir` (NULL: $MEMCTL_DIR, else /run/memctl for
 * root and /dev/shm/memctl-<uid> for others). Starts one when none runs. -EPERM: the directory
 * belongs to somebody else; -EACCES: it is open to others. */
int memctl_open(const char *dir, unsigned flags, struct memctl **ret);

/* Closes; NULL is ignored. A transient group goes when its members have gone. */
void memctl_close(struct memctl *m);

/* A sentence about the calling thread's last failed call; "" when there was none. Lives until the
 * next one. */
const char *memctl_error(void);

/* The runtime directory, and the daemon's process. */
const char *memctl_dir(const struct memctl *m);
pid_t memctl_daemon_pid(struct memctl *m);

/* The library's version, "0.1.0". */
const char *memctl_version(void);

/* ---- groups ------------------------------------------------------------------------------ */

#define MEMCTL_TRANSIENT 1u /* create: goes with its last member once the connection is closed */
#define MEMCTL_PARENTS 2u   /* create: makes what is missing above; all or nothing */
#define MEMCTL_RECURSIVE 4u /* remove, list: with all that lies below */
#define MEMCTL_LOCAL 8u	    /* members: of this group alone, not of those below */

/* Makes a group with these settings (NULL: none), or nothing at all. */
int memctl_create(struct memctl *m, const char *group, unsigned flags, const char *const *settings);

/* Removes a group. -EBUSY with members, or with groups below it and no MEMCTL_RECURSIVE. */
int memctl_remove(struct memctl *m, const char *group, unsigned flags);

/* Changes all these settings, or none. */
int memctl_set(struct memctl *m, const char *group, const char *const *settings);

/* Makes members of `group` and below give `size` ("64M", "max") back; *ret_bytes (may be NULL) is what they gave.
 * -EAGAIN: it was less; the sentence says how much. Takes a second at most. */
int memctl_reclaim(struct memctl *m, const char *group, const char *size, uint64_t *ret_bytes);

/* One number, word or line of a key. */
struct memctl_value {
	const char *key;   /* "memory.events" */
	const char *field; /* "oom"; NULL when the key is a single value */
	const char *text;  /* as text: "1048576", "max", "commit" */
	uint64_t number;   /* MEMCTL_MAX for "max" */
	bool is_number;	   /* false: `text` is a word; `number` is MEMCTL_MAX for "max", else 0 */
};

typedef int memctl_value_fn(const struct memctl_value *value, void *arg);

/* Calls `fn` for each value of these keys (a NULL at their end; NULL: all that can be read). */
int memctl_get(struct memctl *m, const char *group, const char *const *keys, memctl_value_fn *fn, void *arg);

/* One number: a key such as "memory.current", or a line of one, "memory.events.oom". */
int memctl_get_number(struct memctl *m, const char *group, const char *key, uint64_t *ret);

struct memctl_group {
	const char *path;
	uint64_t current;	/* memory.current, bytes */
	uint64_t max;		/* memory.max, bytes or MEMCTL_MAX */
	unsigned members;	/* of this group and below */
	unsigned members_local; /* of this group alone */
};

typedef int memctl_group_fn(const struct memctl_group *group, void *arg);

/* Calls `fn` for each group directly below `group`, with MEMCTL_RECURSIVE for all below; in no
 * order, and not for the group itself. */
int memctl_list(struct memctl *m, const char *group, unsigned flags, memctl_group_fn *fn, void *arg);

/* ---- members ----------------------------------------------------------------------------- */

struct memctl_member {
	pid_t pid;
	const char *comm;  /* its name */
	const char *group; /* its group's path */
	const char *state; /* "live", or "observed": sampled, since it cannot be preloaded */
	const char *flags; /* words with commas between, such as "partial"; "" */
	uint64_t held;	   /* bytes charged to it */
	uint64_t refused;  /* how many charges it was refused */
};

typedef int memctl_member_fn(const struct memctl_member *member, void *arg);

/* Calls `fn` for each member of `group` and below. */
int memctl_members(struct memctl *m, const char *group, unsigned flags, memctl_member_fn *fn, void *arg);

/* Sends a signal to all members of `group` and below. Returns how many got it. */
int memctl_kill(struct memctl *m, const char *group, int signal);

/* Moves a running member to another group: what it charges from now on goes there. `charges` is what
 * it has charged already and takes along, in full or the move fails with -ENOMEM: "anon", "file",
 * "anon,file" or "" (nothing); NULL: as the group's memory.move_charge_at_immigrate says. -ESRCH: no
 * such member. */
int memctl_move(struct memctl *m, pid_t pid, const char *group, const char *charges);

/* ---- events ------------------------------------------------------------------------------ */

/* Subscribes to an event of a group: "usage:64M", "pressure:medium,hierarchy", "oom", "events", "removed" and the others
 * of memctl(1). Returns an eventfd, non-blocking, close-on-exec and the library's: it can be read as long as something
 * has happened since it was read last, and counts how often. -EMFILE: no descriptor is left here or in the daemon.
 * When the daemon goes away and another comes (after a second it is started, unless MEMCTL_NO_START), the subscription
 * goes on with the same descriptor; then it can be read once, for something may have been missed. A thread that takes
 * no signals sees to that; it is started with the first subscription. */
int memctl_subscribe(struct memctl *m, const char *group, const char *event);

struct memctl_notice {
	uint64_t fired;	 /* notifications since the last look */
	unsigned missed; /* how often the daemon has gone away since then; each time something may have been missed */
	bool is_removed; /* the group is gone: nothing more comes, unsubscribe */
};

/* Reads the descriptor of a subscription and says what it has to tell; does not wait for anything to happen. Who reads the
 * descriptor himself learns that something happened, not whether it was one of the last two. -EBADF: no
 * subscription's. */
int memctl_notice(struct memctl *m, int fd, struct memctl_notice *ret);

/* Ends a subscription and closes its descriptor; memctl_close does so for all. -EBADF: no subscription's. */
int memctl_unsubscribe(struct memctl *m, int fd);

/* ---- a program that cooperates ------------------------------------------------------------ */

/* These are for the member itself: no connection, no daemon. In a process that is no member (it was not started by
 * `memctl run`) they do nothing and answer as if there were no limit. Not in signal handlers. */

struct memctl_self_usage {
	uint64_t held;	  /* bytes charged to this process */
	uint64_t unused;  /* of them: free in malloc's heap, given back when asked for */
	uint64_t current; /* bytes charged to its group and those below */
	uint64_t max;	  /* the least memory.max of its group and those above; MEMCTL_MAX */
	uint64_t room;	  /* what could be charged now; MEMCTL_MAX */
	uint64_t more[3]; /* 0 */
};

/* What this process holds, and how near its limits are. As charged: what was asked for a moment ago and not touched
 * yet counts, unlike in memory.current. 1 us. */
int memctl_self_usage(struct memctl_self_usage *ret);

/* Gives up to `bytes` back, by free or by unmapping, and returns how many. */
typedef uint64_t memctl_shrinker_fn(void *arg, uint64_t bytes);

/* `fn` is called when memory is short in a group of this process, the host's or a device's, and what the heap or the
 * device's driver does not use was not enough: in a thread of the library's own, one shrinker at a time, with all signals
 * blocked. It may not wait for what another thread does inside malloc, fork, setuid or the like (they wait for the
 * shrinker), so locks that are held there it takes by trylock; nor may it register or unregister. Only what it gives back of
 * the memory that is short helps: memctl_shrinking says which. After fork the child has the same shrinkers. -ENOSPC: there
 * are 64. */
int memctl_shrinker_register(memctl_shrinker_fn *fn, void *arg);

/* Not called any more, nor running, when this returns. */
int memctl_shrinker_unregister(memctl_shrinker_fn *fn, void *arg);

/* What is short, said to a shrinker while it runs: "memory", which is the host's, or the name of a device's region, as in
 * dmem.current. Lives on. NULL: the calling thread is in no shrinker. */
const char *memctl_shrinking(void);

/* On: the contents of these private anonymous pages may be dropped when memory is short, those that were switched on
 * first before others. Off: they are kept from now on; returns 1 when some were dropped in between (they read as
 * zeros), else 0. Only pages wholly inside [addr, addr + len) take part. Reading or writing them while it is on is
 * allowed and keeps nothing; switch it off before the memory is freed. -EINVAL: no such addresses; -ENOSPC: more than
 * 65,536 ranges. In a group with memory.charge=commit nothing is ever dropped. */
int memctl_volatile(void *addr, size_t len, bool on);

/* Charges memory that passes by malloc and mmap, before it is taken: raw system calls, a device's ("memory" or the name
 * of a region). Bytes are rounded up to pages. -ENOMEM: refused, after all that would have been tried for malloc;
 * -ENODEV: no such resource. With memory.charge=resident what is charged to "memory" is made true later by what
 * becomes resident, as everything is; memory that the kernel never counts for a process needs memory.charge=commit. */
int memctl_charge(const char *resource, uint64_t bytes);

/* Gives back what was charged by memctl_charge. -EINVAL: it is less than that; nothing is done then. */
int memctl_uncharge(const char *resource, uint64_t bytes);

/* ---- the daemon -------------------------------------------------------------------------- */

/* Calls `fn` for each thing the daemon says about itself; `key` names it. */
int memctl_status(struct memctl *m, memctl_value_fn *fn, void *arg);

struct memctl_key {
	const char *name;
	const char *access; /* "r", "w", "rw", or "-" for a key known but not in this version */
	const char *format; /* "bytes", "count", ... as in memctl(1) */
	const char *help;   /* a sentence */
};

typedef int memctl_key_fn(const struct memctl_key *key, void *arg);

/* Calls `fn` for each key the daemon knows. */
int memctl_keys(struct memctl *m, memctl_key_fn *fn, void *arg);

/* One request of the protocol as it is, for what has no function here. *ret_reply is the answer, to
 * be freed by the caller; an answer that says "ok":false is a failure as everywhere. */
int memctl_request(struct memctl *m, const char *request, char **ret_reply);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
