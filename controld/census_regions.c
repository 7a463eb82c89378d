/* SPDX-License-Identifier: MIT */
/* The census's columns of devices' regions, as key_dmem.c says them; that one takes a snapshot for each group. */
#include "controld/census_taking.h"

#include "accounting/region.h"

#include <stdio.h>
#include <string.h>

static uint64_t value_capacity(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	(void)group;
	return region_capacity(&t->s->seg, from->resource);
}

static uint64_t value_region_current(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct snapshot *snap = &t->region[from->resource];

	return group < snap->groups ? snap->pool[group].current * REGION_UNIT : 0;
}

static uint64_t value_region_peak(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	return census_load(&pool_of(&t->s->seg, from->resource, group)->peak) * REGION_UNIT;
}

static uint64_t value_region_limit(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	uint64_t units =
		census_load(key_limit_word(&t->s->seg.limits->limits[from->resource][group], (int)from->index));

	return units >= PAGES_MAX ? CENSUS_MAX : units * REGION_UNIT;
}

static uint64_t value_region_context(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct snapshot *snap = &t->region[from->resource];

	return group < snap->groups ? snap->pool[group].class[CLASS_OBSERVED] * REGION_UNIT : 0;
}

static uint64_t value_region_event(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	return census_load(&pool_of(&t->s->seg, from->resource, group)->event[from->index]);
}

static void add_region_events(struct census_file *f, const struct key *k, unsigned region)
{
	struct census_source from = { k, value_region_event, 0, region };

#define EVENT(id, name, sentence) \
	from.index = EVENT_##id; \
	census_add(f, &from, name, CENSUS_TOTAL, "", sentence);
#include "accounting/events.def"
#undef EVENT
}

/* Its columns of one key; the names of the region are put in afterwards. */
static void add_of_region(struct census_file *f, const struct key *k, unsigned region, const struct census_taking *t)
{
	struct census_source from = { k, NULL, (unsigned)k->parameter, region };

	if (k->kind == &key_kind_dmem_events)
		add_region_events(f, k, region);
	else if (strcmp(k->name, "dmem.stat") == 0)
		census_add(f, &(struct census_source){ k, value_region_context, 0, region }, "context", CENSUS_BYTES,
			   "", k->sentence);
	else if (strcmp(k->name, "dmem.pressure") == 0 && t->region_psi[region])
		census_add_pressure(f, k, region);
	else if (k->kind == &key_kind_dmem_capacity)
		from.value = value_capacity;
	else if (k->kind == &key_kind_dmem_current)
		from.value = value_region_current;
	else if (k->kind == &key_kind_dmem_peak)
		from.value = value_region_peak;
	else if (k->kind == &key_kind_dmem_limit)
		from.value = value_region_limit;
	if (from.value)
		census_add(f, &from, "", CENSUS_BYTES, "", k->sentence);
}

static void name(struct census_column *c, const char *region)
{
	(void)snprintf(c->region, sizeof(c->region), "%s", region);
}

void census_add_regions(struct census_file *f, const struct key *k, const struct census_taking *t)
{
	const struct segment *seg = &t->s->seg;
	unsigned all;

	for (unsigned r = region_next(seg, 0); r < RESOURCES_MAX; r = region_next(seg, r + 1)) {
		uint32_t first = f->columns;

		if (t->region[r].pool)
			add_of_region(f, k, r, t);
		for (uint32_t i = first; i < f->columns; i++)
			name(&f->map->column[i], region_name(seg, r));
	}
	if (k->kind == &key_kind_dmem_limit && region_find(seg, REGION_ALL, &all) == 0) {
		add_of_region(f, k, all, t);
		name(&f->map->column[f->columns - 1], REGION_ALL);
	}
}
