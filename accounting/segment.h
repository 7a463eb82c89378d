/* SPDX-License-Identifier: MIT */
/* The shared segment: two files of one runtime directory, made by the daemon, mapped by all. */
#ifndef ACCOUNTING_SEGMENT_H
#define ACCOUNTING_SEGMENT_H

#include "accounting/layout.h"

#include <stddef.h>
#include <sys/types.h>

#define SEGMENT_LIMITS_NAME "limits"
#define SEGMENT_COUNTERS_NAME "counters"

/* A process's own view of the segment. Plain pointers, never shared. */
struct segment {
	struct limits_map *limits; /* read-only in members: writing there is a fault, by design */
	struct counters_map *counters;
	size_t limits_size; /* bytes mapped; a member maps the host resources only */
	size_t counters_size;
	unsigned resources; /* how many resources the mappings cover */
	char dir[200];	    /* where it lies; kernels before 5.14 need it to populate */
};

enum segment_role {
	SEGMENT_MEMBER, /* limits read-only, host resources only */
	SEGMENT_DEVICE, /* limits read-only, all resources */
	SEGMENT_DAEMON, /* all writable */
	SEGMENT_READER, /* all read-only */
};

/* Opens the runtime directory: a directory, no link, of the caller's effective user, closed to all
 * others. -EPERM: of somebody else; -EACCES: open to others; else errno. The caller closes it. */
int segment_open_dir(const char *path);

/* Makes both files in `dir`, sized and with the root group, and maps them as SEGMENT_DAEMON.
 * -EEXIST when there is one already; -ENOSPC on a full file system; else errno of the failing call.
 * Nothing is left behind on failure. */
int segment_create(const char *dir, struct segment *ret);

/* Maps an existing segment. -ENOENT: none; -EAGAIN: being made just now; -EPROTO: of another version
 * or layout; -EBADMSG: damaged header; else errno. `ret` is untouched on failure. Signal-safe; uses raw
 * system calls, so that an interposed mmap is not entered. Leaves no descriptor open. */
int segment_attach(const char *dir, enum segment_role role, struct segment *ret);

/* Unmaps; afterwards *seg is all zero. */
void segment_detach(struct segment *seg);

/* What both headers carry as layout_hash: changes with the size or place of any shared struct. */
uint32_t segment_layout_hash(void);

/* Gives the pages below [p, p+size) their backing now, so that a full tmpfs is an error here and never
 * a SIGBUS later. `fd_name` says which of the two files. -ENOSPC or errno. Signal-safe. */
int segment_populate(const struct segment *seg, const void *p, size_t size);

/* True when magics, versions, ready flags and instances of both maps agree. */
bool segment_consistent(const struct segment *seg);

#endif
