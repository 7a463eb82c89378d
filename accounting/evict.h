/* SPDX-License-Identifier: MIT */
/* Asking members for memory of devices: whom dmem.min and dmem.low leave alone, and the ask itself.
 *
 * Source: dmem_cgroup_state_evict_valuable, dmem_cgroup_calculate_protection (kernel/cgroup/dmem.c),
 * effective_protection (mm/page_counter.c); ../shared/reference/kernel-semantics.md 2, 8. Nothing is taken from anybody: who
 * is asked gives back what its drivers keep and do not use, and what its program's shrinkers find.
 *
 * The protection of a group counts below the group whose limit has refused, and not for that group itself. A limit of
 * the root stands for the device: there, too, what is protected stays so.
 *
 * contract      as reclaim.h's: anybody may ask, nobody depends on an answer, RECLAIM_PATIENCE_MS. A member that listens
 *               (its helper, preload/devices.h) takes what is wanted, gives what it can, and answers; one that does not
 *               listen does so when it next calls a driver about a pool (device/lend.h).
 * ordering [O8] ask: wanted and regions, then ask++.     listen: ask is read, then regions and wanted are taken.
 * crash table   died after           left behind         who puts it right
 *               asking               an ask too many     the next answer, which gives a little more than is needed
 *               being asked          an ask              a slot that is not LIVE is not waited for
 * price         a look at all members; where a group on the way has a min or low, a look at all groups for each level.
 */
#ifndef ACCOUNTING_EVICT_H
#define ACCOUNTING_EVICT_H

#include "accounting/reclaim.h"

enum evict {
	EVICT_NEVER,  /* below its min, or not below the limit */
	EVICT_LATER,  /* below its low: only when nothing else was to be had */
	EVICT_BREACH, /* the same, and it was: the event low */
	EVICT_TAKE,
};

/* Whether what members of `group` hold may be asked for when `limit` has refused. */
enum evict evict_judge(const struct segment *seg, unsigned resource, uint16_t limit, uint16_t group, bool ignore_low);

/* ---- asking ---------------------------------------------------------------------------------------------------- */

/* What somebody refused wants, and of whom. */
struct evict_wish {
	unsigned resource;
	uint16_t limit;	 /* the group that has refused */
	uint32_t except; /* MEMBER_NIL: nobody */
	uint64_t units;
	bool ignore_low;
	bool only_largest; /* the one that holds most of those that may be asked and listen */
};

/* Asks; counts the event low of groups that are asked for what is below theirs. Returns how many were asked that are
 * worth waiting for; *ret_spared (may be NULL) is set, and never cleared, when low has spared somebody. */
uint32_t evict_ask(const struct segment *seg, const struct evict_wish *wish, uint32_t now, bool *ret_spared);

/* One member, whatever protects it: itself. */
void evict_ask_one(const struct segment *seg, unsigned resource, uint32_t member, uint64_t units, uint32_t now);

/* True while somebody who was asked is worth waiting for. */
bool evict_is_awaited(const struct segment *seg, uint32_t member, uint32_t now);
bool evict_is_awaited_below(const struct segment *seg, uint16_t limit, uint32_t now);

/* ---- being asked ----------------------------------------------------------------------------------------------- */

static inline bool evict_is_asked(const struct member *m)
{
	return mc_load_full(&m->device_ask) != mc_load_full(&m->device_answered);
}

/* What is wanted now, and of which regions (a bit for each resource); *ret_ask is what to answer. */
uint64_t evict_take(const struct segment *seg, uint32_t member, uint32_t *ret_regions, uint32_t *ret_ask);

/* Says that this ask was met, and wakes those who wait for it. */
void evict_answer(const struct segment *seg, uint32_t member, uint32_t ask);

#endif
