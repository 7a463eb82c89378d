/* SPDX-License-Identifier: MIT */
/* Taking the census. */
#include "controld/census.h"

#include "accounting/pool.h"
#include "accounting/region.h"
#include "controld/daemon.h"
#include "controld/key.h"
#include "controld/psi.h"
#include "controld/residency.h"
#include "controld/stall.h"
#include "controld/stat.h"
#include "controld/swap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PERCENT_BITS 11 /* behind the point, in psi_line.avg */

struct taking;

/* What a column is filled from. */
struct source {
	const struct key *key;
	uint64_t (*value)(const struct source *from, const struct taking *t, uint16_t group);
	unsigned index;	   /* of a row of its table */
	unsigned resource; /* a region's columns: which */
};

/* One census under way. */
struct taking {
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
	struct source source[CENSUS_COLUMNS_MAX];
	uint32_t columns;
};

/* ---- values ---------------------------------------------------------------------------------------------- */

static uint64_t bytes(uint64_t pages)
{
	return pages >= PAGES_MAX ? CENSUS_MAX : pages << MC_PAGE_SHIFT;
}

static const struct pool *pool_at(const struct taking *t, uint16_t group)
{
	return pool_of(&t->s->seg, RESOURCE_MEMORY, group);
}

static const struct limits *limits_at(const struct taking *t, uint16_t group)
{
	return &t->s->seg.limits->limits[RESOURCE_MEMORY][group];
}

static uint64_t load(const mc_word *word)
{
	return mc_load_relaxed((mc_word *)(uintptr_t)word);
}

static uint64_t value_current(const struct source *from, const struct taking *t, uint16_t group)
{
	(void)from;
	return bytes(snapshot_current(&t->snap.pool[group]));
}

static uint64_t value_peak(const struct source *from, const struct taking *t, uint16_t group)
{
	(void)from;
	return bytes(t->snap.pool[group].peak);
}

static uint64_t value_limit(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct limits *l = limits_at(t, group);
	const mc_word *const word[] = { &l->min, &l->low, &l->high, &l->max, &l->soft };

	return bytes(load(word[from->index]));
}

static uint64_t value_failcnt(const struct source *from, const struct taking *t, uint16_t group)
{
	(void)from;
	return load(&pool_at(t, group)->failcnt);
}

static uint64_t value_event(const struct source *from, const struct taking *t, uint16_t group)
{
	return load(&pool_at(t, group)->event[from->index]);
}

static uint64_t value_event_local(const struct source *from, const struct taking *t, uint16_t group)
{
	return load(&pool_at(t, group)->event_local[from->index]);
}

static uint64_t value_stat(const struct source *from, const struct taking *t, uint16_t group)
{
	if (!t->thorough && (from->index == STAT_FILE || from->index == STAT_SWAP))
		return CENSUS_UNKNOWN;
	return t->stat[group][from->index] < PAGES_MAX ? t->stat[group][from->index] << MC_PAGE_SHIFT : 0;
}

static uint64_t value_over(const struct source *from, const struct taking *t, uint16_t group)
{
	return t->over[group][from->index];
}

/* index: state * 4 + span, the last for the total. */
static uint64_t value_pressure(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct psi *psi = from->resource ? t->region_psi[from->resource] : t->psi;
	const struct psi_line *line = &psi[group].line[from->index / 4];
	unsigned span = from->index % 4;

	return span < PSI_SPANS ? line->avg[span] * 100 >> PERCENT_BITS : line->total_ns / 1000;
}

static uint64_t value_number(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct group *g = &t->s->seg.limits->group[group];
	const uint8_t *const number[] = { &g->oom_group, &g->swappiness, &g->move_charge, &g->charge_mode,
					  &g->oom_policy };

	return *number[from->index];
}

enum { SWAP_CURRENT, SWAP_PEAK, SWAP_HIGH, SWAP_MAX, MEMSW_CURRENT, MEMSW_PEAK, MEMSW_MAX, MEMSW_FAILCNT };

