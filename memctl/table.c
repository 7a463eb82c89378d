/* SPDX-License-Identifier: MIT */
/* Rows and columns, printed in all the formats of struct output. */
#include "memctl/table.h"

#include "memctl/memctl.h"
#include "memctl/metrics.h"
#include "memctl/say.h"

#include <ctype.h>
#include <err.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_COLUMNS_MAX 16
#define COLOUR_OFF "\033[0m"
#define COLOUR_NOTE "\033[2m" /* numbers are what is looked for: the words beside them step back */
#define NOTE_LEAST 20	      /* places; with less, lines are broken */

struct cell {
	char *text;  /* NULL: a number */
	char *shown; /* what people see instead; NULL: the text */
	uint64_t number;
	enum table_kind kind;
	const char *colour; /* "" none */
};

struct table {
	const char *metric;
	const struct table_column *columns;
	size_t width; /* columns */
	bool plain;
	struct cell *cells;
	size_t used, room;
};

/* Which columns are printed, in which order. */
struct choice {
	size_t column[TABLE_COLUMNS_MAX];
	size_t n;
};

static void *must(void *p)
{
	if (!p)
		err(SAY_FAILED, "no memory left");
	return p;
}

struct table *table_new(const char *metric, const struct table_column *columns, size_t n)
{
	struct table *t = must(calloc(1, sizeof(*t)));

	t->metric = metric;
	t->columns = columns;
	t->width = n;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->used; i++) {
		free(t->cells[i].text);
		free(t->cells[i].shown);
	}
	free(t->cells);
	free(t);
}

void table_set_plain(struct table *t)
{
	t->plain = true;
}

static struct cell *next_cell(struct table *t)
{
	if (t->used == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->cells = must(reallocarray(t->cells, t->room, sizeof(*t->cells)));
	}
	t->cells[t->used] = (struct cell){ .colour = "", .kind = t->columns[t->used % t->width].kind };
	return &t->cells[t->used++];
}

