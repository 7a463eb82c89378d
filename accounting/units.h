/* SPDX-License-Identifier: MIT */
/* Sizes as people and the kernel write them. */
#ifndef ACCOUNTING_UNITS_H
#define ACCOUNTING_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parses as the kernel's memparse and page_counter_memparse do: surrounding white space stripped; the
 * word `unlimited` (NULL: none; "max" or "-1") or an unsigned number, base by prefix, then at most one of
 * K M G T P E in either case. Rounded down to units of `unit` bytes, clamped to PAGES_MAX. White space
 * alone is 0 and an overflow wraps, as in the kernel. -EINVAL otherwise; ret untouched. */
int units_parse(const char *text, const char *unlimited, uint64_t unit, uint64_t *ret_units);

/* Writes bytes for people: "64.0 MiB", "0 B". buf holds at least 16 bytes; returns buf. */
char *units_format(uint64_t bytes, char *buf);

#define UNITS_BUF 24

/* Bytes to pages, up and down. */
static inline uint64_t units_pages_up(uint64_t bytes)
{
	return (bytes >> 12) + ((bytes & 4095) != 0);
}

#endif
