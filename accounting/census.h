/* SPDX-License-Identifier: MIT */
/* The census: all numbers of all groups at one moment, in a file of the runtime directory.
 *
 * The daemon fills it when a client asks for it (op "census") and at no other time; the client then
 * maps it. One answer in JSON for 5,000 groups would be 12 MB to print and to parse; this is one
 * copy.
 *
 * contract  The daemon alone writes. seq is odd while it does; whoever reads copies what he wants,
 * and again when seq has changed meanwhile. The file never shrinks, and is as large as the most
 * groups there were. Rows are in no order; a row's parent is named by its slot. Texts end with 0.
 */
#ifndef ACCOUNTING_CENSUS_H
#define ACCOUNTING_CENSUS_H

#include "accounting/layout.h"

#include <stddef.h>

#define CENSUS_NAME "census"
#define CENSUS_MAGIC 0x6d656d63746c5332ull /* "memctlS2" */
#define CENSUS_COLUMNS_MAX 400		   /* 22 of them for each region */
#define CENSUS_MAX UINT64_MAX		   /* no limit */
#define CENSUS_UNKNOWN (UINT64_MAX - 1)	   /* cannot be said */

enum census_kind {
	CENSUS_BYTES,	/* a size, or CENSUS_MAX */
	CENSUS_NUMBER,	/* a number that is set, or goes up and down */
	CENSUS_TOTAL,	/* a count that only grows until it is reset */
	CENSUS_USEC,	/* microseconds, only growing */
	CENSUS_PERCENT, /* in hundredths */
	CENSUS_WORD,	/* an index into `words` */
};

struct census_column {
	char key[40];			  /* "memory.events" */
	char region[REGION_NAME_MAX + 1]; /* of a device's memory; "all": those to come; "" */
	char field[40];			  /* "oom"; "" when the key is one value */
	uint32_t kind;			  /* enum census_kind */
	uint32_t unused;
	char words[64]; /* WORD: "fail kill wait" */
	char help[144]; /* a sentence */
};

struct census_row {
	uint32_t slot, generation; /* the group's */
	uint32_t parent;	   /* a slot; GROUP_NIL: the root */
	uint32_t depth;
	uint32_t members, members_local;
	char name[GROUP_NAME_MAX + 1]; /* the last of its path */
	uint64_t value[];	       /* by column */
};

struct census {
	uint64_t magic;
	mc_word32 seq;
	uint32_t columns, rows;
	uint32_t row_size;
	uint64_t instance; /* the segment's */
	uint64_t at_ns;	   /* CLOCK_MONOTONIC */
	struct census_column column[CENSUS_COLUMNS_MAX];
};

/* Where rows begin, and row i. */
#define CENSUS_ROWS_AT ((sizeof(struct census) + 4095) & ~(size_t)4095)

static inline struct census_row *census_row(const struct census *c, uint32_t row_size, uint32_t i)
{
	return (struct census_row *)((uintptr_t)c + CENSUS_ROWS_AT + (size_t)i * row_size);
}

_Static_assert(sizeof(struct census_row) == 88, "values are aligned");

#endif
