/* SPDX-License-Identifier: MIT */
/* TAP for tests that are programs of their own. */
#include "tests/lib/tap.h"

#include <stdarg.h>
#include <stdio.h>

static unsigned points;
static unsigned failures;

bool tap_ok(bool ok, const char *format, ...)
{
	va_list args;

	failures += !ok;
	printf("%sok %u - ", ok ? "" : "not ", ++points);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout); /* nothing is left to be printed twice by a child */
	return ok;
}

void tap_skip(const char *why, const char *format, ...)
{
	va_list args;

	printf("ok %u - ", ++points);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(" # SKIP %s\n", why);
	fflush(stdout);
}

void tap_note(const char *format, ...)
{
	va_list args;

	fputs("# ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

int tap_end(void)
{
	printf("1..%u\n", points);
	fflush(stdout);
	return failures != 0;
}
