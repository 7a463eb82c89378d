/* SPDX-License-Identifier: MIT */
/* One process's way through an operation, with trials at every instruction.
 *
 * At each instruction copies of the process are made (tracer.h), one a trial:
 *
 *   killed                               the copy is killed there
 *   stopped, others, killed              two others charge, uncharge and drain first (bystanders.h)
 *   stopped, recount, killed             and before that, one of them recounts
 *   stopped, recount, again, killed      some instructions further on the others have another turn
 *   stopped, others, goes on             the copy then goes on to its second mark
 *   stopped, recount, goes on
 *   stopped, recount, again, goes on
 *
 * The others must get on. A copy that goes on must come to the right end, and pools must be what the
 * accounts say then. Then a daemon settles, and what is left must be what the others know to hold, to the
 * page, in each group; no slot, account or open slow path may be left. After each trial the segment is put
 * back (image.h).
 *
 * What a process leaves that is killed inside a system call is what it leaves before it or after it: of
 * those made here none writes to the segment but to give it pages.
 */
#ifndef TESTS_FAULT_STEPPING_H
#define TESTS_FAULT_STEPPING_H

#include "tests/fault/bystanders.h"
#include "tests/fault/tracer.h"

struct stepping {
	const char *name;
	struct ground *ground;
	struct bystanders *others;
	bool is_daemon;		      /* the stepped one: another daemon follows it */
	bool kills_only;	      /* a copy could not go on: it has another pid, and its own pages are wiped */
	void *shared;		      /* what else the stepped one writes, put back after each trial; may be NULL */
	size_t shared_size;	      /* up to STEPPING_SHARED */
	uint64_t trials_max;	      /* about so many trials, spread evenly; 0: all */
	bool (*counts)(uintptr_t ip); /* instructions that are tried; NULL: all */
	void (*meanwhile)(void);      /* done with the others' work; may be NULL */
	const char *(*at_end)(void);  /* a copy has come to its mark: what is wrong, or NULL */

	/* What was seen. */
	uint64_t instructions; /* that count */
	uint64_t stepped;      /* all */
	uint64_t trials;
	uint64_t drift; /* pages that pools were off, summed up */
	uint64_t wrong;
};

#define STEPPING_SHARED 64

/* Steps from where `t` stands to its second mark, or its end, and counts instructions. */
enum tracer_at stepping_count(struct stepping *s, const struct tracee *t);

/* The same with trials; `s` has been counted on just such a way. Says what is wrong as TAP notes. */
enum tracer_at stepping_try(struct stepping *s, const struct tracee *t);

/* What was seen, for the end of a TAP line; a static buffer. */
const char *stepping_report(const struct stepping *s);

#endif
