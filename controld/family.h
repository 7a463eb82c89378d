/* SPDX-License-Identifier: MIT */
/* Families: members that fork made of one image share private pages until one of them writes. Each pays its
 * part, Pss_Anon of smaps_rollup: a page is divided among those that map it, so that a family's parts add up to
 * what it has in memory, whoever of it ends first. They do so only when all are measured together.
 *
 * A rollup walks over all pages. It is only made when something of the family has changed: a member has come or
 * gone, or one has taken page faults (a copy on write is one). The daemon's own take at most 1 % of a processor;
 * for somebody who asks for a number, up to a quarter. */
#ifndef CONTROLD_FAMILY_H
#define CONTROLD_FAMILY_H

#include "controld/served.h"

/* 1,000 bytes a dozen: families are told apart by their number modulo this; two that fall together are one that
 * has more members than it needs. */
#define FAMILIES 4096u

struct family {
	uint32_t members;        /* now */
	uint32_t members_rolled; /* when it was last rolled up */
	bool is_due;             /* a member is to be looked at: all are */
	bool is_dirty;           /* something has changed since the last rollup */
	bool is_rolling;
	bool is_taken; /* its new parts hold */
	bool is_open;        /* this rollup has missed one of them */
	unsigned tries;      /* rollups that did */
	uint64_t who;        /* tells one set of members from another */
	uint64_t who_rolled; /* at the beginning of this rollup */
	uint64_t rolled_ns;
	uint64_t cost_ns; /* of the last rollup of all */
};

/* At the beginning of a turn, or of a request: who there is. */
void family_count(struct served *s);

/* True when the member shares pages with others. */
bool family_has_relatives(const struct served *s, uint32_t member);

/* True when members have come or gone since it was rolled up. */
bool family_has_changed(const struct served *s, uint32_t member);

/* A member is to be looked at: so are its relatives. */
void family_make_due(struct served *s, uint32_t member);
bool family_is_due(const struct served *s, uint32_t member);

/* After look.anon was measured: notes what has changed. */
void family_note(struct served *s, uint32_t member, bool moved);

/* Rolls up the families that have changed and may be: sets look.discount. `asked`: somebody waits for it. */
void family_roll_up(struct served *s, bool asked, uint64_t now_ns);

#endif
