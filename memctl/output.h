/* SPDX-License-Identifier: MIT */
/* How results are printed: the options all printing commands share. */
#ifndef MEMCTL_OUTPUT_H
#define MEMCTL_OUTPUT_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_CSV, OUTPUT_OPENMETRICS };
enum output_sizes { OUTPUT_SIZES_AUTO, OUTPUT_SIZES_BYTES, OUTPUT_SIZES_HUMAN };

struct output {
	enum output_format format;
	enum output_sizes sizes;
	const char *fields; /* FIELD,... or NULL: all */
	const char *sort;   /* FIELD, or -FIELD for the other way round, or NULL */
	bool no_header;
};

/* For argp's children; the input is a struct output, zeroed before. */
extern const struct argp output_argp;

/* True when sizes are for people: asked for, or the output is a table on a terminal. */
bool output_is_for_people(const struct output *o);

/* True when stdout is a terminal that may show colours (and NO_COLOR is not set). */
bool output_has_colour(void);

/* True when the locale's characters include box drawing. */
bool output_has_boxes(void);

/* Columns of the terminal that stdout is; 0: it is none, or does not say. */
unsigned output_width(void);

/* How much of a line of words stands in `room` places: all of it, or so many bytes that "..." has room behind the last
 * word. One byte is one place. */
size_t output_cut(const char *text, size_t room);

#define OUTPUT_SIZE_BUF 24

/* A size as it is to be shown: "max", "64.0 MiB" or "67108864". Returns buf. */
char *output_size(const struct output *o, uint64_t bytes, char buf[OUTPUT_SIZE_BUF]);

/* 0, or SAY_FAILED with a sentence, when what was printed did not arrive (a full disk). */
int output_finish(const char *command);

#endif
