/* SPDX-License-Identifier: MIT */
/* What is behind each kind of key. */
#include "accounting/reclaim.h"
#include "accounting/stock.h"
#include "accounting/units.h"
#include "controld/daemon.h"
#include "controld/oom_rules.h"
#include "controld/report.h"
#include "controld/residency.h"
#include "controld/scarcity.h"
#include "controld/psi.h"
#include "controld/stall.h"
#include "controld/stat.h"
#include "controld/swap.h"
#include "controld/key.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPACE " \t\n\v\f\r"

static struct pool *memory_pool(const struct served *s, uint16_t group)
{
	return pool_of(&s->seg, RESOURCE_MEMORY, group);
}

/* ---- usage, peak, failcnt -------------------------------------------------------------------- */

static json_t *get_usage(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)s;
	return key_bytes(snapshot_current(&snap->pool[group]));
}

const struct key_kind key_kind_usage = { .get = get_usage };

static json_t *get_peak(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)s;
	return key_bytes(snap->pool[group].peak);
}

void key_reset_peak(const struct served *s, unsigned resource, uint16_t group)
{
	struct pool *pool = pool_of(&s->seg, resource, group);

	(void)stock_drain(&s->actor, resource, group); /* stocks would count as usage */
	mc_store_relaxed(&pool->peak, pool_usage(mc_load_full(&pool->word)));
}

static int reset_peak(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)k, (void)value, (void)why;
	key_reset_peak(s, RESOURCE_MEMORY, group);
	return 0;
}

const struct key_kind key_kind_peak = {
	.get = get_peak,
	.parse = key_parse_anything,
	.apply = reset_peak,
};

/* The parameter is 1 for what the limit of memory and swap together has refused. */
static mc_word *failcnt_at(const struct key *k, const struct served *s, uint16_t group)
{
	struct pool *pool = memory_pool(s, group);

	return k->parameter ? &pool->memsw_failcnt : &pool->failcnt;
}

static json_t *get_failcnt(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return json_integer((json_int_t)mc_load_relaxed(failcnt_at(k, s, group)));
}

static int reset_failcnt(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)value, (void)why;
	mc_store_relaxed(failcnt_at(k, s, group), 0);
	return 0;
}

const struct key_kind key_kind_failcnt = {
	.get = get_failcnt,
	.parse = key_parse_anything,
	.apply = reset_failcnt,
};

/* ---- limits ---------------------------------------------------------------------------------- */

/* swap_tighten makes max of told_max where there is a limit of memory and swap together. */
static mc_word *limit_word(const struct served *s, uint16_t group, int which)
{
	struct limits *l = &s->seg.limits->limits[RESOURCE_MEMORY][group];

	return which == LIMIT_MAX && mc_load_relaxed(&l->memsw) ? &l->told_max : key_limit_word(l, which);
}

static json_t *get_limit(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return key_limit(mc_load_relaxed(limit_word(s, group, k->parameter)));
}

static int parse_limit(const struct key *k, const struct served *s, uint16_t group, const char *text,
		       uint64_t *ret_value, struct complaint *why)
{
	(void)s;
	if (group == GROUP_ROOT && (k->parameter == LIMIT_MIN || k->parameter == LIMIT_LOW))
		return complain(why, -EINVAL, "the root has no %s: there is nobody to protect it from", k->name);
	return key_parse_size(k, text, "max", ret_value, why);
}

/* The limit is written, then usage can be read [O3]: who charges meanwhile sees the limit, or is
 * seen. Stocks above a limit that has become tight go back, as in the kernel. */
static int apply_limit(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)why;
	mc_store_full(limit_word(s, group, k->parameter), value);
	swap_tighten(s, group);
	if (k->parameter == LIMIT_SOFT || (k->parameter == LIMIT_HIGH && group == GROUP_ROOT))
		scarcity_note_limit(s, group);
	if (k->parameter == LIMIT_MAX && pool_is_tight(&s->seg, RESOURCE_MEMORY, group, 0))
		(void)stock_drain(&s->actor, RESOURCE_MEMORY, group);
	if (k->parameter == LIMIT_MAX)
		reclaim_wake(&s->seg);
	return 0;
}

/* What is charged above a limit, stocks apart, as in the kernel: they go back first. */
static uint64_t excess_of_limit(const struct key *k, const struct served *s, uint16_t group, uint64_t value)
{
	const mc_word *word = &memory_pool(s, group)->word;
	uint64_t usage;

	if (k->parameter != LIMIT_MAX)
		return 0;
	if (pool_usage(mc_load_full(word)) > value)
		(void)stock_drain(&s->actor, RESOURCE_MEMORY, group);
	usage = pool_usage(mc_load_full(word));
	return usage > value ? usage - value : 0;
}

