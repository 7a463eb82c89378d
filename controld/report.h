/* SPDX-License-Identifier: MIT */
/* What is said when a group was out of memory and members were killed: to the log, and kept for who asks later. */
#ifndef CONTROLD_REPORT_H
#define CONTROLD_REPORT_H

#include "controld/oom.h"
#include "controld/served.h"

#define REPORTS_MAX 64 /* kept */

struct report_case {
	unsigned resource;
	uint16_t domain;  /* the group that had no room */
	uint32_t asker;	  /* member; MEMBER_NIL: its limit was lowered */
	uint64_t pages;	  /* that were asked for */
	uint16_t whole;	  /* the group that goes as a whole; GROUP_NIL: the victim alone */
	uint32_t killed;  /* members in all */
	uint32_t term_ms; /* they get a SIGTERM first, and so long to end; 0: none */
	const struct oom_candidate *candidates;
	uint32_t count, victim;
};

/* Writes it, logs it and keeps it. `snap` and `survey` are of now. */
void report_keep(struct served *s, const struct report_case *c, const struct snapshot *snap, const struct survey *v);

/* Logs and keeps a text about the group, which was made by malloc and goes with it. */
void report_keep_text(struct served *s, uint16_t group, char *text);

/* The last one of a kill in the group, or of members in it; "" when there was none. */
const char *report_find(const struct served *s, uint16_t group);

/* Gives all back. */
void report_forget_all(struct served *s);

#endif
