/* SPDX-License-Identifier: MIT */
/* The census as text for Prometheus. Of 5,000 groups these are 400,000 lines: what repeats is made
 * once. */
#include "memctl/export.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128
#define LINE_MAX_BYTES (NAME_MAX_BYTES + GROUP_PATH_MAX + REGION_NAME_MAX + 160)

/* ---- text ------------------------------------------------------------------------------------------------ */

static char *reserve(struct export_text *t, size_t n)
{
	if (t->n + n > t->room) {
		size_t room = t->room ? 2 * t->room : 1 << 20;
		char *more = realloc(t->text, room > t->n + n ? room : t->n + n);

		if (!more) {
			t->is_full = true;
			return NULL;
		}
		t->text = more;
		t->room = room > t->n + n ? room : t->n + n;
	}
	return t->text + t->n;
}

static char *append(char *at, const char *text, size_t n)
{
	memcpy(at, text, n);
	return at + n;
}

static char *append_number(char *at, uint64_t n)
{
	char digits[20];
	char *p = digits + sizeof(digits);

	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	return append(at, p, (size_t)(digits + sizeof(digits) - p));
}

static void add(struct export_text *t, const char *text)
{
	size_t n = strlen(text);
	char *at = reserve(t, n);

	if (at)
		t->n = (size_t)(append(at, text, n) - t->text);
}

/* A fraction with `places` digits behind the point. */
static char *append_fraction(char *at, uint64_t n, uint64_t one, int places)
{
	at = append_number(at, n / one);
	n %= one;
	if (!n)
		return at;
	*at++ = '.';
	while (places-- > 0) {
		one /= 10;
		*at++ = (char)('0' + n / one % 10);
	}
	return at;
}

static char *append_value(char *at, const struct census_column *c, uint64_t v)
{
	if (v == CENSUS_MAX)
		return append(at, "+Inf", 4);
	switch ((enum census_kind)c->kind) {
	case CENSUS_USEC:
		return append_fraction(at, v, 1000000, 6);
	case CENSUS_PERCENT:
		return append_fraction(at, v, 10000, 4); /* hundredths of a percent, as a ratio */
	default:
		return append_number(at, v);
	}
}

/* ---- groups ---------------------------------------------------------------------------------------------- */

/* {group="/a/b" of each row, one after the other. */
struct labels {
	char *text;
	uint32_t *at; /* where row i begins; [rows] the end */
};

static uint32_t *index_by_slot(const struct census_copy *c)
{
	uint32_t *index = calloc(GROUPS_MAX + 1, sizeof(*index));

	for (uint32_t i = 0; index && i < c->rows; i++)
		index[census_at(c, i)->slot & GROUPS_MAX] = i;
	return index;
}

static size_t print_path(const struct census_copy *c, const uint32_t *index, uint32_t row, char *buf)
{
	const struct census_row *chain[GROUP_DEPTH_MAX + 1];
	unsigned n = 0;
	size_t at = 0;

	for (const struct census_row *r = census_at(c, row); r->parent != GROUP_NIL && n <= GROUP_DEPTH_MAX;
	     r = census_at(c, index[r->parent & GROUPS_MAX]))
		chain[n++] = r;
	if (!n)
		buf[at++] = '/';
	while (n--) {
		size_t size = strnlen(chain[n]->name, GROUP_NAME_MAX);

		buf[at++] = '/';
		memcpy(buf + at, chain[n]->name, size);
		at += size;
	}
	return at;
}

static int make_labels(const struct census_copy *c, struct labels *ret)
{
	uint32_t *index = index_by_slot(c);
	struct labels l = { .at = calloc((size_t)c->rows + 1, sizeof(*l.at)) };
	size_t room = 0, n = 0;

	for (uint32_t i = 0; index && l.at && i < c->rows; i++) {
		if (n + GROUP_PATH_MAX + 32 > room) {
			char *more = realloc(l.text, room = room ? 2 * room : 1 << 16);

			if (!more)
				break;
			l.text = more;
		}
		l.at[i] = (uint32_t)n;
		n = (size_t)(append(l.text + n, "{group=\"", 8) - l.text);
		n += print_path(c, index, i, l.text + n);
		l.text[n++] = '"';
		l.at[i + 1] = (uint32_t)n;
	}
	free(index);
	if (l.at && (!c->rows || l.at[c->rows])) {
		*ret = l;
		return 0;
	}
	free(l.at);
	free(l.text);
	return -ENOMEM;
}

/* ---- families -------------------------------------------------------------------------------------------- */

static bool is_counter(const struct census_column *c)
{
	return c->kind == CENSUS_TOTAL || c->kind == CENSUS_USEC;
}

/* memory.stat has sizes, and counts that begin with over_: a family each. */
static bool is_over(const struct census_column *c)
{
	return strcmp(c->key, "memory.stat") == 0 && c->kind == CENSUS_TOTAL;
}

static const char *unit_of(const struct census_column *c)
{
	switch ((enum census_kind)c->kind) {
	case CENSUS_BYTES:
		return "bytes";
	case CENSUS_USEC:
		return "seconds";
	case CENSUS_PERCENT:
		return "ratio";
	default:
		return "";
	}
}

/* "memctl_memory_current_bytes"; what is no letter becomes '_'. Keys of cgroup v1 say "in_bytes"
 * already. */
static void name_family(const struct census_column *c, char name[NAME_MAX_BYTES])
{
	const char *unit = unit_of(c);
	size_t n = (size_t)snprintf(name, NAME_MAX_BYTES, "memctl_%.60s%s", c->key, is_over(c) ? "_over" : "");

	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	if (*unit && (n < strlen(unit) || strcmp(name + n - strlen(unit), unit) != 0))
		(void)snprintf(name + n, NAME_MAX_BYTES - n, "_%s", unit);
}

