/* SPDX-License-Identifier: MIT */
/* The keys of swap, of memory and swap together, and what memory.reclaim takes. */
#include "accounting/reclaim.h"
#include "accounting/units.h"
#include "controld/daemon.h"
#include "controld/key.h"
#include "controld/swap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPACE " \t\n\v\f\r"

static struct pool *swap_pool(const struct served *s, uint16_t group)
{
	return pool_of(&s->seg, RESOURCE_SWAP, group);
}

static struct pool *memory_pool(const struct served *s, uint16_t group)
{
	return pool_of(&s->seg, RESOURCE_MEMORY, group);
}

/* ---- swap ------------------------------------------------------------------------------------------------ */

static json_t *get_usage(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)snap;
	return key_bytes(swap_used(s, group));
}

const struct key_kind key_kind_swap_usage = { .get = get_usage };

/* A stock is usage for a moment: the counter's peak may be some pages more than was ever used. */
static json_t *get_peak(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	uint64_t peak = mc_load_relaxed(&swap_pool(s, group)->peak), used = swap_used(s, group);

	(void)k, (void)snap;
	return key_bytes(peak > used ? peak : used);
}

static int reset_peak(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)k, (void)value, (void)why;
	key_reset_peak(s, RESOURCE_SWAP, group);
	return 0;
}

const struct key_kind key_kind_swap_peak = {
	.get = get_peak,
	.parse = key_parse_anything,
	.apply = reset_peak,
};

static mc_word *limit_word(const struct served *s, uint16_t group, int which)
{
	return key_limit_word(&s->seg.limits->limits[RESOURCE_SWAP][group], which);
}

static json_t *get_limit(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return key_limit(mc_load_relaxed(limit_word(s, group, k->parameter)));
}

static int parse_limit(const struct key *k, const struct served *s, uint16_t group, const char *text,
		       uint64_t *ret_value, struct complaint *why)
{
	(void)s, (void)group;
	return key_parse_size(k, text, "max", ret_value, why);
}

/* Nothing is brought back from swap for it, as in the kernel. */
static int apply_limit(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)why;
	mc_store_full(limit_word(s, group, k->parameter), value);
	return 0;
}

const struct key_kind key_kind_swap_limit = {
	.get = get_limit,
	.parse = parse_limit,
	.apply = apply_limit,
};

/* `fail`: all that could not be paged out for a limit; what the machine's swap had no room for is
 * not seen. */
static json_t *get_events(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	const struct pool *pool = swap_pool(s, group);

	(void)k, (void)snap;
	return json_pack("{s:I, s:I, s:I}", "high", (json_int_t)mc_load_relaxed(&pool->event[EVENT_HIGH]), "max",
			 (json_int_t)mc_load_relaxed(&pool->event[EVENT_MAX]), "fail",
			 (json_int_t)mc_load_relaxed(&pool->event[EVENT_OOM]));
}

const struct key_kind key_kind_swap_events = { .get = get_events };

/* ---- memory and swap together ---------------------------------------------------------------------------- */

static struct limits *limits_of(const struct served *s, uint16_t group)
{
	return &s->seg.limits->limits[RESOURCE_MEMORY][group];
}

static json_t *get_memsw(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k;
	return key_bytes(snapshot_current(&snap->pool[group]) + swap_used(s, group));
}

const struct key_kind key_kind_memsw_usage = { .get = get_memsw };

/* Without a limit nobody keeps it while nobody reads: then it is what memory's peak was with what
 * is in swap now. */
static json_t *get_memsw_peak(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	struct pool *pool = memory_pool(s, group);
	uint64_t now = swap_memsw(s, group), peak = mc_load_relaxed(&pool->memsw_peak);

	(void)k;
	if (!mc_load_relaxed(&limits_of(s, group)->memsw) && snap->pool[group].peak > now)
		now = snap->pool[group].peak;
	if (now > peak)
		mc_store_relaxed(&pool->memsw_peak, peak = now);
	return key_bytes(peak);
}

static int reset_memsw_peak(const struct key *k, struct served *s, uint16_t group, uint64_t value,
			    struct complaint *why)
{
	(void)k, (void)value, (void)why;
	mc_store_relaxed(&memory_pool(s, group)->memsw_peak, swap_memsw(s, group));
	return 0;
}

const struct key_kind key_kind_memsw_peak = {
	.get = get_memsw_peak,
	.parse = key_parse_anything,
	.apply = reset_memsw_peak,
};

static json_t *get_memsw_limit(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)snap;
	return key_bytes(swap_memsw_limit(s, group));
}

static int parse_memsw_limit(const struct key *k, const struct served *s, uint16_t group, const char *text,
			     uint64_t *ret_value, struct complaint *why)
{
	(void)s;
	if (group == GROUP_ROOT)
		return complain(why, -EINVAL, "the root has no %s, as in cgroup v1", k->name);
	return key_parse_size(k, text, "-1", ret_value, why);
}

static uint64_t told_max(const struct served *s, uint16_t group)
{
	const struct limits *l = limits_of(s, group);

	return mc_load_relaxed(mc_load_relaxed(&l->memsw) ? &l->told_max : &l->max);
}