const struct key_kind key_kind_limit = {
	.get = get_limit,
	.parse = parse_limit,
	.apply = apply_limit,
	.excess = excess_of_limit,
};

static json_t *get_limit_v1(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)snap;
	return key_bytes(mc_load_relaxed(limit_word(s, group, k->parameter)));
}

static int complain_busy(const struct key *k, uint64_t value, uint64_t usage, struct complaint *why)
{
	return complain(why, -EBUSY,
			"%s cannot go down to %llu: %llu bytes are in use; memory.max can be set "
			"below usage",
			k->name, (unsigned long long)(value << MC_PAGE_SHIFT),
			(unsigned long long)(usage << MC_PAGE_SHIFT));
}

static int parse_limit_v1(const struct key *k, const struct served *s, uint16_t group, const char *text,
			  uint64_t *ret_value, struct complaint *why)
{
	(void)s;
	if (group == GROUP_ROOT && k->parameter == LIMIT_MAX)
		return complain(why, -EINVAL, "the root has no %s, as in cgroup v1; set memory.max", k->name);
	return key_parse_size(k, text, "-1", ret_value, why);
}

/* As page_counter_set_max, with one drain: the old limit stays when usage is above the new one. */
static int apply_limit_v1(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	mc_word *limit = limit_word(s, group, k->parameter);
	uint64_t old = mc_load_relaxed(limit);
	uint64_t usage;

	if (k->parameter == LIMIT_MAX && value > swap_memsw_limit(s, group))
		return complain(why, -EINVAL, "%s cannot be above memory.memsw.limit_in_bytes, as in cgroup v1",
				k->name);
	mc_store_full(limit, value);
	swap_tighten(s, group);
	if (k->parameter == LIMIT_SOFT)
		scarcity_note_limit(s, group);
	if (k->parameter != LIMIT_MAX)
		return 0;
	if (value >= old) {
		reclaim_wake(&s->seg);
		return 0;
	}
	(void)stock_drain(&s->actor, RESOURCE_MEMORY, group);
	usage = pool_usage(mc_load_full(&memory_pool(s, group)->word)); /* [O3] */
	if (usage <= value)
		return 0;
	mc_store_full(limit, old);
	swap_tighten(s, group);
	return complain_busy(k, value, usage, why);
}

const struct key_kind key_kind_limit_v1 = {
	.get = get_limit_v1,
	.parse = parse_limit_v1,
	.apply = apply_limit_v1,
	.may_fail = true,
	.excess = excess_of_limit,
};

const struct key_kind key_kind_soft_v1 = {
	.get = get_limit_v1,
	.parse = parse_limit_v1,
	.apply = apply_limit_v1,
};

/* ---- reclaim ---------------------------------------------------------------------------------- */

int key_apply_nothing(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	(void)k, (void)s, (void)group, (void)value, (void)why;
	return 0;
}

/* As in cgroup v1 it is no error when something is left. */
static uint64_t excess_of_all(const struct key *k, const struct served *s, uint16_t group, uint64_t value)
{
	(void)k, (void)value;
	return pool_usage(mc_load_full(&memory_pool(s, group)->word));
}

static int parse_force_empty(const struct key *k, const struct served *s, uint16_t group, const char *text,
			     uint64_t *ret_value, struct complaint *why)
{
	if (group == GROUP_ROOT)
		return complain(why, -EINVAL, "the root has no %s, as in cgroup v1; write to memory.reclaim", k->name);
	return key_parse_anything(k, s, group, text, ret_value, why);
}

const struct key_kind key_kind_force_empty = {
	.parse = parse_force_empty,
	.apply = key_apply_nothing,
	.excess = excess_of_all,
};

/* ---- words and numbers ----------------------------------------------------------------------- */

/* True when `text`, white space around it apart, is `word`. */
static bool is_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	text += strspn(text, SPACE);
	return strncmp(text, word, n) == 0 && text[n + strspn(text + n, SPACE)] == 0;
}

static json_t *get_charge_mode(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)snap;
	return json_string(s->seg.limits->group[group].charge_mode == CHARGE_COMMIT ? "commit" : "resident");
}

static int parse_charge_mode(const struct key *k, const struct served *s, uint16_t group, const char *text,
			     uint64_t *ret_value, struct complaint *why)
{
	(void)s, (void)group;
	if (!is_word(text, "commit") && !is_word(text, "resident"))
		return complain(why, -EINVAL, "'%.60s' is not for %s: resident or commit", text, k->name);
	*ret_value = is_word(text, "commit") ? CHARGE_COMMIT : CHARGE_RESIDENT;
	return 0;
}

static int apply_charge_mode(const struct key *k, struct served *s, uint16_t group, uint64_t value,
			     struct complaint *why)
{
	(void)k, (void)why;
	s->seg.limits->group[group].charge_mode = (uint8_t)value;
	residency_restart(s);
	return 0;
}

