/* SPDX-License-Identifier: MIT */
/* How top looks: the screen of ncurses. */
#ifndef MEMCTL_TOP_SCREEN_H
#define MEMCTL_TOP_SCREEN_H

#include "memctl/top.h"

struct top_member {
	int pid;
	char comm[20], state[12], flags[40];
	uint64_t held, refused;
};

/* The members of one group, as of this census. */
struct top_members {
	uint32_t slot, generation;
	uint64_t seen_ns;
	struct top_member *member; /* owned */
	uint32_t n, room;
};

struct top_screen {
	struct top *top;
	struct memctl *memctl;	   /* asked for members of what is seen */
	uint32_t slot, generation; /* the group under the bar */
	int member;		   /* or one of its members; -1 */
	int at, first;		   /* line under the bar; the first line shown */
	const char *note;	   /* instead of the keys; NULL */
	bool note_is_bad;
	const char *prompt; /* a question, and the answer so far; NULL: none */
	char answer[128];
	bool is_paused, has_help, has_details;
	int details_first;
	struct top_members *seen;
	uint32_t seen_count, seen_room;
};

/* Takes the terminal; `has_colour` as it is wanted. -ENOTTY: there is none that can do it. */
int top_screen_open(bool has_colour);
void top_screen_close(void);

void top_screen_draw(struct top_screen *s);

/* Lines for groups that fit. */
int top_screen_room(void);

/* The member under the bar, if one is. */
const struct top_member *top_screen_member(struct top_screen *s);

void top_screen_free(struct top_screen *s);

#endif
