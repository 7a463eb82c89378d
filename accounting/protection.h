/* SPDX-License-Identifier: MIT */
/* How the protection of a group (min or low) is divided among its children: for host memory (controld/protect.h) and for
 * devices (evict.h).
 *
 * Source: effective_protection (mm/page_counter.c); ../shared/reference/kernel-semantics.md 2. */
#ifndef ACCOUNTING_PROTECTION_H
#define ACCOUNTING_PROTECTION_H

#include <stdbool.h>
#include <stdint.h>

/* Regions of devices count bytes: the product of two of them is more than 64 bits. */
typedef unsigned __int128 protection_wide;

/* One protection of one parent, while it is divided. */
struct protection_parent {
	uint64_t has; /* the parent's effective value */
	uint64_t usage;
	protection_wide claimed; /* by all children */
	bool recursive;		 /* what nobody claims goes to all by what they use beyond their claims */
};

/* What a child claims: it is no better protected by more than it uses. */
static inline uint64_t protection_claim(uint64_t usage, uint64_t setting)
{
	return usage < setting ? usage : setting;
}

/* The effective value of one of its children. What the parent has beyond its usage protects no
 * better. */
static inline uint64_t protection_share(const struct protection_parent *p, uint64_t usage, uint64_t setting)
{
	uint64_t claim = protection_claim(usage, setting), has = protection_claim(p->usage, p->has);
	protection_wide part = claim;

	if (p->claimed > has)
		return (uint64_t)(part * has / p->claimed);
	if (p->recursive && has > p->claimed && p->usage > p->claimed)
		part += (has - p->claimed) * (usage - claim) / (p->usage - p->claimed);
	return (uint64_t)part;
}

#endif
