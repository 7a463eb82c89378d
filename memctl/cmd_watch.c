/* SPDX-License-Identifier: MIT */
/* memctl watch: waits for events of a group, and tells of each. */
#include "memctl/command.h"
#include "memctl/table.h"
#include "memctl/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXIT_TIME_OVER 124 /* as timeout(1) */
#define NS_PER_S 1000000000ull

enum { KEY_COUNT = 0x300, KEY_TIMEOUT, KEY_EXEC, KEY_LMM };

static const struct table_column columns[] = {
	{ "time", TABLE_TEXT, "when it was noticed" },
	{ "group", TABLE_TEXT, "the group" },
	{ "event", TABLE_TEXT, "the event, as it was asked for" },
	{ "fired", TABLE_COUNT, "how often it fired since the last line" },
	{ "current", TABLE_BYTES, "memory.current, now" },
	{ "missed", TABLE_COUNT, "how often the daemon was away since the last line" },
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))
#define SHOWN_COLUMNS "time,group,event,fired,current"

static const struct argp_option options[] = {
	{ "count", KEY_COUNT, "N", 0, "End after N lines", 1 },
	{ "timeout", KEY_TIMEOUT, "SECONDS", 0, "End after so long", 1 },
	{ "exec", KEY_EXEC, "COMMAND", 0, "Run COMMAND by the shell for each line, and wait for it", 1 },
	{ "quiet", 'q', NULL, 0, "Print no lines", 1 },
	{ "lmm", KEY_LMM, NULL, 0, "Tell applications by D-Bus, as low-memory-monitor does", 2 },
	{ 0 },
};

/* What was asked for. */
struct wish {
	uint64_t count;	     /* 0: no end */
	uint64_t timeout_ns; /* 0: no end */
	const char *command; /* NULL: none */
	bool is_quiet, is_lmm;
};

static uint64_t parse_count(const char *text, const struct argp_state *state)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || !n || *text == '-')
		argp_error(state, "--count wants a number above 0, not '%s'", text);
	return n;
}

static uint64_t parse_timeout(const char *text, const struct argp_state *state)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0) || seconds > 1e9)
		argp_error(state, "--timeout wants a number of seconds above 0, not '%s'", text);
	return (uint64_t)(seconds * (double)NS_PER_S);
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;

	switch (key) {
	case KEY_COUNT:
		w->count = parse_count(arg, state);
		return 0;
	case KEY_TIMEOUT:
		w->timeout_ns = parse_timeout(arg, state);
		return 0;
	case KEY_EXEC:
		w->command = arg;
		return 0;
	case 'q':
		w->is_quiet = true;
		return 0;
	case KEY_LMM:
		w->is_lmm = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "watch",
	.options = options,
	.option = option,
	.prints = true,
	.most = -1,
	.more = "EVENT is usage:SIZE, pressure:LEVEL[,MODE] (low, medium, critical; default, hierarchy, "
		"local), oom, events, history, stall:some|full:STALL_US:WINDOW_US, removed, memsw:SIZE, "
		"dmem:REGION:SIZE or dmem-pressure:REGION:LEVEL[,MODE]. Fields: time, group, event, fired, "
		"current, missed. Exits with 124 when --timeout came before --count.",
};