const struct key_kind key_kind_charge_mode = {
	.get = get_charge_mode,
	.parse = parse_charge_mode,
	.apply = apply_charge_mode,
};

static json_t *get_oom_policy(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	static const char *const names[] = { "fail", "kill", "wait" };

	(void)k, (void)snap;
	return json_string(names[s->seg.limits->group[group].oom_policy % 3]);
}

static int parse_oom_policy(const struct key *k, const struct served *s, uint16_t group, const char *text,
			    uint64_t *ret_value, struct complaint *why)
{
	(void)s, (void)group;
	if (is_word(text, "fail"))
		*ret_value = OOM_FAIL;
	else if (is_word(text, "kill"))
		*ret_value = OOM_KILL;
	else if (is_word(text, "wait"))
		*ret_value = OOM_WAIT;
	else
		return complain(why, -EINVAL, "'%.60s' is not for %s: fail, kill or wait", text, k->name);
	return 0;
}

/* Who asked for a kill under another policy asks again, and who waits looks anew. */
static int apply_oom_policy(const struct key *k, struct served *s, uint16_t group, uint64_t value,
			    struct complaint *why)
{
	(void)k, (void)why;
	mc_store_full(&memory_pool(s, group)->oom, 0);
	s->seg.limits->group[group].oom_policy = (uint8_t)value;
	reclaim_wake(&s->seg);
	return 0;
}

const struct key_kind key_kind_oom_policy = {
	.get = get_oom_policy,
	.parse = parse_oom_policy,
	.apply = apply_oom_policy,
};

/* As kstrtoull, which the files of cgroup v1 use: a plus sign and a newline behind it are allowed, blanks are not. Too
 * large for 64 bits is -ERANGE. */
static int parse_unsigned(const char *text, uint64_t *ret)
{
	char *end;

	text += *text == '+';
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 0);
	if (errno)
		return -ERANGE;
	return end[0] == 0 || (end[0] == '\n' && end[1] == 0) ? 0 : -EINVAL;
}

/* As kstrtoint behind kstrstrip, which those of v2 use: blanks around it are allowed, and 31 bits. */
static int parse_int(const char *text, uint64_t *ret)
{
	size_t n;
	char word[32];
	int err;

	text += strspn(text, SPACE);
	for (n = strlen(text); n && strchr(SPACE, text[n - 1]); n--)
		;
	if (n >= sizeof(word))
		return -EINVAL;
	memcpy(word, text, n);
	word[n] = 0;
	err = parse_unsigned(word, ret);
	return !err && *ret > INT32_MAX ? -ERANGE : err;
}

/* cgroup v1 has two policies: kill, and wait where the killer is disabled. */
static bool is_under_oom(const struct served *s, uint16_t group)
{
	for (; group != GROUP_NIL; group = group_parent(&s->seg, group))
		if (s->seg.limits->group[group].oom_policy == OOM_WAIT && mc_load_full(&memory_pool(s, group)->waited))
			return true;
	return false;
}

static json_t *get_oom_control(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)snap;
	return json_pack("{s:i, s:i, s:I}", "oom_kill_disable", s->seg.limits->group[group].oom_policy == OOM_WAIT,
			 "under_oom", (int)is_under_oom(s, group), "oom_kill",
			 (json_int_t)mc_load_relaxed(&memory_pool(s, group)->event_local[EVENT_OOM_KILL]));
}

static int parse_oom_control(const struct key *k, const struct served *s, uint16_t group, const char *text,
			     uint64_t *ret_value, struct complaint *why)
{
	uint64_t value = 0;
	int err = parse_unsigned(text, &value);

	(void)s;
	if (!err && (value > 1 || group == GROUP_ROOT))
		err = -EINVAL;
	if (err)
		return complain(why, err, "'%.60s' is not for %s: 0 or 1, and not for the root", text, k->name);
	*ret_value = value ? OOM_WAIT : OOM_KILL;
	return 0;
}

/* There, those who wait for each other wait until somebody does something about it. */
static int apply_oom_control(const struct key *k, struct served *s, uint16_t group, uint64_t value,
			     struct complaint *why)
{
	struct oom_rules rules;

	oom_rules_get(s, group, &rules);
	rules.deadlock = value == OOM_WAIT ? DEADLOCK_WAIT : DEADLOCK_PASS;
	if (oom_rules_set(s, group, &rules))
		return complain(why, -EBUSY, "the file system of %s is full", s->seg.dir);
	return apply_oom_policy(k, s, group, value, why);
}

const struct key_kind key_kind_oom_control = {
	.get = get_oom_control,
	.parse = parse_oom_control,
	.apply = apply_oom_control,
};

static json_t *get_oom_report(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	(void)k, (void)snap;
	return json_string(report_find(s, group));
}