/* A process may call itself anything; a terminal must not obey it. */
static char *harmless(const char *text)
{
	char *copy = must(strdup(text));

	for (char *p = copy; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	return copy;
}

void table_text(struct table *t, const char *text)
{
	next_cell(t)->text = harmless(text);
}

void table_text_shown(struct table *t, const char *text, const char *shown)
{
	struct cell *c = next_cell(t);

	c->text = harmless(text);
	c->shown = must(strdup(shown));
}

void table_number(struct table *t, uint64_t number)
{
	next_cell(t)->number = number;
}

void table_number_coloured(struct table *t, uint64_t number, const char *colour)
{
	struct cell *c = next_cell(t);

	c->number = number;
	c->colour = colour;
}

void table_number_of_kind(struct table *t, uint64_t number, enum table_kind kind)
{
	struct cell *c = next_cell(t);

	c->number = number;
	c->kind = kind;
}

static struct cell *cell_at(const struct table *t, size_t row, size_t column)
{
	return &t->cells[row * t->width + column];
}

static size_t rows(const struct table *t)
{
	return t->used / t->width;
}

/* ---- fields and order -------------------------------------------------------------------- */

static int no_such_field(const struct table *t, const char *command, const char *name, int n)
{
	char all[256] = "";

	for (size_t i = 0; i < t->width; i++) {
		strncat(all, i ? ", " : "", sizeof(all) - strlen(all) - 1);
		strncat(all, t->columns[i].name, sizeof(all) - strlen(all) - 1);
	}
	(void)say_failed(command, "no such field: '%.*s'; there are %s", n, name, all);
	return SAY_USAGE;
}

static bool find_column(const struct table *t, const char *name, size_t n, size_t *ret)
{
	for (size_t i = 0; i < t->width; i++)
		if (strlen(t->columns[i].name) == n && memcmp(t->columns[i].name, name, n) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

static int choose(const struct table *t, const char *command, const char *fields, struct choice *c)
{
	size_t n;

	c->n = 0;
	for (; !fields && c->n < t->width; c->n++)
		c->column[c->n] = c->n;
	for (; fields && *fields; fields += n + (fields[n] == ',')) {
		n = strcspn(fields, ",");
		if (c->n == TABLE_COLUMNS_MAX || !find_column(t, fields, n, &c->column[c->n]))
			return no_such_field(t, command, fields, (int)n);
		c->n++;
	}
	return c->n ? 0 : no_such_field(t, command, "", 0);
}

struct order {
	size_t column;
	bool reversed;
};

static int compare_cells(const struct cell *a, const struct cell *b)
{
	if (a->text && b->text)
		return strcmp(a->text, b->text);
	return a->number < b->number ? 1 : a->number > b->number ? -1 : 0;
}

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct order *o = arg;
	int c = compare_cells((const struct cell *)a + o->column, (const struct cell *)b + o->column);

	return o->reversed ? -c : c;
}

static int sort(struct table *t, const char *command, const char *field)
{
	struct order o = { .reversed = *field == '-' };

	field += o.reversed;
	if (!find_column(t, field, strlen(field), &o.column))
		return no_such_field(t, command, field, (int)strlen(field));
	qsort_r(t->cells, rows(t), t->width * sizeof(*t->cells), compare_rows, &o);
	return 0;
}

/* ---- for people -------------------------------------------------------------------------- */

static bool is_number(const struct table *t, size_t column)
{
	return t->columns[column].kind >= TABLE_ID;
}

static const char *number_shown(const struct cell *c, const struct output *o, char buf[OUTPUT_SIZE_BUF])
{
	if (c->kind == TABLE_BYTES || c->number == MEMCTL_MAX)
		return output_size(o, c->number, buf);
	(void)snprintf(buf, OUTPUT_SIZE_BUF, "%llu", (unsigned long long)c->number);
	return buf;
}

static const char *shown(const struct cell *c, const struct output *o, char buf[OUTPUT_SIZE_BUF])
{
	if (c->text)
		return c->shown ? c->shown : c->text;
	return number_shown(c, o, buf);
}

/* How many places it takes: UTF-8 bytes that begin a character. */
static size_t places(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		if (*text == '\033') /* a colour: up to its m */
			text += strcspn(text, "m") - (strchr(text, 'm') == NULL);
		else
			n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static size_t column_places(const struct table *t, size_t column, const struct output *o)
{
	char buf[OUTPUT_SIZE_BUF];
	size_t most = o->no_header ? 0 : strlen(t->columns[column].name);

	for (size_t r = 0; r < rows(t); r++) {
		size_t n = places(shown(cell_at(t, r, column), o, buf));

		most = n > most ? n : most;
	}
	return most;
}

static void print_padded(const char *text, size_t to, bool right, bool last, const char *colour)
{
	int pad = (int)(to - places(text));

	(void)printf("%*s%s%s%s", right ? pad : 0, "", colour, text, *colour ? COLOUR_OFF : "");
	if (!last)
		(void)printf("%*s", 2 + (right ? 0 : pad), "");
}

static void print_titles(const struct table *t, const struct choice *c, const size_t *to)
{
	for (size_t i = 0; i < c->n; i++) {
		char title[64];
		size_t n = 0;

		for (const char *p = t->columns[c->column[i]].name; *p && n < sizeof(title) - 1; p++)
			title[n++] = (char)(*p == '_' ? ' ' : toupper((unsigned char)*p));
		title[n] = 0;
		print_padded(title, to[i], is_number(t, c->column[i]), i + 1 == c->n, "");
	}
	(void)putchar('\n');
}

static void shorten(char *text, size_t room)
{
	size_t n = output_cut(text, room);

	if (text[n])
		strcpy(text + n, "...");
}

/* A last column of words for people takes what is left of the terminal's line. */
static void fit_notes(struct table *t, const struct choice *c, const size_t *to)
{
	size_t last = c->column[c->n - 1], width = output_width(), left = 0;

	for (size_t i = 0; i + 1 < c->n; i++)
		left += to[i] + 2;
	if (t->columns[last].kind != TABLE_NOTE || width < left + NOTE_LEAST)
		return;
	for (size_t r = 0; r < rows(t); r++)
		if (cell_at(t, r, last)->text)
			shorten(cell_at(t, r, last)->text, width - left);
}

static void print_table(struct table *t, const struct choice *c, const struct output *o)
{
	size_t to[TABLE_COLUMNS_MAX];
	bool colour = output_has_colour();
	char buf[OUTPUT_SIZE_BUF];

	for (size_t i = 0; i < c->n; i++)
		to[i] = column_places(t, c->column[i], o);
	fit_notes(t, c, to);
	if (!o->no_header)
		print_titles(t, c, to);
	for (size_t r = 0; r < rows(t); r++) {
		for (size_t i = 0; i < c->n; i++) {
			const struct cell *cell = cell_at(t, r, c->column[i]);

			print_padded(shown(cell, o, buf), to[i], is_number(t, c->column[i]), i + 1 == c->n,
				     !colour					? ""
				     : cell->kind == TABLE_NOTE && !cell->shown ? COLOUR_NOTE
										: cell->colour);
		}
		(void)putchar('\n');
	}
}

static void print_plain(const struct table *t, const struct choice *c, const struct output *o)
{
	char buf[OUTPUT_SIZE_BUF];

	for (size_t r = 0; r < rows(t); r++)
		for (size_t i = 0; i < c->n; i++)
			(void)printf("%s%c", shown(cell_at(t, r, c->column[i]), o, buf), i + 1 == c->n ? '\n' : ' ');
}

/* ---- for programs ------------------------------------------------------------------------ */

static json_t *json_of_cell(const struct cell *c)
{
	if (c->text)
		return json_string(c->text);
	return c->number == MEMCTL_MAX ? json_string("max") : json_integer((json_int_t)c->number);
}

static json_t *json_of_row(const struct table *t, const struct choice *c, size_t row)
{
	json_t *object = must(json_object());

	for (size_t i = 0; i < c->n; i++)
		(void)json_object_set_new(object, t->columns[c->column[i]].name,
					  json_of_cell(cell_at(t, row, c->column[i])));
	return object;
}

static void print_json(const struct table *t, const struct choice *c)
{
	json_t *array = must(json_array());

	for (size_t r = 0; r < rows(t); r++)
		(void)json_array_append_new(array, json_of_row(t, c, r));
	(void)json_dumpf(array, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(array);
}

static void print_jsonl(const struct table *t, const struct choice *c)
{
	for (size_t r = 0; r < rows(t); r++) {
		json_t *row = json_of_row(t, c, r);

		(void)json_dumpf(row, stdout, JSON_COMPACT);
		(void)putchar('\n');
		json_decref(row);
	}
}

/* RFC 4180: quoted where need be. */
static void print_quoted(const char *text)
{
	if (!strpbrk(text, ",\"")) {
		(void)fputs(text, stdout);
		return;
	}
	(void)putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			(void)putchar('"');
		(void)putchar(*text);
	}
	(void)putchar('"');
}

static void print_csv(const struct table *t, const struct choice *c, const struct output *o)
{
	char buf[OUTPUT_SIZE_BUF];

	for (size_t i = 0; i < c->n && !o->no_header; i++)
		(void)printf("%s%s", t->columns[c->column[i]].name, i + 1 == c->n ? "\n" : ",");
	for (size_t r = 0; r < rows(t); r++)
		for (size_t i = 0; i < c->n; i++) {
			const struct cell *cell = cell_at(t, r, c->column[i]);

			print_quoted(cell->text ? cell->text : number_shown(cell, o, buf));
			(void)putchar(i + 1 == c->n ? '\n' : ',');
		}
}

static void print_labels(const struct table *t, const struct choice *c, size_t row)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct table_column *column = &t->columns[c->column[i]];
		const struct cell *cell = cell_at(t, row, c->column[i]);
		char digits[24];

		(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)cell->number);
		if (column->kind == TABLE_TEXT || column->kind == TABLE_ID)
			metrics_label(column->name, cell->text ? cell->text : digits);
	}
}

