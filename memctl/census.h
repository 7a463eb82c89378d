/* SPDX-License-Identifier: MIT */
/* A copy of the census: all numbers of all groups (accounting/census.h). */
#ifndef MEMCTL_CENSUS_H
#define MEMCTL_CENSUS_H

#include "accounting/census.h"
#include "memctl/memctl.h"

#include <stdbool.h>

struct census_copy {
	struct census *census; /* owned; NULL: none yet */
	size_t size;
	uint32_t rows, columns, row_size;
};

/* Has one taken and copies it; as for `thorough` see the daemon. Negative errno with its sentence;
 * `c` is empty then, and all zero at first. */
int census_read(struct memctl *m, bool thorough, struct census_copy *c);

/* The column of a key and field ("": none), or -1. */
int census_find(const struct census_copy *c, const char *key, const char *field);
int census_find_region(const struct census_copy *c, const char *key, const char *region);

static inline const struct census_row *census_at(const struct census_copy *c, uint32_t i)
{
	return census_row(c->census, c->row_size, i);
}

/* A value by column; CENSUS_UNKNOWN for column -1. */
static inline uint64_t census_value(const struct census_row *row, int column)
{
	return column < 0 ? CENSUS_UNKNOWN : row->value[column];
}

void census_free(struct census_copy *c);

#endif
