/* SPDX-License-Identifier: MIT */
/* What is behind the keys of device memory: one value for each region. */
#include "accounting/evict.h"
#include "accounting/region.h"
#include "accounting/stock.h"
#include "accounting/units.h"
#include "controld/daemon.h"
#include "controld/key.h"
#include "controld/stall.h"

#include <errno.h>
#include <string.h>

/* A value to be set carries its region: region(8) | units(56). Region 0 is every one, and those to
 * come. */
#define VALUE_REGION_SHIFT 56
#define VALUE_UNITS ((1ull << VALUE_REGION_SHIFT) - 1)

_Static_assert(PAGES_MAX <= VALUE_UNITS, "a limit fits beside its region");

static json_t *bytes(uint64_t units)
{
	return json_integer((json_int_t)(units * REGION_UNIT));
}

static void put(json_t *table, const char *name, json_t *value)
{
	(void)json_object_set_new(table, name, value);
}

typedef json_t *region_value(const struct key *k, const struct served *s, unsigned region, uint16_t group);

static json_t *each(const struct key *k, const struct served *s, uint16_t group, region_value *of)
{
	json_t *table = json_object();

	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		put(table, region_name(&s->seg, r), of(k, s, r, group));
	return table;
}

/* ---- which region ---------------------------------------------------------------------------------------- */

static int complain_region(const struct served *s, const char *text, size_t n, struct complaint *why)
{
	unsigned r = region_next(&s->seg, 0);

	if (r == RESOURCES_MAX)
		return complain(why, -ENODEV,
				"no region '%.*s': no device is known until a program uses it; "
				"'all' holds for "
				"those to come, too",
				(int)n, text);
	return complain(why, -ENODEV,
			"no region '%.*s': there are %s and others that 'memctl get / dmem.capacity' names", (int)n,
			text, region_name(&s->seg, r));
}

/* The first word of *text. Region 0: all. */
static int parse_region(const struct served *s, const char **text, unsigned *ret, struct complaint *why)
{
	const char *word = *text + strspn(*text, " \t\n");
	size_t n = strcspn(word, " \t\n");
	char name[REGION_NAME_MAX + 1];

	*ret = 0;
	*text = word + n;
	if (n > REGION_NAME_MAX)
		return complain_region(s, word, REGION_NAME_MAX, why);
	memcpy(name, word, n);
	name[n] = 0;
	if (strcmp(name, REGION_ALL) == 0 || region_find_alias(&s->seg, name, ret) == 0)
		return 0;
	return complain_region(s, word, n, why);
}

/* ---- capacity, usage, peak ------------------------------------------------------------------------------- */

static json_t *capacity_of(const struct key *k, const struct served *s, unsigned region, uint16_t group)
{
	(void)k, (void)group;
	return json_integer((json_int_t)region_capacity(&s->seg, region));
}

static json_t *get_capacity(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return each(k, s, group, capacity_of);
}

const struct key_kind key_kind_dmem_capacity = { .get = get_capacity };

/* Without stocks, which nobody holds yet. */
static json_t *current_of(const struct key *k, const struct served *s, unsigned region, uint16_t group)
{
	struct snapshot snap;
	json_t *value;

	(void)k;
	if (snapshot_take(&s->seg, region, &snap))
		return json_null();
	value = bytes(snap.pool[group].current);
	snapshot_free(&snap);
	return value;
}

static json_t *get_current(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return each(k, s, group, current_of);
}

const struct key_kind key_kind_dmem_current = { .get = get_current };

/* "<region>.context": found by members, see device/cuda_overhead.c. */
static json_t *get_stat(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *unused)
{
	json_t *table = json_object();
	char field[REGION_NAME_MAX + 32];
	struct snapshot snap;

	(void)k, (void)unused;
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1)) {
		if (snapshot_take(&s->seg, r, &snap))
			continue;
		strcpy(stpcpy(field, region_name(&s->seg, r)), ".context");
		put(table, field, bytes(snap.pool[group].class[CLASS_OBSERVED]));
		snapshot_free(&snap);
	}
	return table;
}