const struct key_kind key_kind_oom_report = { .get = get_oom_report };

/* Where a number is kept; NULL: use_hierarchy is 1 and nothing else. */
static uint8_t *number_at(const struct served *s, uint16_t group, int which)
{
	struct group *g = &s->seg.limits->group[group];

	switch ((enum key_number)which) {
	case NUMBER_OOM_GROUP:
		return &g->oom_group;
	case NUMBER_SWAPPINESS:
		return &g->swappiness;
	case NUMBER_MOVE_CHARGE:
		return &g->move_charge;
	case NUMBER_HIERARCHY:
	default:
		return NULL;
	}
}

static const struct {
	uint64_t least, most;
} number_range[] = {
	[NUMBER_OOM_GROUP] = { 0, 1 },
	[NUMBER_SWAPPINESS] = { 0, 200 },
	[NUMBER_MOVE_CHARGE] = { 0, 3 },
	[NUMBER_HIERARCHY] = { 1, 1 },
};

static json_t *get_number(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	const uint8_t *at = number_at(s, group, k->parameter);

	(void)snap;
	return json_integer(at ? *at : 1);
}

static int parse_number(const struct key *k, const struct served *s, uint16_t group, const char *text,
			uint64_t *ret_value, struct complaint *why)
{
	uint64_t least = number_range[k->parameter].least;
	uint64_t most = number_range[k->parameter].most;
	uint64_t value;
	int err = (k->parameter == NUMBER_OOM_GROUP ? parse_int : parse_unsigned)(text, &value);

	(void)s, (void)group;
	if (!err && (value < least || value > most))
		err = -EINVAL;
	if (err)
		return complain(why, err, "'%.60s' is not for %s: a whole number from %u to %u", text, k->name,
				(unsigned)least, (unsigned)most);
	*ret_value = value;
	return 0;
}

static int apply_number(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	uint8_t *at = number_at(s, group, k->parameter);

	(void)why;
	if (at)
		*at = (uint8_t)value;
	return 0;
}

const struct key_kind key_kind_number = {
	.get = get_number,
	.parse = parse_number,
	.apply = apply_number,
};

/* ---- tables ---------------------------------------------------------------------------------- */

static void put(json_t *table, const char *name, uint64_t value)
{
	(void)json_object_set_new(table, name, json_integer((json_int_t)value));
}

/* Class counters are statistics: between two of its steps a member's can be below 0. */
static void put_pages(json_t *table, const char *name, uint64_t pages)
{
	put(table, name, pages < PAGES_MAX ? pages << MC_PAGE_SHIFT : 0);
}

static json_t *get_events(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	const struct pool *pool = memory_pool(s, group);
	const mc_word *event = k->parameter ? pool->event_local : pool->event;
	json_t *table = json_object();

	(void)snap;
#define EVENT(id, name, sentence) put(table, name, mc_load_relaxed(&event[EVENT_##id]));
#include "accounting/events.def"
#undef EVENT
	return table;
}

const struct key_kind key_kind_events = { .get = get_events };

static void sum_overs(const struct served *s, uint16_t group, const struct snapshot *snap, uint64_t *ret_sum)
{
	for (uint32_t g = 0; g < snap->groups; g++) {
		if (group_state(&s->seg, (uint16_t)g) != GROUP_LIVE || !group_is_within(&s->seg, (uint16_t)g, group))
			continue;
		for (unsigned i = 0; i < OVERS; i++)
			ret_sum[i] += mc_load_relaxed(&memory_pool(s, (uint16_t)g)->over[i]);
	}
}

static json_t *get_stat(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	uint64_t over[OVERS] = { 0 }, row[STATS];
	json_t *table = json_object();

	(void)k;
	stat_take(s, group, snap, row);
	sum_overs(s, group, snap, over);
#define STAT(id, name, sentence) put_pages(table, name, row[STAT_##id]);
#include "accounting/stats.def"
#undef STAT
#define OVER(id, name, sentence) put(table, "over_" name, over[OVER_##id]);
#include "accounting/overs.def"
#undef OVER
	return table;
}

const struct key_kind key_kind_stat = { .get = get_stat };
/* The kernel's two lines, each with its first word as a name. */
static json_t *get_pressure(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	json_t *table = json_object();
	char text[PSI_TEXT_MAX];
	char *next = text;

	(void)k, (void)snap;
	stall_format(s, group, text, s->daemon->world->now_ns());
	for (char *line; (line = strsep(&next, "\n")) != NULL && *line;) {
		const char *name = strsep(&line, " ");

		(void)json_object_set_new(table, name, json_string(line));
	}
	return table;
}

const struct key_kind key_kind_pressure = { .get = get_pressure };
const struct key_kind key_kind_none = { .get = NULL };
