/* SPDX-License-Identifier: MIT */
/* Keys and what they are worth. */
#include "memctl/values.h"

#include "memctl/error.h"
#include "memctl/metrics.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_row(struct values_row *row)
{
	free((char *)row->value.key);
	free((char *)row->value.field);
	free((char *)row->value.text);
	free(row->meaning);
}

static bool copy_row(struct values_row *row, const struct memctl_value *value)
{
	*row = (struct values_row){ .value = *value, .kind = TABLE_TEXT };
	row->value.key = strdup(value->key);
	row->value.field = value->field ? strdup(value->field) : NULL;
	row->value.text = strdup(value->text);
	if (value->is_number)
		row->kind = TABLE_COUNT;
	if (row->value.key && (row->value.field || !value->field) && row->value.text)
		return true;
	free_row(row);
	return false;
}

int values_keep(const struct memctl_value *value, void *arg)
{
	struct values *v = arg;

	if (v->n == v->room) {
		size_t room = v->room ? 2 * v->room : 64;
		struct values_row *row = reallocarray(v->row, room, sizeof(*row));

		if (!row)
			return error_set(-ENOMEM, "no memory left");
		v->row = row;
		v->room = room;
	}
	if (!copy_row(&v->row[v->n], value))
		return error_set(-ENOMEM, "no memory left");
	v->n++;
	return 0;
}

void values_add_text(struct values *v, const char *key, const char *text)
{
	const struct memctl_value value = { .key = key, .text = text };

	if (values_keep(&value, v))
		errx(EXIT_FAILURE, "%s", memctl_error());
}

void values_add_number(struct values *v, const char *key, uint64_t number, enum table_kind kind)
{
	char digits[24];
	const struct memctl_value value = {
		.key = key, .text = digits, .number = number, .is_number = number != MEMCTL_MAX
	};

	(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
	if (number == MEMCTL_MAX)
		strcpy(digits, "max");
	if (values_keep(&value, v))
		errx(EXIT_FAILURE, "%s", memctl_error());
	v->row[v->n - 1].kind = kind;
}

/* ---- what they mean ---------------------------------------------------------------------- */

static const struct {
	const char *field, *meaning;
} fields[] = {
#define STAT(id, name, sentence) { name, sentence },
#include "accounting/stats.def"
#undef STAT
#define EVENT(id, name, sentence) { name, sentence },
#include "accounting/events.def"
#undef EVENT
#define OVER(id, name, sentence) { "over_" name, "forced above the limit: " sentence },
#include "accounting/overs.def"
#undef OVER
};

static const char *field_meaning(const char *field)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(fields[i].field, field) == 0)
			return fields[i].meaning;
	return NULL;
}

/* The daemon's words for formats, see memctl(1). */
static enum table_kind kind_of(const char *format, const char *field)
{
	if (strcmp(format, "bytes") == 0)
		return TABLE_BYTES;
	if (strcmp(format, "bytes-map") == 0)
		return field && strncmp(field, "over_", 5) == 0 ? TABLE_TOTAL : TABLE_BYTES;
	if (strcmp(format, "count") == 0 || strcmp(format, "count-map") == 0)
		return TABLE_TOTAL;
	return strcmp(format, "number") == 0 ? TABLE_COUNT : TABLE_TEXT;
}

static int explain(const struct memctl_key *key, void *arg)
{
	struct values *v = arg;

	for (size_t i = 0; i < v->n; i++) {
		struct values_row *row = &v->row[i];
		const char *meaning = row->value.field ? field_meaning(row->value.field) : key->help;

		if (strcmp(row->value.key, key->name) != 0 || row->meaning)
			continue;
		row->kind = kind_of(key->format, row->value.field);
		row->meaning = strdup(meaning ? meaning : key->help);
		if (!row->meaning)
			return error_set(-ENOMEM, "no memory left");
	}
	return 0;
}

int values_explain(struct values *v, struct memctl *m)
{
	return memctl_keys(m, explain, v);
}

/* ---- printing ---------------------------------------------------------------------------- */

const char *values_name(const struct values_row *row, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s%s%s", row->value.key, row->value.field ? "." : "",
		       row->value.field ? row->value.field : "");
	return buf;
}

void values_cell(struct table *t, const struct values_row *row)
{
	if (row->value.is_number || row->value.number == MEMCTL_MAX)
		table_number_of_kind(t, row->value.number, row->kind);
	else
		table_text(t, row->value.text);
}

static json_t *json_of(const struct memctl_value *value)
{
	return value->is_number ? json_integer((json_int_t)value->number) : json_string(value->text);
}

json_t *values_json(const struct values *v)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < v->n; i++) {
		const struct memctl_value *value = &v->row[i].value;
		json_t *in = json_object_get(object, value->key);

		if (!value->field) {
			(void)json_object_set_new(object, value->key, json_of(value));
			continue;
		}
		if (!in && json_object_set_new(object, value->key, json_object()) == 0)
			in = json_object_get(object, value->key);
		(void)json_object_set_new(in, value->field, json_of(value));
	}
	return object;
}

void values_print_json(const struct values *v, bool compact)
{
	json_t *object = values_json(v);

	(void)json_dumpf(object, stdout, compact ? JSON_COMPACT : JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(object);
}

/* Rows of one key and kind make a family, told apart by the label item. */
static bool begins_family(const struct values *v, size_t i)
{
	const struct values_row *row = &v->row[i];

	return i == 0 || strcmp(v->row[i - 1].value.key, row->value.key) != 0 || v->row[i - 1].kind != row->kind;
}

void values_print_metrics(const struct values *v, const char *group)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct values_row *row = &v->row[i];
		struct metrics_family f = {
			.parts = { row->value.key, row->value.field && row->kind == TABLE_TOTAL &&
								   strcmp(row->value.key, "memory.stat") == 0
							   ? "over"
							   : NULL },
			.unit = row->kind == TABLE_BYTES ? "bytes" : "",
			.counter = row->kind == TABLE_TOTAL,
			.help = row->value.field ? NULL : row->meaning,
		};

		if (row->kind == TABLE_TEXT)
			continue;
		if (begins_family(v, i))
			metrics_family(&f);
		metrics_sample(&f);
		if (group)
			metrics_label("group", group);
		if (row->value.field)
			metrics_label("item", row->value.field);
		metrics_value(row->value.number);
	}
	metrics_end();
}

void values_free(struct values *v)
{
	for (size_t i = 0; i < v->n; i++)
		free_row(&v->row[i]);
	free(v->row);
	*v = (struct values){ 0 };
}