static void print_head(struct export_text *t, const char *name, const char *unit, bool counts, bool is_openmetrics,
		       const char *help)
{
	const char *end = counts && !is_openmetrics ? "_total" : "";
	char text[512];

	(void)snprintf(text, sizeof(text), "# HELP %s%s %.200s\n# TYPE %s%s %s\n", name, end, help, name, end,
		       counts ? "counter" : "gauge");
	add(t, text);
	if (!*unit || !is_openmetrics)
		return;
	(void)snprintf(text, sizeof(text), "# UNIT %s %s\n", name, unit);
	add(t, text);
}

/* What stands between the group and the value. */
static void print_label(const struct census_column *c, char *buf, size_t size)
{
	int n = *c->region ? snprintf(buf, size, ",region=\"%s\"", c->region) : 0;

	if (c->kind == CENSUS_WORD || !*c->field)
		(void)snprintf(buf + n, size - (size_t)n, "} ");
	else
		(void)snprintf(buf + n, size - (size_t)n, ",item=\"%s\"} ", c->field);
}

static char *append_word(char *at, const struct census_column *c, uint64_t v)
{
	const char *word = c->words;

	for (; v && *word; v--)
		word += strcspn(word, " ") + (word[strcspn(word, " ")] == ' ');
	at = append(at, ",value=\"", 8);
	at = append(at, word, strcspn(word, " "));
	return append(at, "\"} 1", 4);
}

static void print_column(const struct census_copy *c, uint32_t column, const struct labels *l, const char *name,
			 struct export_text *t)
{
	const struct census_column *head = &c->census->column[column];
	size_t name_size = strlen(name), label_size;
	char label[sizeof(head->region) + sizeof(head->field) + 32];

	print_label(head, label, sizeof(label));
	label_size = strlen(label);
	for (uint32_t i = 0; i < c->rows; i++) {
		uint64_t v = census_at(c, i)->value[column];
		char *at = v == CENSUS_UNKNOWN ? NULL : reserve(t, LINE_MAX_BYTES);

		if (!at)
			continue;
		at = append(at, name, name_size);
		at = append(at, l->text + l->at[i], l->at[i + 1] - l->at[i]);
		if (head->kind == CENSUS_WORD)
			at = append_word(at, head, v);
		else
			at = append_value(append(at, label, label_size), head, v);
		*at++ = '\n';
		t->n = (size_t)(at - t->text);
	}
}

static bool is_same_family(const struct census_column *a, const struct census_column *b)
{
	return a->kind == b->kind && strcmp(a->key, b->key) == 0;
}

static bool is_first_of_family(const struct census_copy *c, uint32_t column)
{
	for (uint32_t i = 0; i < column; i++)
		if (is_same_family(&c->census->column[i], &c->census->column[column]))
			return false;
	return true;
}

static void print_family(const struct census_copy *c, uint32_t column, const struct labels *l, bool is_openmetrics,
			 struct export_text *t)
{
	const struct census_column *head = &c->census->column[column];
	char name[NAME_MAX_BYTES];

	name_family(head, name);
	print_head(t, name, unit_of(head), is_counter(head), is_openmetrics,
		   *head->field ? head->kind == CENSUS_TOTAL ? "how often, by item" : "by item; memctl(1) explains them"
				: head->help);
	if (is_counter(head))
		(void)strcat(name, "_total");
	for (uint32_t i = column; i < c->columns; i++)
		if (is_same_family(&c->census->column[i], head))
			print_column(c, i, l, name, t);
}

static void print_members(const struct census_copy *c, const struct labels *l, bool local, struct export_text *t)
{
	static const char *const names[] = { "memctl_group_members", "memctl_group_members_local" };

	print_head(t, names[local], "", false, false,
		   local ? "processes in the group itself" : "processes in the group and below");
	for (uint32_t i = 0; i < c->rows; i++) {
		char *at = reserve(t, LINE_MAX_BYTES);

		if (!at)
			return;
		at = append(at, names[local], strlen(names[local]));
		at = append(at, l->text + l->at[i], l->at[i + 1] - l->at[i]);
		at = append(at, "} ", 2);
		at = append_number(at, local ? census_at(c, i)->members_local : census_at(c, i)->members);
		*at++ = '\n';
		t->n = (size_t)(at - t->text);
	}
}

static void print_all(const struct census_copy *c, const struct labels *l, bool is_openmetrics, struct export_text *t)
{
	char text[64];

	for (uint32_t i = 0; i < c->columns; i++)
		if (is_first_of_family(c, i))
			print_family(c, i, l, is_openmetrics, t);
	print_members(c, l, false, t);
	print_members(c, l, true, t);
	print_head(t, "memctl_groups", "", false, false, "groups there are, / included");
	(void)snprintf(text, sizeof(text), "memctl_groups %u\n", c->rows);
	add(t, text);
}

int export_print(const struct census_copy *c, bool is_openmetrics, struct export_text *to)
{
	struct labels l = { 0 };
	int err = c ? make_labels(c, &l) : 0;

	if (err)
		return err;
	to->n = 0;
	to->is_full = false;
	print_head(to, "memctl_up", "", false, false, "1 when the daemon answers");
	add(to, c ? "memctl_up 1\n" : "memctl_up 0\n");
	if (c)
		print_all(c, &l, is_openmetrics, to);
	if (is_openmetrics)
		add(to, "# EOF\n");
	free(l.at);
	free(l.text);
	return to->is_full ? -ENOMEM : 0;
}