struct watch {
	const struct wish *wish;
	struct output output;
	struct memctl *m;
	const char *group;
	char **event;	  /* ends with NULL */
	struct pollfd *p; /* of each event */
	nfds_t events;
	uint64_t lines;
	uint64_t end_ns; /* 0: none */
	size_t removed;	 /* events that were told that the group is gone: each is */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void write_time(char buf[WATCH_TIME_BUF])
{
	struct timespec t;
	struct tm tm;
	char zone[8];
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	(void)localtime_r(&t.tv_sec, &tm);
	n = strftime(buf, WATCH_TIME_BUF, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)strftime(zone, sizeof(zone), "%z", &tm);
	(void)snprintf(buf + n, WATCH_TIME_BUF - n, ".%03ld%s", t.tv_nsec / 1000000, zone);
}

/* ---- telling ----------------------------------------------------------------------------- */

/* NULL: no line, only the titles; and a mistake in -f is found before anything happens. */
static int print(struct watch *w, const struct watch_line *l)
{
	struct table *t = table_new("watch", columns, COLUMNS);
	int bad;

	table_set_plain(t);
	if (l) {
		table_text(t, l->time);
		table_text(t, l->group);
		table_text(t, l->event);
		table_number(t, l->fired);
		table_number(t, l->current);
		table_number(t, l->missed);
	}
	bad = table_print(t, "watch", &w->output);
	table_free(t);
	w->output.no_header = true; /* it stands above the first line alone */
	return bad ? bad : output_finish("watch");
}

/* People are told in words that something may have been missed; who reads by program gets a line. */
static bool is_line(const struct watch *w, const struct memctl_notice *n)
{
	if (n->missed)
		say_note("watch", "the daemon of %s was away: something may have been missed", w->group);
	return n->fired || (n->missed && w->output.format != OUTPUT_TABLE);
}

/* Returns an exit status above 0 when that cannot be. */
static int tell(struct watch *w, const char *event, const struct memctl_notice *n)
{
	struct watch_line l = { .group = w->group, .event = event, .fired = n->fired, .missed = n->missed };
	int bad;

	write_time(l.time);
	if (memctl_get_number(w->m, w->group, "memory.current", &l.current))
		l.current = 0; /* it has just been removed */
	bad = w->wish->is_quiet ? 0 : print(w, &l);
	if (!bad && n->fired && w->wish->command)
		watch_exec(w->wish->command, &l);
	w->lines += n->fired != 0;
	return bad;
}

static bool is_enough(const struct watch *w)
{
	return w->wish->count && w->lines >= w->wish->count;
}

static int look_at(struct watch *w, size_t i)
{
	struct memctl_notice n;
	int err;

	err = memctl_notice(w->m, w->p[i].fd, &n);
	if (err)
		return say_error("watch", err);
	if (n.is_removed) {
		w->removed++;
		w->p[i].fd = -1; /* nothing more comes */
	}
	return is_line(w, &n) ? tell(w, w->event[i], &n) : 0;
}

/* ---- waiting ----------------------------------------------------------------------------- */

static int poll_ms(const struct watch *w)
{
	uint64_t now = now_ns(), ms;

	if (!w->end_ns)
		return -1;
	if (now >= w->end_ns)
		return 0;
	ms = (w->end_ns - now) / 1000000 + 1;
	return ms < 1000000 ? (int)ms : 1000000;
}

static bool is_over(const struct watch *w)
{
	return w->end_ns && now_ns() >= w->end_ns;
}

static int look_at_all(struct watch *w)
{
	int bad = 0;

	for (size_t i = 0; i < w->events && !bad && !is_enough(w); i++)
		if (w->p[i].revents)
			bad = look_at(w, i);
	return bad;
}

static bool has_asked_for_removed(const struct watch *w)
{
	for (char **e = w->event; *e; e++)
		if (strcmp(*e, "removed") == 0)
			return true;
	return false;
}

static int conclude(const struct watch *w)
{
	if (is_enough(w))
		return SAY_OK;
	if (!w->removed)
		return w->wish->count ? EXIT_TIME_OVER : SAY_OK;
	if (has_asked_for_removed(w) && !w->wish->count)
		return SAY_OK;
	return say_failed("watch", "%s was removed", w->group);
}

static int wait_for_events(struct watch *w)
{
	int bad = 0;

	while (!bad && w->removed < w->events && !is_enough(w)) {
		int n = poll(w->p, w->events, poll_ms(w));

		if (n > 0)
			bad = look_at_all(w);
		else if (n == 0 && is_over(w))
			break;
		else if (n < 0 && errno != EINTR)
			return say_failed("watch", "cannot wait: %m");
	}
	return bad ? bad : conclude(w);
}

static int subscribe(struct watch *w)
{
	for (size_t i = 0; i < w->events; i++) {
		int fd = memctl_subscribe(w->m, w->group, w->event[i]);

		if (fd < 0)
			return say_error("watch", fd);
		w->p[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	return 0;
}

static int watch_events(struct watch *w)
{
	int bad;

	w->p = calloc(w->events, sizeof(*w->p));
	if (!w->p)
		return say_failed("watch", "no memory left");
	if (w->wish->timeout_ns)
		w->end_ns = now_ns() + w->wish->timeout_ns;
	bad = print(w, NULL);
	if (!bad)
		bad = subscribe(w);
	if (!bad)
		bad = wait_for_events(w);
	free(w->p);
	return bad;
}

static int usage_error(const char *words)
{
	(void)say_failed("watch", "%s; 'memctl watch --help' explains", words);
	return SAY_USAGE;
}

static int check(const struct wish *wish, const struct command_words *words)
{
	if (wish->is_lmm)
		return words->count > 1 || wish->count || wish->timeout_ns || wish->command
			       ? usage_error("--lmm takes a GROUP and nothing else")
			       : 0;
	if (words->count < 2)
		return usage_error("GROUP or EVENT is missing: such as /demo pressure:medium");
	if (words->output.format == OUTPUT_OPENMETRICS)
		return usage_error("events are no metrics: -o openmetrics does not go");
	return 0;
}

/* Lines come one by one, so what is otherwise a list is a line here. */
static void set_output(struct output *o)
{
	if (o->format == OUTPUT_JSON)
		o->format = OUTPUT_JSONL;
	if (o->format == OUTPUT_TABLE && !o->fields)
		o->fields = SHOWN_COLUMNS;
}

int cmd_watch(int argc, char **argv)
{
	struct wish wish = { 0 };
	struct command_words words;
	struct watch w = { .wish = &wish };
	int bad;

	command_parse(&usage, argc, argv, &wish, &words);
	bad = check(&wish, &words);
	if (bad)
		return bad;
	w.m = command_open("watch");
	if (!w.m)
		return SAY_FAILED;
	if (wish.is_lmm) {
		bad = watch_lmm(w.m, words.count ? words.word[0] : "/");
	} else {
		w.output = words.output;
		set_output(&w.output);
		w.group = words.word[0];
		w.event = words.word + 1;
		w.events = (nfds_t)words.count - 1;
		bad = watch_events(&w);
	}
	memctl_close(w.m);
	return bad;
}
