/* SPDX-License-Identifier: MIT */
/* The census's columns: what each shows of a group. */
#include "controld/census_taking.h"

#include "controld/swap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERCENT_BITS 11 /* behind the point, in psi_line.avg */

/* ---- values ---------------------------------------------------------------------------------------------- */

static uint64_t bytes(uint64_t pages)
{
	return pages >= PAGES_MAX ? CENSUS_MAX : pages << MC_PAGE_SHIFT;
}

static const struct limits *limits_at(const struct census_taking *t, uint16_t group)
{
	return &t->s->seg.limits->limits[RESOURCE_MEMORY][group];
}

static uint64_t value_current(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	(void)from;
	return bytes(snapshot_current(&t->snap.pool[group]));
}

static uint64_t value_peak(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	(void)from;
	return bytes(t->snap.pool[group].peak);
}

static uint64_t value_limit(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct limits *l = limits_at(t, group);
	const mc_word *const word[] = { &l->min, &l->low, &l->high, &l->max, &l->soft };

	return bytes(census_load(word[from->index]));
}

static uint64_t value_failcnt(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	(void)from;
	return census_load(&census_pool(t, group)->failcnt);
}

static uint64_t value_event(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	return census_load(&census_pool(t, group)->event[from->index]);
}

static uint64_t value_event_local(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	return census_load(&census_pool(t, group)->event_local[from->index]);
}

static uint64_t value_stat(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	if (!t->thorough && (from->index == STAT_FILE || from->index == STAT_SWAP))
		return CENSUS_UNKNOWN;
	return t->stat[group][from->index] < PAGES_MAX ? t->stat[group][from->index] << MC_PAGE_SHIFT : 0;
}

static uint64_t value_over(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	return t->over[group][from->index];
}

static uint64_t value_number(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct group *g = &t->s->seg.limits->group[group];
	const uint8_t *const number[] = { &g->oom_group, &g->swappiness, &g->move_charge, &g->charge_mode,
					  &g->oom_policy };

	return *number[from->index];
}

enum { SWAP_CURRENT, SWAP_PEAK, SWAP_HIGH, SWAP_MAX, MEMSW_CURRENT, MEMSW_PEAK, MEMSW_MAX, MEMSW_FAILCNT };

/* As key_swap.c says it; that one looks at all members for each group. */
static uint64_t value_swap(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct limits *l = &t->s->seg.limits->limits[RESOURCE_SWAP][group];
	const struct snapshot_pool *swap = &t->swap.pool[group], *memory = &t->snap.pool[group];
	uint64_t memsw = snapshot_current(memory) + swap->current,
		 peak = census_load(&census_pool(t, group)->memsw_peak);

	switch (from->index) {
	case SWAP_CURRENT:
		return bytes(swap->current);
	case SWAP_PEAK:
		return bytes(swap->peak);
	case SWAP_HIGH:
		return bytes(census_load(&l->high));
	case SWAP_MAX:
		return bytes(census_load(&l->max));
	case MEMSW_CURRENT:
		return bytes(memsw);
	case MEMSW_PEAK:
		if (!census_load(&limits_at(t, group)->memsw) && memory->peak > memsw)
			memsw = memory->peak;
		return bytes(peak > memsw ? peak : memsw);
	case MEMSW_FAILCNT:
		return census_load(&census_pool(t, group)->memsw_failcnt);
	case MEMSW_MAX:
	default:
		return bytes(swap_memsw_limit(t->s, group));
	}
}

static uint64_t value_swap_event(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	return census_load(&pool_of(&t->s->seg, RESOURCE_SWAP, group)->event[from->index]);
}

/* oom_rules.c has the pages made that it reads. Here they would be made for all groups. NULL:
 * nothing is set. */
