/* SPDX-License-Identifier: MIT */
/* Thresholds of one counter: sorted, crossed in both directions.
 *
 * Source: __mem_cgroup_threshold and mem_cgroup_usage_register_event (mm/memcontrol-v1.c);
 * ../shared/reference/kernel-semantics.md 4. Upward a threshold is crossed at usage >= T, downward at usage < T; each
 * crossed entry fires once, equal ones each. Adding one fires nothing, wherever usage is. No hysteresis. */
#ifndef CONTROLD_THRESHOLD_H
#define CONTROLD_THRESHOLD_H

#include <stdbool.h>
#include <stdint.h>

struct threshold {
	uint64_t units;
	void *who;
};

/* All zero: none. */
struct thresholds {
	struct threshold *entry; /* ascending; owned */
	uint32_t count, room;
	uint32_t passed; /* entries that usage has reached */
};

typedef void threshold_fires(void *arg, void *who);

/* Adds one while usage is this; what was crossed before must have been looked for. -ENOMEM. */
int threshold_add(struct thresholds *t, uint64_t units, void *who, uint64_t usage);

/* Takes the entry out. Never fails. */
void threshold_remove(struct thresholds *t, uint64_t units, const void *who);

/* Calls `fires` for each entry that was crossed since the last look, first downward, then upward. */
void threshold_look(struct thresholds *t, uint64_t usage, threshold_fires *fires, void *arg);

/* The nearest: reached at usage >= *ret_up (0: none), left at usage < *ret_down. */
void threshold_nearest(const struct thresholds *t, uint64_t *ret_up, uint64_t *ret_down);

void threshold_free(struct thresholds *t);

/* True when entries ascend. For tests. */
bool threshold_consistent(const struct thresholds *t);

#endif
