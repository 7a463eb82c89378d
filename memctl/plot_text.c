/* SPDX-License-Identifier: MIT */
/* The picture in characters. */
#include "memctl/plot.h"

#include <stdlib.h>
#include <string.h>

#define LABEL 7 /* "1023.5M" */
#define COLOUR_OFF "\033[0m"

struct canvas {
	const struct plot *plot;
	struct plot_column *column;
	unsigned columns, rows;
	bool has_blocks, has_colour;
	FILE *to;
	const char *colour; /* in force */
};

static void set_colour(struct canvas *c, const char *sgr)
{
	if (!c->has_colour || strcmp(c->colour, sgr) == 0)
		return;
	(void)fputs(*sgr ? sgr : COLOUR_OFF, c->to);
	c->colour = sgr;
}

/* In which row, from below, a size lies. */
static unsigned row_of(const struct canvas *c, uint64_t bytes)
{
	unsigned row = (unsigned)((double)bytes / (double)c->plot->top * c->rows);

	return row < c->rows ? row : c->rows - 1;
}

/* What fills most of a cell: -1 nothing. *ret_part: how much of it the whole stack fills. */
static int class_in(const struct canvas *c, const struct plot_column *column, unsigned row, double *ret_part)
{
	double cell = (double)c->plot->top / c->rows, low = cell * row, high = low + cell, at = 0, most = 0;
	int best = -1;

	*ret_part = 0;
	for (int i = 0; i < PLOT_CLASSES; i++) {
		double begin = at > low ? at : low, end = at + (double)column->class[i];

		at = end;
		end = end < high ? end : high;
		if (end <= begin)
			continue;
		*ret_part += (end - begin) / cell;
		if (end - begin > most) {
			most = end - begin;
			best = i;
		}
	}
	return best;
}

static void print_filled(struct canvas *c, int class, double part)
{
	static const char *const eighths[] = { "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587" };
	int n = (int)(part * 8);

	set_colour(c, plot_classes[class].sgr);
	if (!c->has_blocks)
		(void)fputc(part >= 0.5 ? plot_classes[class].letter : '.', c->to);
	else if (n >= 8 || (class && n > 3)) /* only whole cells can be shaded */
		(void)fputs(plot_classes[class].block, c->to);
	else
		(void)fputs(n ? eighths[n - 1] : eighths[0], c->to);
}

static void print_cell(struct canvas *c, const struct plot_column *column, unsigned row)
{
	double part;
	int class = class_in(c, column, row, &part);

	if (c->plot->shows_max && column->max != MEMCTL_MAX && column->max <= c->plot->top &&
	    row_of(c, column->max) == row) {
		set_colour(c, "\033[31m");
		(void)fputs(c->has_blocks ? "\u2501" : "=", c->to);
	} else if (c->plot->shows_high && column->high != MEMCTL_MAX && column->high <= c->plot->top &&
		   row_of(c, column->high) == row) {
		set_colour(c, "\033[33m");
		(void)fputs(c->has_blocks ? "\u254c" : "-", c->to);
	} else if (class >= 0) {
		print_filled(c, class, part);
	} else {
		set_colour(c, "");
		(void)fputc(' ', c->to);
	}
}

static void print_picture(struct canvas *c)
{
	uint64_t tick[PLOT_TICKS];
	unsigned ticks = plot_ticks(c->plot, c->rows / 2 > 1 ? c->rows / 2 : 2, tick);
	char buf[PLOT_TEXT];

	for (unsigned row = c->rows; row-- > 0;) {
		const char *label = "";

		for (unsigned i = 0; i < ticks; i++)
			if (row_of(c, tick[i]) == row)
				label = plot_size(tick[i], buf);
		(void)fprintf(c->to, "%*s %s", LABEL, label,
			      c->has_blocks ? *label ? "\u2524" : "\u2502"
			      : *label	    ? "+"
					    : "|");
		for (unsigned i = 0; i < c->columns; i++)
			print_cell(c, &c->column[i], row);
		set_colour(c, "");
		(void)fputc('\n', c->to);
	}
}

/* Under the axis: "10:31:00   10:31:30". */
static void print_times(const struct canvas *c)
{
	const struct plot *p = c->plot;
	char *line = malloc(c->columns + 1);
	unsigned width = p->to_ms - p->from_ms < 30 * 60 * 1000 ? 8 : 5;
	unsigned step = width + 8;
	char buf[PLOT_TEXT];

	if (!line)
		return;
	(void)fprintf(c->to, "%*s %s", LABEL, "", c->has_blocks ? "\u2514" : "+");
	for (unsigned i = 0; i < c->columns; i++)
		(void)fputs(c->has_blocks ? i % step ? "\u2500" : "\u252c" : i % step ? "-" : "+", c->to);
	memset(line, ' ', c->columns);
	line[c->columns] = 0;
	for (unsigned i = 0; i + width <= c->columns; i += step)
		memcpy(line + i, plot_time(p, p->from_ms + (p->to_ms - p->from_ms) * i / c->columns, buf), width);
	while (c->columns && strlen(line) && line[strlen(line) - 1] == ' ')
		line[strlen(line) - 1] = 0;
	(void)fprintf(c->to, "\n%*s  %s\n", LABEL, "", line);
	free(line);
}