static const struct group_oom *oom_at(const struct census_taking *t, uint16_t group)
{
	const struct group_oom *all = t->s->seg.limits->oom, *o = &all[group];
	size_t first = (size_t)((const char *)o - (const char *)all) >> MC_PAGE_SHIFT;
	size_t last = (size_t)((const char *)(o + 1) - (const char *)all - 1) >> MC_PAGE_SHIFT;

	if (!(t->oom_pages[first] & 1) || !(t->oom_pages[last] & 1))
		return NULL;
	return mc_load_acquire((mc_word32 *)(uintptr_t)&o->generation) == t->s->seg.limits->group[group].generation + 1
		       ? o
		       : NULL;
}

static uint64_t value_oom(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct group_oom *o = oom_at(t, group);

	if (!o)
		return 0;
	return from->index ? mc_load_relaxed((mc_word32 *)(uintptr_t)&o->deadlock)
			   : mc_load_relaxed((mc_word32 *)(uintptr_t)&o->term_ms);
}

static uint64_t value_view(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	(void)from;
	return t->s->seg.limits->group[group].view == VIEW_REAL;
}

/* index: state * 4 + span, the last for the total. */
static uint64_t value_pressure(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	const struct psi *psi = from->resource ? t->region_psi[from->resource] : t->psi;
	const struct psi_line *line = &psi[group].line[from->index / 4];
	unsigned span = from->index % 4;

	return span < PSI_SPANS ? line->avg[span] * 100 >> PERCENT_BITS : line->total_ns / 1000;
}

/* A number as JSON has it, for keys that have no faster way. */
static uint64_t number_of(const json_t *v)
{
	const char *text = json_string_value(v);
	char *end;
	uint64_t n;

	if (json_is_integer(v))
		return (uint64_t)json_integer_value(v);
	if (!text)
		return CENSUS_UNKNOWN;
	if (strcmp(text, "max") == 0)
		return CENSUS_MAX;
	n = strtoull(text, &end, 10);
	return *text && !*end ? n : CENSUS_UNKNOWN;
}

static uint64_t value_key(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	json_t *v = key_get(from->key, t->s, group, &t->snap);
	uint64_t n = CENSUS_UNKNOWN;

	if (json_is_object(v)) {
		void *at = json_object_iter(v);

		for (unsigned i = 0; at && i < from->index; i++)
			at = json_object_iter_next(v, at);
		n = at ? number_of(json_object_iter_value(at)) : CENSUS_UNKNOWN;
	} else {
		n = number_of(v);
	}
	json_decref(v);
	return n;
}

/* Words are numbered as they come. */
static uint64_t value_word(const struct census_source *from, const struct census_taking *t, uint16_t group)
{
	struct census_column *c = &t->s->census->map->column[from->index];
	json_t *v = key_get(from->key, t->s, group, &t->snap);
	const char *word = json_string_value(v), *at = c->words;
	size_t n = word ? strlen(word) : 0;
	uint64_t number = 0;

	for (; n && *at; number++) {
		size_t size = strcspn(at, " ");

		if (size == n && memcmp(at, word, n) == 0)
			break;
		at += size + (at[size] == ' ');
	}
	if (n && !*at && strlen(c->words) + n + 2 < sizeof(c->words))
		(void)sprintf(c->words + strlen(c->words), "%s%s", *c->words ? " " : "", word);
	else if (!n || !*at)
		number = CENSUS_UNKNOWN;
	json_decref(v);
	return number;
}

/* ---- columns --------------------------------------------------------------------------------------------- */

static void put(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%s", text);
}

void census_add(struct census_file *f, const struct census_source *from, const char *field, enum census_kind kind,
		const char *words, const char *help)
{
	struct census_column *c = &f->map->column[f->columns];

	if (f->columns == CENSUS_COLUMNS_MAX)
		return;
	f->source[f->columns++] = *from;
	*c = (struct census_column){ .kind = kind };
	put(c->key, sizeof(c->key), from->key->name);
	put(c->field, sizeof(c->field), field);
	put(c->words, sizeof(c->words), words);
	put(c->help, sizeof(c->help), help);
}