/* As key_swap.c says it; that one looks at all members for each group. */
static uint64_t value_swap(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct limits *l = &t->s->seg.limits->limits[RESOURCE_SWAP][group];
	const struct snapshot_pool *swap = &t->swap.pool[group], *memory = &t->snap.pool[group];
	uint64_t memsw = snapshot_current(memory) + swap->current, peak = load(&pool_at(t, group)->memsw_peak);

	switch (from->index) {
	case SWAP_CURRENT:
		return bytes(swap->current);
	case SWAP_PEAK:
		return bytes(swap->peak);
	case SWAP_HIGH:
		return bytes(load(&l->high));
	case SWAP_MAX:
		return bytes(load(&l->max));
	case MEMSW_CURRENT:
		return bytes(memsw);
	case MEMSW_PEAK:
		if (!load(&limits_at(t, group)->memsw) && memory->peak > memsw)
			memsw = memory->peak;
		return bytes(peak > memsw ? peak : memsw);
	case MEMSW_FAILCNT:
		return load(&pool_at(t, group)->memsw_failcnt);
	case MEMSW_MAX:
	default:
		return bytes(swap_memsw_limit(t->s, group));
	}
}

static uint64_t value_swap_event(const struct source *from, const struct taking *t, uint16_t group)
{
	return load(&pool_of(&t->s->seg, RESOURCE_SWAP, group)->event[from->index]);
}

/* oom_rules.c has the pages made that it reads. Here they would be made for all groups. NULL:
 * nothing is set. */
static const struct group_oom *oom_at(const struct taking *t, uint16_t group)
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

static uint64_t value_oom(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct group_oom *o = oom_at(t, group);

	if (!o)
		return 0;
	return from->index ? mc_load_relaxed((mc_word32 *)(uintptr_t)&o->deadlock)
			   : mc_load_relaxed((mc_word32 *)(uintptr_t)&o->term_ms);
}

static uint64_t value_view(const struct source *from, const struct taking *t, uint16_t group)
{
	(void)from;
	return t->s->seg.limits->group[group].view == VIEW_REAL;
}

/* ---- of a region: as key_dmem.c says it, which takes a snapshot for each group ------------------------- */

static uint64_t value_capacity(const struct source *from, const struct taking *t, uint16_t group)
{
	(void)group;
	return region_capacity(&t->s->seg, from->resource);
}

static uint64_t value_region_current(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct snapshot *snap = &t->region[from->resource];

	return group < snap->groups ? snap->pool[group].current * REGION_UNIT : 0;
}

static uint64_t value_region_peak(const struct source *from, const struct taking *t, uint16_t group)
{
	return load(&pool_of(&t->s->seg, from->resource, group)->peak) * REGION_UNIT;
}

static uint64_t value_region_limit(const struct source *from, const struct taking *t, uint16_t group)
{
	uint64_t units = load(key_limit_word(&t->s->seg.limits->limits[from->resource][group], (int)from->index));

	return units >= PAGES_MAX ? CENSUS_MAX : units * REGION_UNIT;
}

static uint64_t value_region_context(const struct source *from, const struct taking *t, uint16_t group)
{
	const struct snapshot *snap = &t->region[from->resource];

	return group < snap->groups ? snap->pool[group].class[CLASS_OBSERVED] * REGION_UNIT : 0;
}

