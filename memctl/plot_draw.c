/* SPDX-License-Identifier: MIT */
/* The picture as areas, lines and words. */
#include "memctl/plot_draw.h"

#include <stdlib.h>
#include <string.h>

#define LEFT 62
#define RIGHT 16
#define TOP 34
#define STRIP 16  /* of marks, and of stalls */
#define AXIS 20	  /* times */
#define LEGEND 18 /* a line of it */
#define MARK 12	  /* so far apart marks stand */

struct drawing {
	const struct plot *plot;
	const struct plot_pen *pen;
	double left, right, top, bottom; /* of the chart */
	unsigned width, height, n;
	struct plot_column *column; /* one a pixel and a half */
	struct plot_xy *xy;	    /* room for 4 n + 4 */
};

static double x_of(const struct drawing *d, unsigned i)
{
	return d->left + (d->right - d->left) * i / d->n;
}

static double y_of(const struct drawing *d, double bytes)
{
	return d->bottom - (d->bottom - d->top) * bytes / (double)d->plot->top;
}

static void text(const struct drawing *d, double x, double y, enum plot_anchor anchor, const char *words)
{
	d->pen->text(d->pen->own, x, y, anchor, false, words);
}

static void line(const struct drawing *d, enum plot_line kind, double x, double y, double to_x, double to_y)
{
	const struct plot_xy at[] = { { x, y }, { to_x, to_y } };

	d->pen->line(d->pen->own, kind, at, 2);
}

/* ---- the chart ------------------------------------------------------------------------------------------- */

static double sum_below(const struct plot_column *c, int class)
{
	double sum = 0;

	for (int i = 0; i < class; i++)
		sum += (double)c->class[i];
	return sum;
}

/* Steps, not slopes: between two records nothing has changed. */
static void draw_class(const struct drawing *d, int class)
{
	bool any = false;
	unsigned k = 0;

	for (unsigned i = 0; i < d->n; i++) {
		double y = y_of(d, sum_below(&d->column[i], class + 1));

		any |= d->column[i].class[class] != 0;
		d->xy[k++] = (struct plot_xy){ x_of(d, i), y };
		d->xy[k++] = (struct plot_xy){ x_of(d, i + 1), y };
	}
	for (unsigned i = d->n; i-- > 0;) {
		double y = y_of(d, sum_below(&d->column[i], class));

		d->xy[k++] = (struct plot_xy){ x_of(d, i + 1), y };
		d->xy[k++] = (struct plot_xy){ x_of(d, i), y };
	}
	if (any)
		d->pen->area(d->pen->own, class, d->xy, k);
}

/* In pieces, where there is a limit and it is in the picture. */
static void draw_limit(const struct drawing *d, enum plot_line kind)
{
	unsigned k = 0;

	for (unsigned i = 0; i <= d->n; i++) {
		uint64_t limit = i < d->n ? kind == PLOT_MAX ? d->column[i].max : d->column[i].high : MEMCTL_MAX;

		if (limit > d->plot->top) {
			if (k)
				d->pen->line(d->pen->own, kind, d->xy, k);
			k = 0;
			continue;
		}
		d->xy[k++] = (struct plot_xy){ x_of(d, i), y_of(d, (double)limit) };
		d->xy[k++] = (struct plot_xy){ x_of(d, i + 1), y_of(d, (double)limit) };
	}
}

static void draw_scale(const struct drawing *d)
{
	uint64_t tick[PLOT_TICKS];
	unsigned n = plot_ticks(d->plot, (unsigned)((d->bottom - d->top) / 30) + 1, tick);
	char buf[PLOT_TEXT];

	for (unsigned i = 0; i < n; i++) {
		double y = y_of(d, (double)tick[i]);

		if (i)
			line(d, PLOT_GRID, d->left, y, d->right, y);
		text(d, d->left - 6, y + 4, PLOT_RIGHT, plot_size(tick[i], buf));
	}
}

static void draw_times(const struct drawing *d)
{
	const struct plot *p = d->plot;
	unsigned n = (unsigned)((d->right - d->left) / 90);
	char buf[PLOT_TEXT];

	for (unsigned i = 0; n && i <= n; i++) {
		double x = d->left + (d->right - d->left) * i / n;

		line(d, PLOT_AXIS, x, d->bottom, x, d->bottom + 4);
		(void)plot_time(p, p->from_ms + (p->to_ms - p->from_ms) * i / n, buf);
		text(d, x, d->bottom + 16, i == 0 ? PLOT_LEFT : i == n ? PLOT_RIGHT : PLOT_MIDDLE, buf);
	}
	line(d, PLOT_AXIS, d->left, d->bottom, d->right, d->bottom);
	line(d, PLOT_AXIS, d->left, d->top, d->left, d->bottom);
}

/* ---- below it -------------------------------------------------------------------------------------------- */

static void draw_stalls(const struct drawing *d, double y)
{
	unsigned k = 0;

	text(d, d->left - 6, y, PLOT_RIGHT, "stall");
	for (unsigned i = 0; i < d->n; i++) {
		double top = y - d->column[i].stalled * (STRIP - 3);

		d->xy[k++] = (struct plot_xy){ x_of(d, i), top };
		d->xy[k++] = (struct plot_xy){ x_of(d, i + 1), top };
	}
	d->xy[k++] = (struct plot_xy){ d->right, y };
	d->xy[k++] = (struct plot_xy){ d->left, y };
	d->pen->area(d->pen->own, -1, d->xy, k);
	line(d, PLOT_GRID, d->left, y, d->right, y);
}