/* From now on max is made of both. 0 would say that there is no limit: one page is as good. */
static void set_memsw(struct served *s, uint16_t group, uint64_t value)
{
	struct limits *l = limits_of(s, group);
	uint64_t max = told_max(s, group);

	mc_store_relaxed(&l->told_max, max);
	mc_store_relaxed(&l->memsw, value >= PAGES_MAX ? 0 : value ? value : 1);
	mc_store_relaxed(&memory_pool(s, group)->memsw_seen, mc_load_relaxed(&memory_pool(s, group)->failcnt));
	if (value >= PAGES_MAX)
		mc_store_full(&l->max, max);
	else
		swap_tighten(s, group);
}

static int apply_memsw_limit(const struct key *k, struct served *s, uint16_t group, uint64_t value,
			     struct complaint *why)
{
	uint64_t usage = swap_memsw(s, group);

	if (value < told_max(s, group))
		return complain(why, -EINVAL,
				"%s cannot be below memory.limit_in_bytes, as in cgroup v1: lower "
				"that first",
				k->name);
	if (usage > value)
		return complain(why, -EBUSY, "%s cannot go down to %llu: %llu bytes are in use in memory and swap",
				k->name, (unsigned long long)(value << MC_PAGE_SHIFT),
				(unsigned long long)(usage << MC_PAGE_SHIFT));
	set_memsw(s, group, value);
	return 0;
}

/* Only what goes without going to swap makes it less. */
static uint64_t excess_of_memsw(const struct key *k, const struct served *s, uint16_t group, uint64_t value)
{
	uint64_t usage = swap_memsw(s, group);

	(void)k;
	return usage > value ? usage - value : 0;
}

const struct key_kind key_kind_memsw_limit = {
	.get = get_memsw_limit,
	.parse = parse_memsw_limit,
	.apply = apply_memsw_limit,
	.may_fail = true,
	.excess = excess_of_memsw,
};

/* ---- memory.reclaim -------------------------------------------------------------------------------------- */

/* As the kernel's: 0 to 200, or max, which takes nothing else where there is something else to
 * take. */
static int parse_swappiness(const char *text, uint64_t *ret)
{
	char *end;

	if (strncmp(text, "max", 3) == 0 && text[3 + strspn(text + 3, SPACE)] == 0) {
		*ret = KEY_SWAPPINESS_MAX;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EINVAL;
	*ret = strtoul(text, &end, 10);
	return end[strspn(end, SPACE)] || *ret > KEY_SWAPPINESS_MAX ? -EINVAL : 0;
}

int key_parse_reclaim(const char *text, uint64_t *ret_pages, int *ret_swappiness)
{
	const char *option = strstr(text, "swappiness=");
	uint64_t swappiness = 0;
	char size[64];
	size_t n = option ? (size_t)(option - text) : strlen(text);

	if (n >= sizeof(size) || (option && (n == 0 || !strchr(SPACE, text[n - 1]))))
		return -EINVAL;
	memcpy(size, text, n);
	size[n] = 0;
	if (units_parse(size, "max", MC_PAGE_SIZE, ret_pages) ||
	    (option && parse_swappiness(option + strlen("swappiness="), &swappiness)))
		return -EINVAL;
	*ret_swappiness = option ? (int)swappiness : RECLAIM_SWAPPINESS_OWN;
	return 0;
}

/* Pages, and above them swappiness + 1. */
#define SWAPPINESS_SHIFT 54
#define PAGES_MASK ((1ull << SWAPPINESS_SHIFT) - 1)

static int parse_reclaim(const struct key *k, const struct served *s, uint16_t group, const char *text,
			 uint64_t *ret_value, struct complaint *why)
{
	uint64_t pages;
	int swappiness;

	(void)s, (void)group;
	if (key_parse_reclaim(text, &pages, &swappiness))
		return complain(why, -EINVAL,
				"'%.60s' is not for %s: a size or max, and swappiness=0 to 200 or "
				"max behind it if you like",
				text, k->name);
	*ret_value = pages | (uint64_t)(swappiness + 1) << SWAPPINESS_SHIFT;
	return 0;
}

static uint64_t excess_as_told(const struct key *k, const struct served *s, uint16_t group, uint64_t value)
{
	(void)k, (void)s, (void)group;
	return value & PAGES_MASK;
}

int key_reclaim_swappiness(const struct key_changes *changes)
{
	for (unsigned i = 0; i < changes->count; i++) {
		if (changes->change[i].key->kind == &key_kind_reclaim)
			return (int)(changes->change[i].value >> SWAPPINESS_SHIFT) - 1;
		if (changes->change[i].key->kind == &key_kind_memsw_limit)
			return 0; /* what went to swap would count as much */
	}
	return RECLAIM_SWAPPINESS_OWN;
}

const struct key_kind key_kind_reclaim = {
	.parse = parse_reclaim,
	.apply = key_apply_nothing,
	.excess = excess_as_told,
	.must_give = true,
};
