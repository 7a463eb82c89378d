/* SPDX-License-Identifier: MIT */
/* Rows and columns, printed in all the formats of struct output. */
#ifndef MEMCTL_TABLE_H
#define MEMCTL_TABLE_H

#include "memctl/output.h"

#include <stddef.h>
#include <stdint.h>

enum table_kind {
	TABLE_TEXT,  /* words; a label in metrics */
	TABLE_NOTE,  /* words for people; not in metrics */
	TABLE_ID,    /* a number that names something; a label in metrics */
	TABLE_COUNT, /* a number */
	TABLE_TOTAL, /* a number that only grows */
	TABLE_BYTES, /* a size, or MEMCTL_MAX */
};

struct table_column {
	const char *name; /* as in -f and JSON; in capitals, the title */
	enum table_kind kind;
	const char *help; /* a sentence, for metrics */
};

struct table;

/* `metric` begins the names of its metrics: "group" makes memctl_group_current_bytes. Columns are
 * used as long as the table lives. Never NULL: without memory the command ends. */
struct table *table_new(const char *metric, const struct table_column *columns, size_t n);
void table_free(struct table *t);

/* The format "table" is then without titles and padding: words with one blank between. */
void table_set_plain(struct table *t);

/* The next cell, row after row. Numbers are shown as their column's kind. */
void table_text(struct table *t, const char *text);
void table_number(struct table *t, uint64_t number);

/* As table_text, with other words where people read (harmless ones; they may have colours). */
void table_text_shown(struct table *t, const char *text, const char *shown);

/* As table_number, in this colour on a terminal (an SGR sequence or ""). */
void table_number_coloured(struct table *t, uint64_t number, const char *colour);

/* As table_number, but of this kind whatever the column's is. */
void table_number_of_kind(struct table *t, uint64_t number, enum table_kind kind);

/* Prints to stdout. 0, or SAY_USAGE with a sentence: no such field. */
int table_print(struct table *t, const char *command, const struct output *o);

#endif
