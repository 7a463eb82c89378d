/* SPDX-License-Identifier: MIT */
/* memctl plot: draws what a group held over time. */
#include "memctl/command.h"
#include "memctl/plot.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { KEY_TEXT = 0x300, KEY_SVG, KEY_PNG, KEY_WIDTH, KEY_HEIGHT };
enum form { FORM_TEXT, FORM_SVG, FORM_PNG };

struct wish {
	enum form form;
	unsigned width, height;
	int64_t since_ms;
	const char *file;
};

static const struct argp_option options[] = {
	{ "text", KEY_TEXT, NULL, 0, "Draw with characters (default)", 0 },
	{ "svg", KEY_SVG, NULL, 0, "Draw for a browser", 0 },
	{ "png", KEY_PNG, NULL, 0, "Draw pixels", 0 },
	{ "file", 'o', "FILE", 0, "Write to FILE; .svg and .png say how", 0 },
	{ "since", 's', "TIME", 0, "Only so far back: 90s, 10m, 1h (default: all there is)", 0 },
	{ "width", KEY_WIDTH, "N", 0, "Columns or pixels (default: the terminal's, or 80; 960 pixels)", 0 },
	{ "height", KEY_HEIGHT, "N", 0, "Lines or pixels (default: 20 lines, 360 pixels)", 0 },
	{ 0 },
};

/* 90, 90s, 10m, 1h; 0: none of these. */
static int64_t parse_time(const char *text)
{
	char *end;
	double n = strtod(text, &end);
	const char *const units = "smh";
	const char *unit = *end ? strchr(units, *end) : units;
	int64_t factor[] = { 1000, 60000, 3600000 };

	if (end == text || !unit || (*end && end[1]) || !(n > 0 && n < 1e6))
		return 0;
	return (int64_t)(n * (double)factor[unit - units]);
}

static unsigned parse_size(const char *text, unsigned least, unsigned most, const struct argp_state *state)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || n < least || n > most)
		argp_error(state, "'%s' is not a size from %u to %u", text, least, most);
	return (unsigned)n;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

static void set_file(struct wish *w, const char *name, const struct argp_state *state)
{
	static const char *const other[] = { ".gif", ".jpg", ".jpeg", ".webp", ".pdf", ".eps", ".ps", ".bmp" };

	w->file = name;
	if (ends_with(name, ".svg"))
		w->form = FORM_SVG;
	if (ends_with(name, ".png"))
		w->form = FORM_PNG;
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		if (ends_with(name, other[i]))
			argp_error(state, "no picture of the kind '%s' can be made: name the file .svg or .png",
				   other[i]);
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;

	switch (key) {
	case KEY_TEXT:
		w->form = FORM_TEXT;
		return 0;
	case KEY_SVG:
		w->form = FORM_SVG;
		return 0;
	case KEY_PNG:
		w->form = FORM_PNG;
		return 0;
	case 'o':
		set_file(w, arg, state);
		return 0;
	case 's':
		w->since_ms = parse_time(arg);
		if (!w->since_ms)
			argp_error(state, "'%s' is no time: 90s, 10m or 1h", arg);
		return 0;
	case KEY_WIDTH:
		w->width = parse_size(arg, 40, 10000, state);
		return 0;
	case KEY_HEIGHT:
		w->height = parse_size(arg, 10, 10000, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "plot",
	.options = options,
	.option = option,
	.least = 1,
	.most = 1,
	.missing = "GROUP is missing: a path such as /demo, or / for the root",
};

static void find_size(struct wish *w)
{
	struct winsize size;
	bool is_terminal = !w->file && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40;

	if (w->form == FORM_TEXT) {
		w->width = w->width ? w->width : is_terminal ? size.ws_col : 80;
		w->height = w->height ? w->height : is_terminal && size.ws_row < 22 ? size.ws_row - 1u : 20;
	} else {
		w->width = w->width ? w->width < 320 ? 320 : w->width : 960;
		w->height = w->height ? w->height < 200 ? 200 : w->height : 360;
	}
}

static int draw(const struct plot *p, const struct wish *w)
{
	FILE *to = w->file ? fopen(w->file, "w") : stdout;
	int err = 0;

	if (!to)
		return say_failed("plot", "cannot write %s: %m", w->file);
	if (w->form == FORM_TEXT)
		plot_print_text(p, w->width, w->height, output_has_boxes(), !w->file && output_has_colour(), to);
	else if (w->form == FORM_SVG)
		plot_print_svg(p, w->width, w->height, to);
	else
		err = plot_print_png(p, w->width, w->height, to);
	if (w->file && fclose(to) && !err)
		return say_failed("plot", "cannot write %s: %m", w->file);
	return err ? say_error("plot", err) : 0;
}

int cmd_plot(int argc, char **argv)
{
	struct wish wish = { .form = FORM_TEXT };
	struct command_words w;
	struct memctl *m;
	struct plot p;
	int err;

	command_parse(&usage, argc, argv, &wish, &w);
	if (wish.form == FORM_PNG && !wish.file && isatty(STDOUT_FILENO))
		return say_failed("plot", "a terminal cannot show PNG: write it to a file with -o FILE");
	find_size(&wish);
	m = command_open("plot");
	if (!m)
		return SAY_FAILED;
	err = plot_read(m, w.word[0], wish.since_ms, &p);
	memctl_close(m);
	if (err)
		return say_error("plot", err);
	err = draw(&p, &wish);
	plot_free(&p);
	return err ? err : output_finish("plot");
}
