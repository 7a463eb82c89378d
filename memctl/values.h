/* SPDX-License-Identifier: MIT */
/* Keys and what they are worth: what get, stat, status and the report of run print. */
#ifndef MEMCTL_VALUES_H
#define MEMCTL_VALUES_H

#include "memctl/memctl.h"
#include "memctl/table.h"

#include <jansson.h>

struct values_row {
	struct memctl_value value; /* its texts are owned */
	enum table_kind kind;
	char *meaning; /* a sentence; NULL: unknown */
};

struct values {
	struct values_row *row;
	size_t n, room;
};

/* Keeps a value; a memctl_value_fn whose arg is a struct values. */
int values_keep(const struct memctl_value *value, void *arg);

/* Keeps a word, or a number of a kind. */
void values_add_text(struct values *v, const char *key, const char *text);
void values_add_number(struct values *v, const char *key, uint64_t number, enum table_kind kind);

/* Asks the daemon for the keys' formats and sentences. Negative errno with its sentence. */
int values_explain(struct values *v, struct memctl *m);

/* One object, fields of a key in an object of their own; the caller's. */
json_t *values_json(const struct values *v);

/* Prints one object, or metrics with the label group (NULL: none). */
void values_print_json(const struct values *v, bool compact);
void values_print_metrics(const struct values *v, const char *group);

/* "memory.events.oom" or "memory.max": key and field as one word. */
const char *values_name(const struct values_row *row, char *buf, size_t size);

/* Puts the value into the table's next cell. */
void values_cell(struct table *t, const struct values_row *row);

void values_free(struct values *v);

#endif