static void print_stalls(struct canvas *c)
{
	static const char *const eighths[] = { " ",	 "\u2581", "\u2582", "\u2583", "\u2584",
					       "\u2585", "\u2586", "\u2587", "\u2588" };
	bool any = false;

	for (unsigned i = 0; i < c->columns; i++)
		any |= c->column[i].stalled >= 0.005;
	if (!any)
		return;
	(void)fprintf(c->to, "%*s  ", LABEL, "stall");
	for (unsigned i = 0; i < c->columns; i++) {
		int n = (int)(c->column[i].stalled * 8 + (c->column[i].stalled >= 0.005 ? 0.99 : 0));

		if (c->has_blocks)
			(void)fputs(eighths[n > 8 ? 8 : n], c->to);
		else
			(void)fputc(n ? '0' + (n > 9 ? 9 : n) : ' ', c->to);
	}
	(void)fputc('\n', c->to);
}

static void print_marks(struct canvas *c)
{
	bool any = false;

	for (unsigned i = 0; i < c->columns; i++)
		any |= c->column[i].mark != 0;
	if (!any)
		return;
	(void)fprintf(c->to, "%*s  ", LABEL, "events");
	for (unsigned i = 0; i < c->columns; i++)
		(void)fputc(c->column[i].mark ? c->column[i].mark : ' ', c->to);
	(void)fputc('\n', c->to);
}

/* Words one after the other, on as many lines as they want. */
struct words {
	struct canvas *c;
	unsigned at, width;
};

static void say(struct words *w, const char *sgr, const char *sign, const char *text)
{
	unsigned n = (unsigned)strlen(text) + 2;

	if (w->at && w->at + n + 2 > w->width) {
		(void)fputc('\n', w->c->to);
		w->at = 0;
	}
	(void)fprintf(w->c->to, "%s", w->at ? "  " : "");
	w->at += n + (w->at ? 2 : 0);
	set_colour(w->c, sgr);
	(void)fputs(sign, w->c->to);
	set_colour(w->c, "");
	(void)fprintf(w->c->to, " %s", text);
}

static void print_legend(struct canvas *c, unsigned width)
{
	struct words w = { c, 0, width };
	char letter[2] = "", text[PLOT_TEXT + 16], buf[PLOT_TEXT];
	const struct plot_point *last = &c->plot->point[c->plot->n - 1];

	for (int i = 0; i < PLOT_CLASSES; i++) {
		bool any = false;

		for (unsigned k = 0; k < c->columns; k++)
			any |= c->column[k].class[i] != 0;
		letter[0] = plot_classes[i].letter;
		(void)snprintf(text, sizeof(text), "%s %s", plot_classes[i].name, plot_size(last->class[i], buf));
		if (any)
			say(&w, plot_classes[i].sgr, c->has_blocks ? plot_classes[i].block : letter, text);
	}
	if (c->plot->shows_max)
		say(&w, "\033[31m", c->has_blocks ? "\u2501" : "=", "memory.max");
	if (c->plot->shows_high)
		say(&w, "\033[33m", c->has_blocks ? "\u254c" : "-", "memory.high");
	for (const char *mark = plot_marks; *mark; mark++)
		for (unsigned k = 0; k < c->columns; k++)
			if (c->column[k].mark == *mark) {
				letter[0] = *mark;
				say(&w, "", letter, plot_mark_meaning(*mark));
				break;
			}
	if (w.at)
		(void)fputc('\n', c->to);
}

void plot_print_text(const struct plot *p, unsigned width, unsigned height, bool has_blocks, bool has_colour, FILE *to)
{
	struct canvas c = { .plot = p, .has_blocks = has_blocks, .has_colour = has_colour, .to = to, .colour = "" };
	char caption[256];

	width = width < 40 ? 40 : width;
	c.columns = width - LABEL - 2;
	c.rows = height > 12 ? height - 8 : 4;
	c.column = calloc(c.columns, sizeof(*c.column));
	if (!c.column)
		return;
	for (unsigned i = 0; i < c.columns; i++)
		plot_take_column(p, i, c.columns, &c.column[i]);
	plot_caption(p, caption, sizeof(caption));
	if (strlen(p->group) + strlen(caption) + 2 <= width)
		(void)fprintf(to, "%s: %s\n", p->group, caption);
	else
		(void)fprintf(to, "%.*s\n%s\n", (int)width, p->group, caption);
	print_picture(&c);
	print_times(&c);
	print_stalls(&c);
	print_marks(&c);
	print_legend(&c, width);
	free(c.column);
}