static uint64_t value_region_event(const struct source *from, const struct taking *t, uint16_t group)
{
	return load(&pool_of(&t->s->seg, from->resource, group)->event[from->index]);
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

static uint64_t value_key(const struct source *from, const struct taking *t, uint16_t group)
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
static uint64_t value_word(const struct source *from, const struct taking *t, uint16_t group)
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

static void add(struct census_file *f, const struct source *from, const char *field, enum census_kind kind,
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
	struct source from = { k, k->parameter ? value_event_local : value_event, 0, 0 };

#define EVENT(id, name, sentence) \
	from.index = EVENT_##id; \
	add(f, &from, name, CENSUS_TOTAL, "", sentence);
#include "accounting/events.def"
#undef EVENT
}

static void add_swap_events(struct census_file *f, const struct key *k)
{
	add(f, &(struct source){ k, value_swap_event, EVENT_HIGH, 0 }, "high", CENSUS_TOTAL, "", k->sentence);
	add(f, &(struct source){ k, value_swap_event, EVENT_MAX, 0 }, "max", CENSUS_TOTAL, "", k->sentence);
	add(f, &(struct source){ k, value_swap_event, EVENT_OOM, 0 }, "fail", CENSUS_TOTAL, "", k->sentence);
}

static void add_stat(struct census_file *f, const struct key *k)
{
	struct source from = { k, value_stat, 0, 0 };

#define STAT(id, name, sentence) \
	from.index = STAT_##id; \
	add(f, &from, name, CENSUS_BYTES, "", sentence);
#include "accounting/stats.def"
#undef STAT
	from.value = value_over;
#define OVER(id, name, sentence) \
	from.index = OVER_##id; \
	add(f, &from, "over_" name, CENSUS_TOTAL, "", "forced above the limit: " sentence);
#include "accounting/overs.def"
#undef OVER
}

static void add_pressure(struct census_file *f, const struct key *k, unsigned resource)
{
	static const char *const field[] = { "some.avg10", "some.avg60", "some.avg300", "some.total",
					     "full.avg10", "full.avg60", "full.avg300", "full.total" };

	for (unsigned i = 0; i < 8; i++)
		add(f, &(struct source){ k, value_pressure, i, resource }, field[i],
		    i % 4 == 3 ? CENSUS_USEC : CENSUS_PERCENT, "", k->sentence);
}

static void add_region_events(struct census_file *f, const struct key *k, unsigned region)
{
	struct source from = { k, value_region_event, 0, region };

#define EVENT(id, name, sentence) \
	from.index = EVENT_##id; \
	add(f, &from, name, CENSUS_TOTAL, "", sentence);
#include "accounting/events.def"
#undef EVENT
}

/* Its columns of one key; the names of the region are put in afterwards. */
static void add_of_region(struct census_file *f, const struct key *k, unsigned region, const struct taking *t)
{
	struct source from = { k, NULL, (unsigned)k->parameter, region };

	if (k->kind == &key_kind_dmem_events)
		add_region_events(f, k, region);
	else if (strcmp(k->name, "dmem.stat") == 0)
		add(f, &(struct source){ k, value_region_context, 0, region }, "context", CENSUS_BYTES, "",
		    k->sentence);
	else if (strcmp(k->name, "dmem.pressure") == 0 && t->region_psi[region])
		add_pressure(f, k, region);
	else if (k->kind == &key_kind_dmem_capacity)
		from.value = value_capacity;
	else if (k->kind == &key_kind_dmem_current)
		from.value = value_region_current;
	else if (k->kind == &key_kind_dmem_peak)
		from.value = value_region_peak;
	else if (k->kind == &key_kind_dmem_limit)
		from.value = value_region_limit;
	if (from.value)
		add(f, &from, "", CENSUS_BYTES, "", k->sentence);
}

static void add_regions(struct census_file *f, const struct key *k, const struct taking *t)
{
	const struct segment *seg = &t->s->seg;
	unsigned all;

	for (unsigned r = region_next(seg, 0); r < RESOURCES_MAX; r = region_next(seg, r + 1)) {
		uint32_t first = f->columns;

		if (t->region[r].pool)
			add_of_region(f, k, r, t);
		for (uint32_t i = first; i < f->columns; i++)
			put(f->map->column[i].region, sizeof(f->map->column[i].region), region_name(seg, r));
	}
	if (k->kind == &key_kind_dmem_limit && region_find(seg, REGION_ALL, &all) == 0) {
		add_of_region(f, k, all, t);
		put(f->map->column[f->columns - 1].region, REGION_NAME_MAX + 1, REGION_ALL);
	}
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
static void add_other(struct census_file *f, const struct key *k, const struct taking *t)
{
	json_t *v = key_get(k, t->s, GROUP_ROOT, &t->snap);
	struct source from = { k, value_key, 0, 0 };
	const char *name;
	json_t *field;

	json_object_foreach(v, name, field)
	{
		if (number_of(field) != CENSUS_UNKNOWN)
			add(f, &from, name, kind_of(k), "", k->sentence);
		from.index++;
	}
	if (k->format == FORMAT_WORD) {
		from.value = value_word;
		from.index = f->columns;
		add(f, &from, "", CENSUS_WORD, "", k->sentence);
	} else if (v && !json_is_object(v) && number_of(v) != CENSUS_UNKNOWN) {
		add(f, &from, "", kind_of(k), "", k->sentence);
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
	uint64_t (*value)(const struct source *from, const struct taking *t, uint16_t group);
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
			add(f, &(struct source){ k, plain[i].value, plain[i].index, 0 }, "", plain[i].kind,
			    plain[i].words, k->sentence);
			return true;
		}
	return false;
}

static void add_columns(struct census_file *f, const struct taking *t)
{
	size_t n;
	const struct key *keys = key_table(&n);

	f->columns = 0;
	for (const struct key *k = keys; k < keys + n; k++) {
		if (!(k->access & KEY_R) || k->format == FORMAT_TEXT || is_alias(k) || add_plain(f, k))
			continue;
		if (is_of_regions(k))
			add_regions(f, k, t);
		else if (k->kind == &key_kind_events && k->format == FORMAT_COUNT_MAP &&
			 strncmp(k->name, "memory.events", 13) == 0)
			add_events(f, k);
		else if (strcmp(k->name, "memory.swap.events") == 0)
			add_swap_events(f, k);
		else if (strcmp(k->name, "memory.stat") == 0)
			add_stat(f, k);
		else if (strcmp(k->name, "memory.pressure") == 0)
			add_pressure(f, k, 0);
		else
			add_other(f, k, t);
	}
	f->map->columns = f->columns;
	f->map->row_size = (uint32_t)(sizeof(struct census_row) + f->columns * sizeof(uint64_t));
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static int map_file(struct served *s, size_t size, struct complaint *why)
{
	struct census_file *f = s->census;
	char path[sizeof(s->seg.dir) + 16];
	void *map = MAP_FAILED;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" CENSUS_NAME, s->seg.dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, (off_t)size) == 0) /* later, a full disk would be a signal */
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		(void)close(fd);
	if (map == MAP_FAILED)
		return complain(why, -ENOSPC, "no room for %s", path);
	if (f->map)
		(void)munmap(f->map, f->size);
	f->map = map;
	f->size = size;
	return 0;
}

static bool is_in_place(const struct served *s)
{
	char path[sizeof(s->seg.dir) + 16];

	(void)snprintf(path, sizeof(path), "%s/" CENSUS_NAME, s->seg.dir);
	return access(path, F_OK) == 0;
}

static int make_room(struct served *s, uint32_t groups, struct complaint *why)
{
	size_t row = sizeof(struct census_row) + CENSUS_COLUMNS_MAX * sizeof(uint64_t);
	size_t size;
	int err = 0;

	if (!s->census)
		s->census = calloc(1, sizeof(*s->census));
	if (!s->census)
		return complain(why, -ENOMEM, "the daemon is out of memory");
	if (s->census->columns)
		row = s->census->map->row_size;
	size = CENSUS_ROWS_AT + row * groups;
	size = (size + 65535) & ~(size_t)65535;
	if (size > s->census->size || !is_in_place(s))
		err = map_file(s, size > s->census->size ? size : s->census->size, why);
	return err;
}

/* ---- taking it ------------------------------------------------------------------------------------------- */

static void sum_overs(struct taking *t)
{
	const struct segment *seg = &t->s->seg;

	for (uint32_t g = 0; g < t->snap.groups; g++)
		for (unsigned i = 0; i < OVERS && group_state(seg, (uint16_t)g) == GROUP_LIVE; i++)
			t->over[g][i] = mc_load_relaxed(&pool_at(t, (uint16_t)g)->over[i]);
	for (int depth = GROUP_DEPTH_MAX; depth > 0; depth--)
		for (uint32_t g = 1; g < t->snap.groups; g++) {
			uint16_t parent = group_parent(seg, (uint16_t)g);

			for (unsigned i = 0;
			     seg->limits->group[g].depth == depth && parent < t->snap.groups && i < OVERS; i++)
				t->over[parent][i] += t->over[g][i];
		}
}

static size_t oom_size(const struct taking *t)
{
	return (sizeof(t->s->seg.limits->oom[0]) * t->snap.groups + MC_PAGE_SIZE - 1) & ~(MC_PAGE_SIZE - 1);
}

/* Without memory for it, the region is left out. */
static void prepare_regions(struct taking *t, uint64_t now_ns)
{
	const struct segment *seg = &t->s->seg;

	for (unsigned r = region_next(seg, 0); r < RESOURCES_MAX; r = region_next(seg, r + 1)) {
		if (snapshot_take(seg, r, &t->region[r]))
			continue;
		t->region_psi[r] = calloc(t->snap.groups, sizeof(struct psi));
		if (t->region_psi[r])
			stall_read_region(t->s, r, now_ns, t->snap.groups, t->region_psi[r]);
	}
}

static void free_regions(struct taking *t)
{
	for (unsigned r = 0; r < RESOURCES_MAX; r++) {
		snapshot_free(&t->region[r]);
		free(t->region_psi[r]);
	}
}

static int prepare(struct taking *t, uint64_t now_ns)
{
	int err = residency_snapshot(t->s, GROUP_ROOT, now_ns, &t->snap);

	if (!err)
		err = snapshot_take(&t->s->seg, RESOURCE_SWAP, &t->swap);
	if (err)
		return err;
	t->stat = calloc(t->snap.groups, sizeof(*t->stat));
	t->over = calloc(t->snap.groups, sizeof(*t->over));
	t->psi = calloc(t->snap.groups, sizeof(*t->psi));
	t->oom_pages = calloc(oom_size(t) / MC_PAGE_SIZE + 1, 1);
	if (!t->stat || !t->over || !t->psi || !t->oom_pages)
		return -ENOMEM;
	(void)mincore(t->s->seg.limits->oom, oom_size(t), t->oom_pages); /* fails: nothing is known to be set */
	stat_take_all(t->s, &t->snap, t->thorough, t->stat);
	sum_overs(t);
	stall_read_all(t->s, now_ns, t->snap.groups, t->psi);
	prepare_regions(t, now_ns);
	return 0;
}

static void fill_row(const struct taking *t, uint16_t group, struct census_row *row)
{
	const struct census_file *f = t->s->census;
	const struct group *g = &t->s->seg.limits->group[group];

	row->slot = group;
	row->generation = g->generation;
	row->parent = group == GROUP_ROOT ? GROUP_NIL : group_parent(&t->s->seg, group);
	row->depth = g->depth;
	row->members = t->snap.pool[group].members;
	row->members_local = t->snap.pool[group].members_local;
	memcpy(row->name, g->name, sizeof(row->name));
	for (uint32_t i = 0; i < f->columns; i++)
		row->value[i] = f->source[i].value(&f->source[i], t, group);
}

static void fill(const struct taking *t)
{
	struct census *c = t->s->census->map;

	c->rows = 0;
	for (uint32_t g = 0; g < t->snap.groups; g++)
		if (group_state(&t->s->seg, (uint16_t)g) == GROUP_LIVE)
			fill_row(t, (uint16_t)g, census_row(c, c->row_size, c->rows++));
}

int census_take(struct served *s, bool thorough, uint64_t now_ns, struct complaint *why)
{
	struct taking t = { .s = s, .thorough = thorough };
	int err = prepare(&t, now_ns);

	if (err)
		err = complain(why, err, "the daemon is out of memory");
	if (!err)
		err = make_room(s, t.snap.groups, why);
	if (!err) {
		struct census *c = s->census->map;

		mc_store_full(&c->seq, mc_load_relaxed(&c->seq) | 1);
		c->magic = CENSUS_MAGIC;
		c->instance = s->seg.limits->header.instance;
		c->at_ns = now_ns;
		add_columns(s->census, &t);
		fill(&t);
		mc_store_full(&c->seq, mc_load_relaxed(&c->seq) + 1);
	}
	free(t.stat);
	free(t.over);
	free(t.psi);
	free(t.oom_pages);
	free_regions(&t);
	snapshot_free(&t.snap);
	snapshot_free(&t.swap);
	return err;
}

void census_close(struct served *s)
{
	if (s->census && s->census->map)
		(void)munmap(s->census->map, s->census->size);
	free(s->census);
	s->census = NULL;
}
