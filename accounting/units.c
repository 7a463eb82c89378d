/* SPDX-License-Identifier: MIT */
/* Sizes as people and the kernel write them. */
#include "accounting/units.h"

#include "accounting/layout.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX 4096 /* as one write to a kernel file */

/* The part of text without the white space around it. */
static size_t strip(const char **text)
{
	size_t n;

	while (isspace((unsigned char)**text))
		(*text)++;
	n = strlen(*text);
	while (n && isspace((unsigned char)(*text)[n - 1]))
		n--;
	return n;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* simple_strtoull: base by prefix, overflow wraps. Returns where it stopped. */
static const char *number(const char *p, const char *end, uint64_t *ret)
{
	int base = 10;
	uint64_t v = 0;

	if (end - p > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X') && digit_of(p[2]) < 16) {
		base = 16;
		p += 2;
	} else if (end - p > 1 && p[0] == '0') {
		base = 8;
	}
	for (; p < end && digit_of(*p) < base; p++)
		v = v * (unsigned)base + (unsigned)digit_of(*p);
	*ret = v;
	return p;
}

static const char *suffix(const char *p, const char *end, uint64_t *v)
{
	static const char letters[] = "KMGTPE";
	const char *found = p < end ? strchr(letters, toupper((unsigned char)*p)) : NULL;

	if (!found || !*found)
		return p;
	*v <<= 10 * (found - letters + 1);
	return p + 1;
}

int units_parse(const char *text, const char *unlimited, uint64_t unit, uint64_t *ret_units)
{
	size_t n = strip(&text);
	const char *end = text + n;
	const char *p;
	uint64_t v;

	if (n > TEXT_MAX)
		return -EINVAL;
	if (unlimited && n == strlen(unlimited) && memcmp(text, unlimited, n) == 0) {
		*ret_units = PAGES_MAX;
		return 0;
	}
	if (n && !isdigit((unsigned char)*text)) /* no sign, no word */
		return -EINVAL;
	p = number(text, end, &v);
	p = suffix(p, end, &v);
	if (p != end)
		return -EINVAL;
	v /= unit;
	*ret_units = v < PAGES_MAX ? v : PAGES_MAX;
	return 0;
}

char *units_format(uint64_t bytes, char *buf)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned i = 0;
	double v = (double)bytes;

	while (v >= 1023.95 && i < 6) { /* what would print as 1024.0 */
		v /= 1024;
		i++;
	}
	(void)snprintf(buf, UNITS_BUF, i ? "%.1f %s" : "%.0f %s", v, names[i]);
	return buf;
}
