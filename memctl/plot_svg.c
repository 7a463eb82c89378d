/* SPDX-License-Identifier: MIT */
/* The picture as SVG: any browser shows it. */
#include "memctl/plot_draw.h"

static void print_points(FILE *to, const struct plot_xy *at, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (i < 2 || i + 2 >= n || at[i].y < at[i - 1].y || at[i].y > at[i - 1].y || at[i + 1].y < at[i].y ||
		    at[i + 1].y > at[i].y) /* nothing new in the middle of a straight line */
			(void)fprintf(to, "%.1f,%.1f ", at[i].x, at[i].y);
}

static void area(void *own, int class, const struct plot_xy *at, unsigned n)
{
	FILE *to = own;

	(void)fputs("<polygon points=\"", to);
	print_points(to, at, n);
	if (class < 0)
		(void)fputs("\" fill=\"#404040\"/>\n", to);
	else
		(void)fprintf(to,
			      "\" fill=\"url(#%s)\" stroke=\"#303030\" "
			      "stroke-width=\"0.5\"><title>%s</title></polygon>\n",
			      plot_classes[class].name, plot_classes[class].name);
}

static void line(void *own, enum plot_line kind, const struct plot_xy *at, unsigned n)
{
	static const char *const style[] = {
		[PLOT_AXIS] = "stroke=\"#000\"",
		[PLOT_GRID] = "stroke=\"#ccc\" stroke-width=\"0.7\"",
		[PLOT_MAX] = "stroke=\"#b00000\" stroke-width=\"2\"",
		[PLOT_HIGH] = "stroke=\"#000\" stroke-width=\"1.5\" stroke-dasharray=\"6 4\"",
		[PLOT_MARK] = "stroke=\"#b00000\" stroke-width=\"0.7\" stroke-dasharray=\"1 3\"",
	};
	FILE *to = own;

	(void)fprintf(to, "<polyline fill=\"none\" %s points=\"", style[kind]);
	print_points(to, at, n);
	(void)fputs("\"/>\n", to);
}

/* Names of groups have no characters that XML minds. */
static void text(void *own, double x, double y, enum plot_anchor anchor, bool is_bold, const char *words)
{
	static const char *const anchors[] = { "start", "middle", "end" };

	(void)fprintf(own, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchors[anchor],
		      is_bold ? " font-weight=\"bold\"" : "", words);
}

static void print_pattern(FILE *to, const struct plot_class *c)
{
	static const char *const hatch[] = { "",
					     "M0,8 L8,0 M-2,2 L2,-2 M6,10 L10,6",
					     "M0,0 L8,8 M-2,6 L2,10 M6,-2 L10,2",
					     "M0,4 L8,4",
					     "M4,0 L4,8",
					     "M0,0 L8,8 M0,8 L8,0" };

	(void)fprintf(to,
		      "<pattern id=\"%s\" width=\"8\" height=\"8\" "
		      "patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\" "
		      "fill=\"rgb(%.0f,%.0f,%.0f)\"/><path d=\"%s\" stroke=\"#303030\" "
		      "stroke-width=\"0.8\"/></pattern>\n",
		      c->name, c->red * 255, c->green * 255, c->blue * 255,
		      *hatch[c->hatch] ? hatch[c->hatch] : "M0,0");
}

void plot_print_svg(const struct plot *p, unsigned width, unsigned height, FILE *to)
{
	const struct plot_pen pen = { to, area, line, text };

	(void)fprintf(to,
		      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		      "viewBox=\"0 0 %u %u\" "
		      "font-family=\"DejaVu Sans Mono,Menlo,Consolas,monospace\" "
		      "font-size=\"%d\">\n<title>%s</title>\n<defs>\n",
		      width, height, width, height, PLOT_FONT, p->group);
	for (int i = 0; i < PLOT_CLASSES; i++)
		print_pattern(to, &plot_classes[i]);
	(void)fputs("</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", to);
	plot_draw(p, &pen, width, height);
	(void)fputs("</svg>\n", to);
}
