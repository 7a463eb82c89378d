/* SPDX-License-Identifier: MIT */
/* Reading and setting a group's keys. keys.def has the names, key_kinds.c what is behind them. */
#ifndef CONTROLD_KEY_H
#define CONTROLD_KEY_H

#include "accounting/snapshot.h"
#include "controld/complaint.h"
#include "controld/served.h"

#include <jansson.h>

enum key_access {
	KEY_NO = 0,
	KEY_R = 1,
	KEY_W = 2,
	KEY_RW = KEY_R | KEY_W,
};

enum key_limit { LIMIT_MIN, LIMIT_LOW, LIMIT_HIGH, LIMIT_MAX, LIMIT_SOFT };
enum key_number { NUMBER_OOM_GROUP, NUMBER_SWAPPINESS, NUMBER_MOVE_CHARGE, NUMBER_HIERARCHY };

struct key_kind;

enum key_format {
	FORMAT_NONE,
	FORMAT_BYTES,
	FORMAT_COUNT,
	FORMAT_NUMBER,
	FORMAT_WORD,
	FORMAT_TEXT,
	FORMAT_COUNT_MAP,
	FORMAT_BYTES_MAP,
	FORMAT_WORD_MAP,
};

struct key {
	const char *name;
	enum key_access access;
	enum key_format format;
	const struct key_kind *kind;
	int parameter;
	const char *sentence;
};

/* What a kind can do; the rows of the table share them. */
struct key_kind {
	json_t *(*get)(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap);
	/* Text to value, everything checked that can be: afterwards only -EBUSY can happen.
	 * `group` is GROUP_NIL for one that is to be made. */
	int (*parse)(const struct key *k, const struct served *s, uint16_t group, const char *text, uint64_t *ret_value,
		     struct complaint *why);
	/* 0 or -EBUSY. */
	int (*apply)(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why);
	bool may_fail; /* apply: such keys go first */
	/* Pages that are to come back for this value; NULL: none ever. */
	uint64_t (*excess)(const struct key *k, const struct served *s, uint16_t group, uint64_t value);
	bool must_give; /* less than that is -EAGAIN */
};

/* All rows; *ret_count of them. */
const struct key *key_table(size_t *ret_count);

/* NULL: there is none of that name. */
const struct key *key_find(const char *name);

/* The key for reading or writing, or a complaint: unknown (-ENOENT), not for this (-EINVAL), not
 * in this version (-EOPNOTSUPP). */
int key_find_for(const char *name, enum key_access access, const struct key **ret, struct complaint *why);

json_t *key_get(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap);

/* Checked values, ready to be set. */
struct key_changes {
	struct {
		const struct key *key;
		uint64_t value;
	} change[64];
	unsigned count;
};

/* Checks {KEY: text or integer} for a group (GROUP_NIL: a new one). Nothing is changed. */
int key_check(const struct served *s, uint16_t group, const json_t *values, struct key_changes *ret,
	      struct complaint *why);

/* Sets what was checked, all or nothing. -EBUSY: a v1 limit below usage. */
int key_apply(struct served *s, uint16_t group, const struct key_changes *changes, struct complaint *why);

/* A number of pages in bytes. */
json_t *key_bytes(uint64_t pages);

/* A limit: "max" where there is none. */
json_t *key_limit(uint64_t pages);

/* The word of a limit; `which` is an enum key_limit. */
mc_word *key_limit_word(struct limits *l, int which);

/* parse: what is written does not matter, the write is the command. */
int key_parse_anything(const struct key *k, const struct served *s, uint16_t group, const char *text,
		       uint64_t *ret_value, struct complaint *why);

/* apply: what is written is done by `excess`. */
int key_apply_nothing(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why);

/* A pool's peak becomes its usage of now, not 0, as in the kernel. */
void key_reset_peak(const struct served *s, unsigned resource, uint16_t group);

/* A size in whole pages, or `unlimited` for PAGES_MAX. -EINVAL. */
int key_parse_size(const struct key *k, const char *text, const char *unlimited, uint64_t *ret, struct complaint *why);

/* What memory.reclaim takes: "SIZE" or "SIZE swappiness=N". -EINVAL. */
#define KEY_SWAPPINESS_MAX 200
int key_parse_reclaim(const char *text, uint64_t *ret_pages, int *ret_swappiness);
int key_reclaim_swappiness(const struct key_changes *changes);

#define KEY_KIND(name) extern const struct key_kind key_kind_##name
KEY_KIND(usage);
KEY_KIND(peak);
KEY_KIND(limit);
KEY_KIND(limit_v1);
KEY_KIND(soft_v1);
KEY_KIND(failcnt);
KEY_KIND(charge_mode);
KEY_KIND(oom_policy);
KEY_KIND(oom_control);
KEY_KIND(oom_deadlock);
KEY_KIND(oom_hook);
KEY_KIND(oom_report);
KEY_KIND(oom_term);
KEY_KIND(number);
KEY_KIND(events);
KEY_KIND(stat);
KEY_KIND(pressure);
KEY_KIND(reclaim);
KEY_KIND(force_empty);
KEY_KIND(dmem_capacity);
KEY_KIND(dmem_current);
KEY_KIND(dmem_peak);
KEY_KIND(dmem_limit);
KEY_KIND(dmem_events);
KEY_KIND(dmem_pressure);
KEY_KIND(dmem_stat);
KEY_KIND(dmem_view);
KEY_KIND(swap_usage);
KEY_KIND(swap_peak);
KEY_KIND(swap_limit);
KEY_KIND(swap_events);
KEY_KIND(memsw_usage);
KEY_KIND(memsw_peak);
KEY_KIND(memsw_limit);
KEY_KIND(none);
#undef KEY_KIND

#endif