/* A letter each, at most one every MARK pixels. Remembers in `ret_seen` which there were. */
static void draw_marks(const struct drawing *d, double y, char *ret_seen)
{
	unsigned n = (unsigned)((d->right - d->left) / MARK);
	struct plot_column c;

	text(d, d->left - 6, y, PLOT_RIGHT, "events");
	for (unsigned i = 0; i < n; i++) {
		char letter[2] = "";
		double x = d->left + (d->right - d->left) * (i + 0.5) / n;

		plot_take_column(d->plot, i, n, &c);
		if (!c.mark)
			continue;
		letter[0] = c.mark;
		if (!strchr(ret_seen, c.mark))
			(void)strcat(ret_seen, letter);
		if (strchr("KRO", c.mark))
			line(d, PLOT_MARK, x, d->top, x, d->bottom);
		text(d, x, y, PLOT_MIDDLE, letter);
	}
}

/* One word of the legend, with its sign in front; goes on to the next line where it does not fit.
 */
struct legend {
	const struct drawing *d;
	double x, y;
};

static void place(struct legend *l, const char *words)
{
	double width = 24 + (double)strlen(words) * PLOT_LETTER;

	if (l->x > l->d->left && l->x + width > l->d->right) {
		l->x = l->d->left;
		l->y += LEGEND;
	}
}

static void say_class(struct legend *l, int class, const char *words)
{
	place(l, words);
	const struct plot_xy box[] = {
		{ l->x, l->y - 10 }, { l->x + 18, l->y - 10 }, { l->x + 18, l->y + 2 }, { l->x, l->y + 2 }
	};

	l->d->pen->area(l->d->pen->own, class, box, 4);
	text(l->d, l->x + 22, l->y, PLOT_LEFT, words);
	l->x += 22 + (double)strlen(words) * PLOT_LETTER + 14;
}

static void say_line(struct legend *l, enum plot_line kind, const char *words)
{
	place(l, words);
	line(l->d, kind, l->x, l->y - 4, l->x + 18, l->y - 4);
	text(l->d, l->x + 22, l->y, PLOT_LEFT, words);
	l->x += 22 + (double)strlen(words) * PLOT_LETTER + 14;
}

static void say_mark(struct legend *l, char mark)
{
	char words[64];

	(void)snprintf(words, sizeof(words), "%c %s", mark, plot_mark_meaning(mark));
	place(l, words);
	text(l->d, l->x, l->y, PLOT_LEFT, words);
	l->x += (double)strlen(words) * PLOT_LETTER + 14;
}

static bool has_class(const struct drawing *d, int class)
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->column[i].class[class])
			return true;
	return false;
}

static void draw_legend(const struct drawing *d, double y, const char *seen)
{
	const struct plot_point *last = &d->plot->point[d->plot->n - 1];
	struct legend l = { d, d->left, y };
	char words[64], buf[PLOT_TEXT];

	for (int i = 0; i < PLOT_CLASSES; i++)
		if (has_class(d, i)) {
			(void)snprintf(words, sizeof(words), "%s %s", plot_classes[i].name,
				       plot_size(last->class[i], buf));
			say_class(&l, i, words);
		}
	if (d->plot->shows_max)
		say_line(&l, PLOT_MAX, "memory.max");
	if (d->plot->shows_high)
		say_line(&l, PLOT_HIGH, "memory.high");
	for (const char *mark = plot_marks; *mark; mark++)
		if (strchr(seen, *mark))
			say_mark(&l, *mark);
}

static void draw_title(const struct drawing *d)
{
	unsigned room = (unsigned)((d->right - d->left + LEFT - 10) / PLOT_LETTER);
	char caption[256], group[1200];
	size_t n;

	plot_caption(d->plot, caption, sizeof(caption));
	(void)snprintf(group, sizeof(group), "%s", d->plot->group);
	n = strlen(group);
	if (n > room / 3) /* its end tells more */
		(void)snprintf(group, sizeof(group), "...%s", d->plot->group + n - room / 3);
	d->pen->text(d->pen->own, 10, 20, PLOT_LEFT, true, group);
	while (strlen(group) + strlen(caption) + 3 > room && *caption) { /* what is named is named in full */
		char *comma = strrchr(caption, ',');

		*(comma ? comma : caption) = 0;
	}
	text(d, d->right, 20, PLOT_RIGHT, caption);
}

void plot_draw(const struct plot *p, const struct plot_pen *pen, unsigned width, unsigned height)
{
	struct drawing d = { .plot = p, .pen = pen, .width = width, .height = height };
	char seen[16] = "";
	unsigned legend_lines = width > 900 ? 1 : width > 600 ? 2 : 4;
	double y;

	d.left = LEFT;
	d.right = width - RIGHT;
	d.top = TOP;
	d.bottom = height - AXIS - 2.0 * STRIP - (double)legend_lines * LEGEND - 12;
	d.n = (unsigned)((d.right - d.left) / 1.5);
	d.column = calloc(d.n, sizeof(*d.column));
	d.xy = calloc(4 * (size_t)d.n + 4, sizeof(*d.xy));
	for (unsigned i = 0; d.column && i < d.n; i++)
		plot_take_column(p, i, d.n, &d.column[i]);
	if (d.column && d.xy) {
		draw_title(&d);
		draw_scale(&d);
		for (int i = 0; i < PLOT_CLASSES; i++)
			draw_class(&d, i);
		draw_limit(&d, PLOT_HIGH);
		draw_limit(&d, PLOT_MAX);
		draw_times(&d);
		y = d.bottom + AXIS + STRIP;
		draw_stalls(&d, y);
		draw_marks(&d, y + STRIP, seen);
		draw_legend(&d, y + STRIP + LEGEND + 4, seen);
	}
	free(d.column);
	free(d.xy);
}