const struct key_kind key_kind_dmem_stat = { .get = get_stat };

static json_t *peak_of(const struct key *k, const struct served *s, unsigned region, uint16_t group)
{
	(void)k;
	return bytes(mc_load_relaxed(&pool_of(&s->seg, region, group)->peak));
}

static json_t *get_peak(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return each(k, s, group, peak_of);
}

static int parse_peak(const struct key *k, const struct served *s, uint16_t group, const char *text,
		      uint64_t *ret_value, struct complaint *why)
{
	unsigned region = 0;
	int err = parse_region(s, &text, &region, why);

	(void)k, (void)group;
	*ret_value = (uint64_t)region << VALUE_REGION_SHIFT;
	return err;
}

static int reset_peak(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	unsigned region = (unsigned)(value >> VALUE_REGION_SHIFT);

	(void)k, (void)why;
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		if (region == 0 || region == r)
			key_reset_peak(s, r, group);
	return 0;
}

const struct key_kind key_kind_dmem_peak = {
	.get = get_peak,
	.parse = parse_peak,
	.apply = reset_peak,
};

/* ---- limits ---------------------------------------------------------------------------------------------- */

static mc_word *limit_word(const struct served *s, unsigned region, uint16_t group, int which)
{
	return key_limit_word(&s->seg.limits->limits[region][group], which);
}

static json_t *limit_of(const struct key *k, const struct served *s, unsigned region, uint16_t group)
{
	uint64_t units = mc_load_relaxed(limit_word(s, region, group, k->parameter));

	return units >= PAGES_MAX ? json_string("max") : bytes(units);
}

/* "all" is shown where it stands for regions to come. */
static json_t *get_limit(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	json_t *table = each(k, s, group, limit_of);
	unsigned all;

	(void)snap;
	if (region_find(&s->seg, REGION_ALL, &all) == 0)
		put(table, REGION_ALL, limit_of(k, s, all, group));
	return table;
}

static int parse_limit(const struct key *k, const struct served *s, uint16_t group, const char *text,
		       uint64_t *ret_value, struct complaint *why)
{
	unsigned region = 0;
	uint64_t units = 0;
	int err = 0;

	if (group == GROUP_ROOT && (k->parameter == LIMIT_MIN || k->parameter == LIMIT_LOW))
		return complain(why, -EINVAL, "the root has no %s: there is nobody to protect it from", k->name);
	if (strpbrk(text + strspn(text, " \t\n"), " \t\n") == NULL)
		return complain(why, -EINVAL,
				"'%.60s' is not for %s: a region and a size, such as \"gpu0 1G\" "
				"or \"all max\"",
				text, k->name);
	err = parse_region(s, &text, &region, why);
	if (err)
		return err;
	if (text[strspn(text, " \t\n")] == 0 || units_parse(text, "max", REGION_UNIT, &units))
		return complain(why, -EINVAL,
				"'%.60s' is no size for %s: bytes, with one of K M G T P E behind "
				"if you like, or max",
				text, k->name);
	*ret_value = (uint64_t)region << VALUE_REGION_SHIFT | units;
	return 0;
}

/* Above it now: members are asked to give back what they can, and nobody waits for them; what is
 * charged from now on is refused until it fits. */
static void ask_for_excess(const struct served *s, unsigned region, uint16_t group, uint64_t units)
{
	uint64_t usage = pool_usage(mc_load_full(&pool_of(&s->seg, region, group)->word));
	struct evict_wish wish = {
		.resource = region,
		.limit = group,
		.except = MEMBER_NIL,
		.units = usage > units ? usage - units : 0,
	};
	bool was_spared = false;

	if (wish.units == 0 || evict_ask(&s->seg, &wish, reclaim_now(), &was_spared) || !was_spared)
		return;
	wish.ignore_low = true;
	(void)evict_ask(&s->seg, &wish, reclaim_now(), NULL);
}

