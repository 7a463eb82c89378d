/* SPDX-License-Identifier: MIT */
/* OpenMetrics text on stdout. */
#include "memctl/metrics.h"

#include "memctl/memctl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool has_labels; /* of the sample being printed */

/* The keys of cgroup v1 have the unit in their names already. */
static bool names_unit(const struct metrics_family *f)
{
	const char *last = f->parts[1] ? f->parts[1] : f->parts[0];
	size_t n = strlen(f->unit);

	return strlen(last) >= n && strcmp(last + strlen(last) - n, f->unit) == 0;
}

static void print_name(const struct metrics_family *f)
{
	(void)fputs("memctl", stdout);
	for (int i = 0; i < 2; i++) {
		if (!f->parts[i])
			continue;
		(void)putchar('_');
		for (const char *p = f->parts[i]; *p; p++)
			(void)putchar(isalnum((unsigned char)*p) ? *p : '_');
	}
	if (!names_unit(f))
		(void)printf("_%s", f->unit);
}

static void print_meta(const char *what, const struct metrics_family *f, const char *text)
{
	(void)printf("# %s ", what);
	print_name(f);
	(void)printf(" %s\n", text);
}

void metrics_family(const struct metrics_family *f)
{
	print_meta("TYPE", f, f->counter ? "counter" : "gauge");
	if (*f->unit)
		print_meta("UNIT", f, f->unit);
	if (f->help)
		print_meta("HELP", f, f->help);
}

void metrics_sample(const struct metrics_family *f)
{
	print_name(f);
	if (f->counter)
		(void)fputs("_total", stdout);
	has_labels = false;
}

void metrics_label(const char *name, const char *text)
{
	(void)printf("%c%s=\"", has_labels ? ',' : '{', name);
	has_labels = true;
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			(void)putchar('\\');
		(void)putchar(*text);
	}
	(void)putchar('"');
}

void metrics_value(uint64_t value)
{
	if (has_labels)
		(void)putchar('}');
	if (value == MEMCTL_MAX)
		(void)puts(" +Inf");
	else
		(void)printf(" %llu\n", (unsigned long long)value);
}

void metrics_end(void)
{
	(void)puts("# EOF");
}
