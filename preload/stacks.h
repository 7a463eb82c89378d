/* SPDX-License-Identifier: MIT */
/*
 * Writing this process's picture (accounting/stacks.h): each stack once, with its counters.
 *
 * contract      any thread, signal handlers, in malloc: no allocation, no lock, nothing waited for. What finds no
 *               room counts as site 0. The file's pages are made before they are written: a full file system
 *               is lost room, not a SIGBUS.
 * fork          the mapping is not inherited; the child makes its own file.
 */
#ifndef PRELOAD_STACKS_H
#define PRELOAD_STACKS_H

#include "accounting/stacks.h"
#include "preload/sample.h"

#define STACKS_INDEX 32768u

/* This process's alone; zeroed when new. */
struct stacks_writer {
	struct stacks to;
	mc_word index[STACKS_INDEX];					     /* hash above, site below; 0: free */
	mc_word32 backed_frames, backed_sites, backed_texts, backed_modules; /* bytes with pages */
	mc_word32 at_peak;						     /* one thread copies */
	uint32_t generation;
};

/* Makes the file. Negative errno. */
int stacks_open(struct stacks_writer *w, const char *dir, const char *group, uint64_t rate, bool has_heap);

/* The stack's number. */
uint32_t stacks_intern(struct stacks_writer *w, enum stacks_kind kind, const uint64_t *frame, unsigned frames,
		       bool cut);

/* "file\0function\0": its offset; 0: no room. The caller remembers what it has had. */
uint32_t stacks_text(struct stacks_writer *w, const char *file, size_t file_size, const char *name, size_t name_size);

/* These addresses are of this file. Cheap when it is known. */
void stacks_module(struct stacks_writer *w, uint64_t start, uint64_t end, uint64_t bias, const char *path);

void stacks_add(struct stacks_writer *w, uint32_t site, struct sample_weight weight);
/* What lives of it stands for another weight. */
void stacks_reweigh(struct stacks_writer *w, uint32_t site, struct sample_weight old, struct sample_weight weight);

void stacks_drop(struct stacks_writer *w, uint32_t site, struct sample_weight weight);

/* A part of what a sample stands for is gone. */
void stacks_drop_part(struct stacks_writer *w, uint32_t site, uint64_t bytes);

#endif