static void add_events(struct census_file *f, const struct key *k)
{
	struct census_source from = { k, k->parameter ? value_event_local : value_event, 0, 0 };

#define EVENT(id, name, sentence) \
	from.index = EVENT_##id; \
	census_add(f, &from, name, CENSUS_TOTAL, "", sentence);
#include "accounting/events.def"
#undef EVENT
}

static void add_swap_events(struct census_file *f, const struct key *k)
{
	census_add(f, &(struct census_source){ k, value_swap_event, EVENT_HIGH, 0 }, "high", CENSUS_TOTAL, "",
		   k->sentence);
	census_add(f, &(struct census_source){ k, value_swap_event, EVENT_MAX, 0 }, "max", CENSUS_TOTAL, "",
		   k->sentence);
	census_add(f, &(struct census_source){ k, value_swap_event, EVENT_OOM, 0 }, "fail", CENSUS_TOTAL, "",
		   k->sentence);
}

static void add_stat(struct census_file *f, const struct key *k)
{
	struct census_source from = { k, value_stat, 0, 0 };

#define STAT(id, name, sentence) \
	from.index = STAT_##id; \
	census_add(f, &from, name, CENSUS_BYTES, "", sentence);
#include "accounting/stats.def"
#undef STAT
	from.value = value_over;
#define OVER(id, name, sentence) \
	from.index = OVER_##id; \
	census_add(f, &from, "over_" name, CENSUS_TOTAL, "", "forced above the limit: " sentence);
#include "accounting/overs.def"
#undef OVER
}

void census_add_pressure(struct census_file *f, const struct key *k, unsigned resource)
{
	static const char *const field[] = { "some.avg10", "some.avg60", "some.avg300", "some.total",
					     "full.avg10", "full.avg60", "full.avg300", "full.total" };

	for (unsigned i = 0; i < 8; i++)
		census_add(f, &(struct census_source){ k, value_pressure, i, resource }, field[i],
			   i % 4 == 3 ? CENSUS_USEC : CENSUS_PERCENT, "", k->sentence);
}

static bool is_of_regions(const struct key *k)
{
	return strncmp(k->name, "dmem.", 5) == 0 && k->format != FORMAT_WORD;
}

static enum census_kind kind_of(const struct key *k)
{
	switch (k->format) {
	case FORMAT_BYTES:
	case FORMAT_BYTES_MAP:
		return CENSUS_BYTES;
	case FORMAT_COUNT:
	case FORMAT_COUNT_MAP:
		return CENSUS_TOTAL;
	default:
		return CENSUS_NUMBER;
	}
}

/* Any other key: what it has for the root, all have. */
static void add_other(struct census_file *f, const struct key *k, const struct census_taking *t)
{
	json_t *v = key_get(k, t->s, GROUP_ROOT, &t->snap);
	struct census_source from = { k, value_key, 0, 0 };
	const char *name;
	json_t *field;

	json_object_foreach(v, name, field)
	{
		if (number_of(field) != CENSUS_UNKNOWN)
			census_add(f, &from, name, kind_of(k), "", k->sentence);
		from.index++;
	}
	if (k->format == FORMAT_WORD) {
		from.value = value_word;
		from.index = f->columns;
		census_add(f, &from, "", CENSUS_WORD, "", k->sentence);
	} else if (v && !json_is_object(v) && number_of(v) != CENSUS_UNKNOWN) {
		census_add(f, &from, "", kind_of(k), "", k->sentence);
	}
	json_decref(v);
}

/* Keys of cgroup v1 that say again what others say. */
static bool is_alias(const struct key *k)
{
	static const char *const names[] = { "memory.usage_in_bytes", "memory.max_usage_in_bytes",
					     "memory.limit_in_bytes", "memory.soft_limit_in_bytes",
					     "memory.use_hierarchy",  "memory.oom_control" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(k->name, names[i]) == 0)
			return true;
	return false;
}

