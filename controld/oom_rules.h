/* SPDX-License-Identifier: MIT */
/* What a group's keys say beyond memory.oom.policy: what precedes a kill, and what is done about members that wait
 * for each other. Kept in the segment (limits_map.oom), so that another daemon finds it there. */
#ifndef CONTROLD_OOM_RULES_H
#define CONTROLD_OOM_RULES_H

#include "controld/served.h"

#define OOM_TERM_MS_MAX 30000u

/* A copy, of the defaults where nothing was set: no hook, no SIGTERM, DEADLOCK_PASS. */
struct oom_rules {
	uint32_t term_ms;
	enum oom_deadlock deadlock;
	char hook[GROUP_OOM_HOOK_MAX];
};

void oom_rules_get(const struct served *s, uint16_t group, struct oom_rules *ret);

/* -ENOSPC: the directory's file system is full; nothing is changed then. */
int oom_rules_set(struct served *s, uint16_t group, const struct oom_rules *rules);

#endif
