/* SPDX-License-Identifier: MIT */
/* Families: members that fork made of one image share private pages until one of them writes. Each pays its
 * part, Pss_Anon of smaps_rollup: a page is divided among those that map it, so that a family's parts add up to
 * what it has in memory, whoever of it ends first. They do so only when all are measured together, and nobody comes
 * or goes meanwhile.
 *
 * A rollup walks over all pages. It is made when something of the family has changed: a member has come or gone, or
 * one has taken page faults (a copy on write is one). The daemon's own take at most 1 % of a processor; for somebody
 * who asks for a number, up to a quarter. It takes 2 ms of a turn and is carried on in the next one.
 *
 * A forked child begins without a part: what it shares its relatives go on paying for, until it has lived for a
 * moment. What only lives for a moment is not counted, and does not halve its parent. */
#ifndef CONTROLD_FAMILY_H
#define CONTROLD_FAMILY_H

#include "controld/served.h"

/* Families are told apart by their number modulo this; two that fall together are one that has more members than
 * it needs. */
#define FAMILIES 4096u

struct family {
	uint32_t members, grown; /* now; grown: all but the newborn */
	uint64_t who;		 /* tells one set of grown members from another */
	uint32_t grown_rolled;	 /* as of the last rollup that was taken, or the one under way */
	uint64_t who_rolled;
	bool is_dirty; /* something has changed since the last rollup began */
	bool is_rolling;
	bool is_open;  /* this rollup has missed one of them, or shows a newborn's part */
	bool is_taken; /* its parts hold */
	uint32_t next; /* the slot where the rollup under way goes on */
	uint64_t dirty_since_ns, rolled_ns;
	uint64_t cost_ns; /* of the last rollup */
};

/* At the beginning of a turn, or of a request: who there is. */
void family_count(struct served *s, uint64_t now_ns);

/* True when the member shares pages with others. */
bool family_has_relatives(const struct served *s, uint32_t member);

/* True when the member's part is known. */
bool family_has_part(const struct served *s, uint32_t member);

/* True when members have come or gone since it was rolled up. */
bool family_has_changed(const struct served *s, uint32_t member);

/* A member has taken pages, or faults. */
void family_note(struct served *s, uint32_t member, uint64_t now_ns);

/* Rolls up the families that have changed and may be, or goes on with it: sets look.discount, and look.is_chosen
 * where that is new. `asked`: somebody waits for it. Wants a turn where something is left. */
void family_roll_up(struct served *s, bool asked, uint64_t now_ns);

#endif