static const struct {
	const char *key;
	uint64_t (*value)(const struct census_source *from, const struct census_taking *t, uint16_t group);
	unsigned index;
	enum census_kind kind;
	const char *words;
} plain[] = {
	{ "memory.current", value_current, 0, CENSUS_BYTES, "" },
	{ "memory.peak", value_peak, 0, CENSUS_BYTES, "" },
	{ "memory.min", value_limit, 0, CENSUS_BYTES, "" },
	{ "memory.low", value_limit, 1, CENSUS_BYTES, "" },
	{ "memory.high", value_limit, 2, CENSUS_BYTES, "" },
	{ "memory.max", value_limit, 3, CENSUS_BYTES, "" },
	{ "memory.soft", value_limit, 4, CENSUS_BYTES, "" },
	{ "memory.failcnt", value_failcnt, 0, CENSUS_TOTAL, "" },
	{ "memory.oom.group", value_number, 0, CENSUS_NUMBER, "" },
	{ "memory.swappiness", value_number, 1, CENSUS_NUMBER, "" },
	{ "memory.move_charge_at_immigrate", value_number, 2, CENSUS_NUMBER, "" },
	{ "memory.swap.current", value_swap, SWAP_CURRENT, CENSUS_BYTES, "" },
	{ "memory.swap.peak", value_swap, SWAP_PEAK, CENSUS_BYTES, "" },
	{ "memory.swap.high", value_swap, SWAP_HIGH, CENSUS_BYTES, "" },
	{ "memory.swap.max", value_swap, SWAP_MAX, CENSUS_BYTES, "" },
	{ "memory.memsw.usage_in_bytes", value_swap, MEMSW_CURRENT, CENSUS_BYTES, "" },
	{ "memory.memsw.max_usage_in_bytes", value_swap, MEMSW_PEAK, CENSUS_BYTES, "" },
	{ "memory.memsw.limit_in_bytes", value_swap, MEMSW_MAX, CENSUS_BYTES, "" },
	{ "memory.memsw.failcnt", value_swap, MEMSW_FAILCNT, CENSUS_TOTAL, "" },
	{ "memory.oom.term", value_oom, 0, CENSUS_NUMBER, "" },
	{ "memory.oom.deadlock", value_oom, 1, CENSUS_WORD, "pass refuse wait" },
	{ "dmem.view", value_view, 0, CENSUS_WORD, "virtual real" },
	{ "memory.charge", value_number, 3, CENSUS_WORD, "resident commit" },
	{ "memory.oom.policy", value_number, 4, CENSUS_WORD, "fail kill wait" },
};

static bool add_plain(struct census_file *f, const struct key *k)
{
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strcmp(plain[i].key, k->name) == 0) {
			census_add(f, &(struct census_source){ k, plain[i].value, plain[i].index, 0 }, "",
				   plain[i].kind, plain[i].words, k->sentence);
			return true;
		}
	return false;
}

void census_add_columns(struct census_file *f, const struct census_taking *t)
{
	size_t n;
	const struct key *keys = key_table(&n);

	f->columns = 0;
	for (const struct key *k = keys; k < keys + n; k++) {
		if (!(k->access & KEY_R) || k->format == FORMAT_TEXT || is_alias(k) || add_plain(f, k))
			continue;
		if (is_of_regions(k))
			census_add_regions(f, k, t);
		else if (k->kind == &key_kind_events && k->format == FORMAT_COUNT_MAP &&
			 strncmp(k->name, "memory.events", 13) == 0)
			add_events(f, k);
		else if (strcmp(k->name, "memory.swap.events") == 0)
			add_swap_events(f, k);
		else if (strcmp(k->name, "memory.stat") == 0)
			add_stat(f, k);
		else if (strcmp(k->name, "memory.pressure") == 0)
			census_add_pressure(f, k, 0);
		else
			add_other(f, k, t);
	}
	f->map->columns = f->columns;
	f->map->row_size = (uint32_t)(sizeof(struct census_row) + f->columns * sizeof(uint64_t));
}