static void print_metrics(const struct table *t, const struct choice *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct table_column *column = &t->columns[c->column[i]];
		struct metrics_family f = {
			.parts = { t->metric, column->name },
			.unit = column->kind == TABLE_BYTES ? "bytes" : "",
			.counter = column->kind == TABLE_TOTAL,
			.help = column->help,
		};

		if (column->kind < TABLE_COUNT)
			continue;
		metrics_family(&f);
		for (size_t r = 0; r < rows(t); r++) {
			metrics_sample(&f);
			print_labels(t, c, r);
			metrics_value(cell_at(t, r, c->column[i])->number);
		}
	}
	metrics_end();
}

int table_print(struct table *t, const char *command, const struct output *o)
{
	struct choice c;
	int bad = choose(t, command, o->fields, &c);

	if (!bad && o->sort)
		bad = sort(t, command, o->sort);
	if (bad)
		return bad;
	switch (o->format) {
	case OUTPUT_TABLE:
		if (t->plain)
			print_plain(t, &c, o);
		else
			print_table(t, &c, o);
		break;
	case OUTPUT_JSON:
		print_json(t, &c);
		break;
	case OUTPUT_JSONL:
		print_jsonl(t, &c);
		break;
	case OUTPUT_CSV:
		print_csv(t, &c, o);
		break;
	case OUTPUT_OPENMETRICS:
		print_metrics(t, &c);
		break;
	}
	return 0;
}
