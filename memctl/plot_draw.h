/* SPDX-License-Identifier: MIT */
/* The picture as areas, lines and words, for a pen that can draw these. Pixels, y downward. */
#ifndef MEMCTL_PLOT_DRAW_H
#define MEMCTL_PLOT_DRAW_H

#include "memctl/plot.h"

enum plot_line { PLOT_AXIS, PLOT_GRID, PLOT_MAX, PLOT_HIGH, PLOT_MARK };
enum plot_anchor { PLOT_LEFT, PLOT_MIDDLE, PLOT_RIGHT };

struct plot_xy {
	double x, y;
};

struct plot_pen {
	void *own;
	/* Filled in a class's colour and hatch; class -1: the colour of stalls. */
	void (*area)(void *own, int class, const struct plot_xy *at, unsigned n);
	void (*line)(void *own, enum plot_line kind, const struct plot_xy *at, unsigned n);
	/* (x, y) is on the base line. In letters all of one width, PLOT_LETTER. */
	void (*text)(void *own, double x, double y, enum plot_anchor anchor, bool is_bold, const char *text);
};

#define PLOT_FONT 12	 /* pixels */
#define PLOT_LETTER 7.25 /* the width of each, at most */

void plot_draw(const struct plot *p, const struct plot_pen *pen, unsigned width, unsigned height);

#endif
