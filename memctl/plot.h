/* SPDX-License-Identifier: MIT */
/* What a group held over time, ready to be drawn. */
#ifndef MEMCTL_PLOT_H
#define MEMCTL_PLOT_H

#include "memctl/memctl.h"

#include <stdbool.h>
#include <stdio.h>

#define PLOT_CLASSES 6
#define PLOT_TICKS 8
#define PLOT_TEXT 32

/* In the order of the stack, from below. */
struct plot_class {
	const char *name;
	char letter;	   /* where there is nothing but letters */
	const char *block; /* where there are blocks */
	const char *sgr;   /* a terminal's colour */
	double red, green, blue;
	int hatch; /* so that it can be told without colours: 0 none, 1 /, 2 \, 3 -, 4 |, 5 x */
};

extern const struct plot_class plot_classes[PLOT_CLASSES];

struct plot_point {
	int64_t at_ms; /* of the day, since 1970 */
	uint64_t class[PLOT_CLASSES];
	uint64_t max, high; /* MEMCTL_MAX: none */
	uint64_t event[8];
	uint64_t some_us;
};

struct plot {
	char group[1100];
	struct plot_point *point; /* owned */
	size_t n, room;
	int64_t from_ms, to_ms;	    /* what is drawn */
	uint64_t peak;		    /* of that */
	uint64_t top;		    /* of the scale */
	bool shows_max, shows_high; /* they are in the picture now and then */
	char events[8][24];	    /* names */
	unsigned event_count;
};

/* One column of the picture. */
struct plot_column {
	bool is_known;		      /* there was something to know */
	uint64_t class[PLOT_CLASSES]; /* at its highest */
	uint64_t max, high;
	char mark;	/* of the worst event in it; 0 none */
	double stalled; /* part of its time, 0 to 1 */
};

/* Reads the history; `since_ms` back, 0: all. Negative errno with its sentence. */
int plot_read(struct memctl *m, const char *group, int64_t since_ms, struct plot *ret);
void plot_free(struct plot *p);

/* Column i of n. */
void plot_take_column(const struct plot *p, unsigned i, unsigned n, struct plot_column *ret);

/* Ticks of the scale of sizes: how many, at most PLOT_TICKS; they begin at 0. */
unsigned plot_ticks(const struct plot *p, unsigned most, uint64_t ret[PLOT_TICKS]);

/* "64M", "1.5G"; and the time of day, with seconds where the picture is short. */
char *plot_size(uint64_t bytes, char buf[PLOT_TEXT]);
char *plot_time(const struct plot *p, int64_t at_ms, char buf[PLOT_TEXT]);

/* What a mark means, and the marks in order of their weight: "KROMh". */
const char *plot_mark_meaning(char mark);
extern const char plot_marks[];

/* What stands under the picture: the present, the peak, limits that are not in it. */
void plot_caption(const struct plot *p, char *buf, size_t size);

void plot_print_text(const struct plot *p, unsigned width, unsigned height, bool has_blocks, bool has_colour, FILE *to);
void plot_print_svg(const struct plot *p, unsigned width, unsigned height, FILE *to);
/* 0, or negative errno with a sentence; -EOPNOTSUPP: not built in. */
int plot_print_png(const struct plot *p, unsigned width, unsigned height, FILE *to);

#endif
