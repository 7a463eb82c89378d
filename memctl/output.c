/* SPDX-License-Identifier: MIT */
/* How results are printed: the options all printing commands share. */
#include "memctl/output.h"

#include "accounting/units.h"
#include "memctl/memctl.h"
#include "memctl/say.h"

#include <errno.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { KEY_JSON = 0x200, KEY_SORT, KEY_NO_HEADER };

static const struct argp_option options[] = {
	{ "output", 'o', "FORMAT", 0, "table (default), json, jsonl, csv or openmetrics", 10 },
	{ "json", KEY_JSON, NULL, 0, "The same as -o json", 10 },
	{ "fields", 'f', "FIELD,...", 0, "Print these fields, in this order", 10 },
	{ "sort", KEY_SORT, "FIELD", 0,
	  "Sort by FIELD: numbers largest first, words from A; -FIELD the other way round", 10 },
	{ "no-header", KEY_NO_HEADER, NULL, 0, "No line of titles", 10 },
	{ "bytes", 'b', NULL, 0, "Sizes in bytes (default when not on a terminal)", 10 },
	{ "human", 'h', NULL, 0, "Sizes for people: 64.0 MiB (default on a terminal)", 10 },
	{ 0 },
};

static void set_format(struct output *o, const char *name, const struct argp_state *state)
{
	static const char *const names[] = { "table", "json", "jsonl", "csv", "openmetrics" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0) {
			o->format = (enum output_format)i;
			return;
		}
	argp_error(state, "no such format: '%s'; there are table, json, jsonl, csv and openmetrics", name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct output *o = state->input;

	switch (key) {
	case 'o':
		set_format(o, arg, state);
		return 0;
	case KEY_JSON:
		o->format = OUTPUT_JSON;
		return 0;
	case 'f':
		o->fields = arg;
		return 0;
	case KEY_SORT:
		o->sort = arg;
		return 0;
	case KEY_NO_HEADER:
		o->no_header = true;
		return 0;
	case 'b':
		o->sizes = OUTPUT_SIZES_BYTES;
		return 0;
	case 'h':
		o->sizes = OUTPUT_SIZES_HUMAN;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp output_argp = { .options = options, .parser = parse };

bool output_is_for_people(const struct output *o)
{
	if (o->sizes != OUTPUT_SIZES_AUTO)
		return o->sizes == OUTPUT_SIZES_HUMAN;
	return o->format == OUTPUT_TABLE && isatty(STDOUT_FILENO);
}

bool output_has_colour(void)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

bool output_has_boxes(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

unsigned output_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

size_t output_cut(const char *text, size_t room)
{
	size_t n = strlen(text);

	if (n <= room)
		return n;
	n = room > strlen("...") ? room - strlen("...") : 0;
	while (n && text[n] != ' ')
		n--;
	return n;
}

char *output_size(const struct output *o, uint64_t bytes, char buf[OUTPUT_SIZE_BUF])
{
	if (bytes == MEMCTL_MAX)
		return strcpy(buf, "max");
	if (output_is_for_people(o))
		return units_format(bytes, buf);
	(void)snprintf(buf, OUTPUT_SIZE_BUF, "%llu", (unsigned long long)bytes);
	return buf;
}

int output_finish(const char *command)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	if (errno == EPIPE) /* `memctl ls | head` is no failure to talk about */
		return SAY_FAILED;
	return say_failed(command, "cannot write the output: %m");
}