/* As memory's: the limit is written, then usage can be read [O3]. */
static void set_one(const struct key *k, struct served *s, unsigned region, uint16_t group, uint64_t units)
{
	mc_store_full(limit_word(s, region, group, k->parameter), units);
	if (k->parameter == LIMIT_MAX && pool_is_tight(&s->seg, region, group, 0))
		(void)stock_drain(&s->actor, region, group);
	if (k->parameter == LIMIT_MAX || k->parameter == LIMIT_HIGH)
		ask_for_excess(s, region, group, units);
}

static int set_all(const struct key *k, struct served *s, uint16_t group, uint64_t units, struct complaint *why)
{
	unsigned all = 0;
	int err = region_register(&s->seg, REGION_ALL, "", 0, &all);

	if (err)
		return complain(why, err, "no more regions can be registered");
	set_one(k, s, all, group, units);
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		set_one(k, s, r, group, units);
	return 0;
}

static int apply_limit(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	unsigned region = (unsigned)(value >> VALUE_REGION_SHIFT);
	int err = 0;

	if (region)
		set_one(k, s, region, group, value & VALUE_UNITS);
	else
		err = set_all(k, s, group, value & VALUE_UNITS, why);
	if (!err && k->parameter == LIMIT_MAX)
		reclaim_wake(&s->seg);
	return err;
}

const struct key_kind key_kind_dmem_limit = {
	.get = get_limit,
	.parse = parse_limit,
	.apply = apply_limit,
	.may_fail = true,
};

/* ---- events, pressure, view ------------------------------------------------------------------------------ */

static void put_events(json_t *table, const struct served *s, unsigned region, uint16_t group)
{
	const struct pool *pool = pool_of(&s->seg, region, group);
	static const char *const names[] = {
#define EVENT(id, name, sentence) [EVENT_##id] = (name),
#include "accounting/events.def"
#undef EVENT
	};
	char field[REGION_NAME_MAX + 32];

	for (unsigned i = 0; i < EVENTS; i++) {
		strcpy(stpcpy(stpcpy(field, region_name(&s->seg, region)), "."), names[i]);
		put(table, field, json_integer((json_int_t)mc_load_relaxed(&pool->event[i])));
	}
}

static json_t *get_events(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	json_t *table = json_object();

	(void)k, (void)snap;
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		put_events(table, s, r, group);
	return table;
}

const struct key_kind key_kind_dmem_events = { .get = get_events };

/* "REGION.some" and "REGION.full", each with the rest of the line. */
static void put_pressure(json_t *table, const struct served *s, unsigned region, uint16_t group)
{
	char text[PSI_TEXT_MAX], field[REGION_NAME_MAX + 32];
	char *next = text;

	if (stall_format_region(s, region, group, text, s->daemon->world->now_ns()))
		return;
	for (char *line; (line = strsep(&next, "\n")) != NULL && *line;) {
		const char *name = strsep(&line, " ");

		strcpy(stpcpy(stpcpy(field, region_name(&s->seg, region)), "."), name);
		put(table, field, json_string(line));
	}
}

static json_t *get_pressure(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	json_t *table = json_object();

	(void)k, (void)snap;
	for (unsigned r = region_next(&s->seg, 0); r < RESOURCES_MAX; r = region_next(&s->seg, r + 1))
		put_pressure(table, s, r, group);
	return table;
}

const struct key_kind key_kind_dmem_pressure = { .get = get_pressure };

static json_t *get_view(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)snap;
	return json_string(s->seg.limits->group[group].view == VIEW_REAL ? "real" : "virtual");
}

static int parse_view(const struct key *k, const struct served *s, uint16_t group, const char *text,
		      uint64_t *ret_value, struct complaint *why)
{
	(void)s, (void)group;
	if (strcmp(text, "virtual") != 0 && strcmp(text, "real") != 0)
		return complain(why, -EINVAL, "'%.60s' is not for %s: virtual or real", text, k->name);
	*ret_value = text[0] == 'r' ? VIEW_REAL : VIEW_VIRTUAL;
	return 0;
}

static int apply_view(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)k, (void)why;
	s->seg.limits->group[group].view = (uint8_t)value;
	return 0;
}

const struct key_kind key_kind_dmem_view = {
	.get = get_view,
	.parse = parse_view,
	.apply = apply_view,
};
