/* SPDX-License-Identifier: MIT */
/* The picture as PNG, by cairo. */
#include "memctl/plot_draw.h"

#include "memctl/error.h"

#include <errno.h>

#ifdef HAVE_CAIRO
#include <cairo.h>
#include <math.h>

static void trace(cairo_t *cr, const struct plot_xy *at, unsigned n)
{
	cairo_new_path(cr);
	for (unsigned i = 0; i < n; i++)
		cairo_line_to(cr, at[i].x, at[i].y);
}

static void stroke(cairo_t *cr, double x, double y, double to_x, double to_y)
{
	cairo_move_to(cr, x, y);
	cairo_line_to(cr, to_x, to_y);
}

/* Lines all over, of which the area lets its own be seen: 8 pixels apart, by coordinates of the
 * whole picture. */
static void hatch(cairo_t *cr, int kind)
{
	double left, top, right, bottom;

	cairo_clip_extents(cr, &left, &top, &right, &bottom);
	cairo_new_path(cr);
	if (kind == 1 || kind == 5)
		for (double k = floor((left + top) / 8) * 8; k <= right + bottom; k += 8)
			stroke(cr, k - top, top, k - bottom, bottom);
	if (kind == 2 || kind == 5)
		for (double k = floor((left - bottom) / 8) * 8; k <= right - top; k += 8)
			stroke(cr, k + top, top, k + bottom, bottom);
	if (kind == 3)
		for (double k = floor(top / 8) * 8 + 4.5; k <= bottom; k += 8)
			stroke(cr, left, k, right, k);
	if (kind == 4)
		for (double k = floor(left / 8) * 8 + 4.5; k <= right; k += 8)
			stroke(cr, k, top, k, bottom);
	cairo_set_source_rgb(cr, 0.19, 0.19, 0.19);
	cairo_set_line_width(cr, 0.8);
	cairo_stroke(cr);
}

static void area(void *own, int class, const struct plot_xy *at, unsigned n)
{
	cairo_t *cr = own;

	cairo_save(cr);
	trace(cr, at, n);
	cairo_close_path(cr);
	if (class < 0)
		cairo_set_source_rgb(cr, 0.25, 0.25, 0.25);
	else
		cairo_set_source_rgb(cr, plot_classes[class].red, plot_classes[class].green, plot_classes[class].blue);
	cairo_fill_preserve(cr);
	if (class >= 0) {
		cairo_set_source_rgb(cr, 0.19, 0.19, 0.19);
		cairo_set_line_width(cr, 0.5);
		cairo_stroke_preserve(cr);
		cairo_clip(cr);
		hatch(cr, plot_classes[class].hatch);
	}
	cairo_restore(cr);
}

static void line(void *own, enum plot_line kind, const struct plot_xy *at, unsigned n)
{
	static const struct {
		double red, grey, width, dash[2];
	} style[] = {
		[PLOT_AXIS] = { 0, 0, 1, { 0, 0 } },	 [PLOT_GRID] = { 0.8, 0.8, 0.7, { 0, 0 } },
		[PLOT_MAX] = { 0.7, 0, 2, { 0, 0 } },	 [PLOT_HIGH] = { 0, 0, 1.5, { 6, 4 } },
		[PLOT_MARK] = { 0.7, 0, 0.7, { 1, 3 } },
	};
	cairo_t *cr = own;

	trace(cr, at, n);
	cairo_set_source_rgb(cr, style[kind].red, style[kind].grey, style[kind].grey);
	cairo_set_line_width(cr, style[kind].width);
	cairo_set_dash(cr, style[kind].dash, style[kind].dash[0] > 0 ? 2 : 0, 0);
	cairo_stroke(cr);
	cairo_set_dash(cr, NULL, 0, 0);
}

static void text(void *own, double x, double y, enum plot_anchor anchor, bool is_bold, const char *words)
{
	cairo_t *cr = own;
	cairo_text_extents_t size;

	cairo_select_font_face(cr, "monospace", CAIRO_FONT_SLANT_NORMAL,
			       is_bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
	cairo_set_font_size(cr, PLOT_FONT);
	cairo_text_extents(cr, words, &size);
	cairo_set_source_rgb(cr, 0, 0, 0);
	cairo_move_to(cr,
		      x - (anchor == PLOT_LEFT	   ? 0
			   : anchor == PLOT_MIDDLE ? size.x_advance / 2
						   : size.x_advance),
		      y);
	cairo_show_text(cr, words);
}

static cairo_status_t write_out(void *own, const unsigned char *data, unsigned n)
{
	return fwrite(data, 1, n, own) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

int plot_print_png(const struct plot *p, unsigned width, unsigned height, FILE *to)
{
	cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
	cairo_t *cr = cairo_create(surface);
	const struct plot_pen pen = { cr, area, line, text };
	cairo_status_t status;

	cairo_set_source_rgb(cr, 1, 1, 1);
	cairo_paint(cr);
	plot_draw(p, &pen, width, height);
	status = cairo_surface_write_to_png_stream(surface, write_out, to);
	cairo_destroy(cr);
	cairo_surface_destroy(surface);
	return status == CAIRO_STATUS_SUCCESS ? 0 : error_set(-EIO, "cannot draw: %s", cairo_status_to_string(status));
}

#else

int plot_print_png(const struct plot *p, unsigned width, unsigned height, FILE *to)
{
	(void)p, (void)width, (void)height, (void)to;
	return error_set(-EOPNOTSUPP, "built without cairo: --svg is there; configure says what to install");
}

#endif
