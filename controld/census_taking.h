/* SPDX-License-Identifier: MIT */
/* What the files that take the census share: one census under way, and where its columns come from. */
#ifndef CONTROLD_CENSUS_TAKING_H
#define CONTROLD_CENSUS_TAKING_H

#include "accounting/pool.h"
#include "controld/census.h"
#include "controld/key.h"
#include "controld/psi.h"
#include "controld/stat.h"

struct census_taking;

/* What a column is filled from. */
struct census_source {
	const struct key *key;
	uint64_t (*value)(const struct census_source *from, const struct census_taking *t, uint16_t group);
	unsigned index;	   /* of a row of its table */
	unsigned resource; /* a region's columns: which */
};

/* One census under way. */
struct census_taking {
	struct served *s;
	struct snapshot snap, swap;
	uint64_t (*stat)[STATS];
	uint64_t (*over)[OVERS];
	struct psi *psi; /* by group */
	struct snapshot region[RESOURCES_MAX];
	struct psi *region_psi[RESOURCES_MAX]; /* by group; NULL: nothing is known */
	unsigned char *oom_pages;	       /* bit 0: this page of limits.oom is there; the file has holes */
	bool thorough;
};

struct census_file {
	struct census *map;
	size_t size;
	struct census_source source[CENSUS_COLUMNS_MAX];
	uint32_t columns;
};

/* A statistic, through what is const to us. */
static inline uint64_t census_load(const mc_word *word)
{
	return mc_load_relaxed((mc_word *)(uintptr_t)word);
}

static inline const struct pool *census_pool(const struct census_taking *t, uint16_t group)
{
	return pool_of(&t->s->seg, RESOURCE_MEMORY, group);
}

/* ---- census_columns.c ------------------------------------------------------------------------------------------- */

/* One more column, while there is room. */
void census_add(struct census_file *f, const struct census_source *from, const char *field, enum census_kind kind,
		const char *words, const char *help);

/* The columns of a key that is pressure: of host memory, or of a region. */
void census_add_pressure(struct census_file *f, const struct key *k, unsigned resource);

/* All columns, one or more for each key of keys.def that can be read and is a number or a word. */
void census_add_columns(struct census_file *f, const struct census_taking *t);

/* ---- census_regions.c ------------------------------------------------------------------------------------------- */

/* Those of a key of regions, for each region that is there. */
void census_add_regions(struct census_file *f, const struct key *k, const struct census_taking *t);

#endif
