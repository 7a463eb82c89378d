/* SPDX-License-Identifier: MIT */
/* memctl events: tells what happened to a group and to those below it. */
#include "memctl/command.h"

#include "memctl/client.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_S 1 /* after a request that failed */

enum { KEY_JSON = 0x300 };

struct wish {
	bool follows, is_json;
	long last; /* how many of the past; -1: all */
	json_int_t cursor;
	json_t *kept; /* the last ones of the past */
};

static const struct argp_option options[] = {
	{ "follow", 'f', NULL, 0, "Go on with what happens from now on", 0 },
	{ "lines", 'n', "N", 0, "Only the last N of what has happened", 0 },
	{ "json", KEY_JSON, NULL, 0, "An object on each line", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;
	char *end;

	switch (key) {
	case 'f':
		w->follows = true;
		return 0;
	case 'n':
		w->last = strtol(arg, &end, 10);
		if (!isdigit((unsigned char)*arg) || *end)
			argp_error(state, "'%s' is no number of lines", arg);
		return 0;
	case KEY_JSON:
		w->is_json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "events",
	.options = options,
	.option = option,
	.most = 1,
	.more = "Without GROUP: of all groups. The daemon keeps the last 1024 events.",
};

/* ---- printing -------------------------------------------------------------------------------------------- */

static const char *colour_of(const char *event)
{
	if (!output_has_colour())
		return "";
	if (strncmp(event, "oom", 3) == 0 || strcmp(event, "report") == 0)
		return "\033[31m";
	return strcmp(event, "max") == 0 || strcmp(event, "over") == 0 || strcmp(event, "high") == 0 ? "\033[33m" : "";
}

static const char *text_of(const json_t *e, const char *name)
{
	const char *text = json_string_value(json_object_get(e, name));

	return text ? text : "";
}

/* Several lines of a report are set below the first. */
static void print_text(const char *text)
{
	for (; *text; text++) {
		(void)putchar(*text);
		if (*text == '\n')
			(void)printf("    ");
	}
}

static void print_event(const json_t *e)
{
	json_int_t at_ms = json_integer_value(json_object_get(e, "at"));
	json_int_t count = json_integer_value(json_object_get(e, "count"));
	time_t at = (time_t)(at_ms / 1000);
	const char *text = text_of(e, "text"), *event = text_of(e, "event"), *colour = colour_of(event);
	bool is_report = strcmp(event, "report") == 0;
	struct tm day;
	char when[32];

	(void)localtime_r(&at, &day);
	(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &day);
	(void)printf("%s  %s%-14s%s  %s", when, colour, event, *colour ? "\033[0m" : "", text_of(e, "group"));
	if (count > 1)
		(void)printf("  %lld times", (long long)count);
	if (*text)
		(void)printf(is_report ? "\n    " : "  ");
	print_text(text);
	(void)putchar('\n');
}

static void print(const struct wish *w, const json_t *e)
{
	if (!w->is_json) {
		print_event(e);
		return;
	}
	(void)json_dumpf(e, stdout, JSON_COMPACT);
	(void)putchar('\n');
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

static int on_page(json_t *reply, void *arg)
{
	json_t *events = json_object_get(reply, "events");
	struct wish *w = arg;

	w->cursor = json_integer_value(json_object_get(reply, "next"));
	for (size_t i = 0; i < json_array_size(events); i++) {
		if (!w->kept) {
			print(w, json_array_get(events, i));
			continue;
		}
		(void)json_array_append(w->kept, json_array_get(events, i));
		while (w->last >= 0 && (long)json_array_size(w->kept) > w->last)
			(void)json_array_remove(w->kept, 0);
	}
	return 0;
}

static int ask(struct memctl *m, const char *group, struct wish *w)
{
	json_t *request = client_new_request("events", group);

	if (request)
		(void)json_object_set_new(request, "cursor", json_integer(w->cursor));
	return client_pages(m, request, on_page, w);
}

/* Woken by the daemon's word, or when nobody reads what is printed. A daemon that has gone is
 * waited for: the next has the same list, and the subscription wakes once when it is there. False:
 * that is all. */
static bool sleep_until_told(struct memctl *m, int fd)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = STDOUT_FILENO } };
	struct memctl_notice notice;

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return !p[1].revents && memctl_notice(m, fd, &notice) == 0;
}

/* To the root, which is never removed: a group of this name may come again. */
static int follow(struct memctl *m, const char *group, struct wish *w)
{
	int fd = memctl_subscribe(m, "/", "history");

	if (fd < 0)
		return fd;
	do {
		while (ask(m, group, w))
			(void)sleep(AGAIN_S);
		(void)fflush(stdout);
	} while (!ferror(stdout) && sleep_until_told(m, fd));
	return 0;
}

int cmd_events(int argc, char **argv)
{
	struct wish wish = { .last = -1 };
	struct command_words w;
	struct memctl *m;
	const char *group;
	int err;

	command_parse(&usage, argc, argv, &wish, &w);
	group = w.count ? w.word[0] : "/";
	if (*group != '/')
		return say_failed("events", "'%s' is not a group's path: it begins with /", group);
	m = command_open("events");
	if (!m)
		return SAY_FAILED;
	wish.kept = json_array();
	err = ask(m, group, &wish);
	for (size_t i = 0; i < json_array_size(wish.kept); i++)
		print(&wish, json_array_get(wish.kept, i));
	json_decref(wish.kept);
	wish.kept = NULL;
	if (!err && wish.follows)
		err = follow(m, group, &wish);
	memctl_close(m);
	return err ? say_error("events", err) : output_finish("events");
}
