/* SPDX-License-Identifier: MIT */
/* memctl profile: which code holds a group's memory. */
#include "memctl/command.h"
#include "memctl/profile.h"
#include "memctl/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_DIFF = 0x300, KEY_TOP, KEY_FORMAT, KEY_BY, KEY_SINCE };

static const struct argp_option options[] = {
	{ "top", KEY_TOP, "N", 0, "Show the N largest stacks as text (10; 0: all)", 1 },
	{ "format", KEY_FORMAT, "FORMAT", 0, "text, folded, json, pprof or svg; else by what FILE ends with, else text",
	  1 },
	{ "by", KEY_BY, "WHAT", 0,
	  "live, peak (when each process had most) or allocated (all it ever asked for); live while "
	  "a process runs, "
	  "then peak",
	  1 },
	{ "diff", KEY_DIFF, NULL, 0, "What changed from A to B: each a GROUP, or a FILE that --format json made", 2 },
	{ "output", 'o', "FILE", 0, "Write to FILE", 2 },
	{ "since", KEY_SINCE, "NS", OPTION_HIDDEN, NULL, 2 },
	{ 0 },
};

struct wish {
	profile_write_fn write; /* NULL: by the file's name */
	const char *file;
	unsigned top;
	enum profile_by by;
	bool diff;
	uint64_t since_ns; /* of CLOCK_MONOTONIC; what is older is left out. For memctl run */
};

static void set_by(struct wish *w, const char *text, const struct argp_state *state)
{
	static const char *const names[] = { "live", "allocated", "peak" };

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(names[i], text) == 0) {
			w->by = (enum profile_by)i;
			return;
		}
	argp_error(state, "--by wants live, peak or allocated, not '%s'", text);
}

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;
	char *end;

	switch (key) {
	case KEY_TOP:
		w->top = (unsigned)strtoul(arg, &end, 10);
		if (*end || end == arg || *arg == '-')
			argp_error(state, "--top wants a number, not '%s'", arg);
		return 0;
	case KEY_FORMAT:
		w->write = profile_format(arg);
		if (!w->write)
			argp_error(state, "--format wants text, folded, json, pprof or svg, not '%s'", arg);
		return 0;
	case KEY_BY:
		set_by(w, arg, state);
		return 0;
	case KEY_DIFF:
		w->diff = true;
		return 0;
	case 'o':
		w->file = arg;
		return 0;
	case KEY_SINCE:
		w->since_ns = strtoull(arg, NULL, 10);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "profile",
	.options = options,
	.option = option,
	.least = 1,
	.most = 2,
	.missing = "GROUP is missing: a path such as /demo, or / for the root",
	.more = "The group's programs must have been started with 'memctl run --profile' (or with "
		"MEMCTL_PROFILE set). "
		"Those that have ended are shown as they were last, also when they were killed.",
};

struct member {
	uint32_t pid;
	char *group;
};

struct members {
	struct member *member;
	size_t n, room;
};

static int add_member(const struct memctl_member *m, void *arg)
{
	struct members *all = arg;

	if (all->n == all->room) {
		size_t room = 2 * all->room + 64;
		struct member *more = realloc(all->member, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		all->member = more;
		all->room = room;
	}
	all->member[all->n].pid = (uint32_t)m->pid;
	all->member[all->n].group = strdup(m->group);
	all->n++;
	return 0;
}

static const char *where(uint32_t pid, void *arg)
{
	const struct members *all = arg;

	for (size_t i = 0; i < all->n; i++)
		if (all->member[i].pid == pid)
			return all->member[i].group;
	return NULL;
}

static void free_members(struct members *all)
{
	for (size_t i = 0; i < all->n; i++)
		free(all->member[i].group);
	free(all->member);
}

/* A file, or the group of that name. */
static struct profile *read_one(struct memctl *m, const char *name, uint64_t since_ns)
{
	struct members members = { 0 };
	struct profile_wish wish = {
		.dir = memctl_dir(m), .group = name, .since_ns = since_ns, .where = where, .arg = &members
	};
	struct profile *p;
	struct stat st;

	if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
		return profile_read_json("profile", name);
	if (*name != '/') {
		(void)say_failed("profile", "%s is neither a file nor a group's path", name);
		return NULL;
	}
	(void)memctl_members(m, "/", 0, add_member, &members); /* else as the pictures say */
	p = profile_read("profile", &wish);
	free_members(&members);
	return p;
}

static struct profile *read_asked(const struct wish *w, struct memctl *m, char **word, enum profile_by *by)
{
	struct profile *a = read_one(m, word[0], w->since_ns);
	struct profile *b = a && w->diff ? read_one(m, word[1], 0) : NULL;
	struct profile *p = a;

	if (a)
		*by = profile_resolve(w->diff && b ? b : a, w->by);
	if (!a || !w->diff)
		return a;
	p = b ? profile_subtract(a, b, *by) : NULL;
	profile_free(a);
	if (b)
		profile_free(b);
	return p;
}

static unsigned width_of(FILE *to)
{
	struct winsize size;

	return isatty(fileno(to)) && ioctl(fileno(to), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static int write_to(const struct wish *w, struct profile *p, enum profile_by by, FILE *to)
{
	struct profile_look look = {
		.by = by, .top = w->top, .width = width_of(to), .colour = to == stdout && output_has_colour()
	};
	profile_write_fn write = w->write ? w->write : w->file ? profile_format_of_file(w->file) : profile_write_text;

	profile_sort(p, by);
	if (write == profile_write_pprof && isatty(fileno(to)))
		return say_failed("profile", "pprof's format is not for terminals; give -o FILE");
	write(p, &look, to);
	return 0;
}

static int write_file(const struct wish *w, struct profile *p, enum profile_by by)
{
	FILE *to = fopen(w->file, "we");
	int err;

	if (!to)
		return say_failed("profile", "cannot write %s: %s", w->file, strerror(errno));
	err = write_to(w, p, by, to);
	if (fclose(to) && !err)
		err = say_failed("profile", "cannot write %s: %s", w->file, strerror(errno));
	return err;
}

int cmd_profile(int argc, char **argv)
{
	struct wish w = { .top = 10, .by = PROFILE_BY_AUTO };
	struct command_words words;
	enum profile_by by = PROFILE_BY_LIVE;
	struct profile *p;
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, &w, &words);
	if (words.count != (w.diff ? 2 : 1)) {
		(void)say_failed("profile", w.diff ? "--diff wants two: what was before, and what is now"
						   : "one GROUP at a time; --diff compares two");
		return SAY_USAGE;
	}
	m = command_open("profile");
	if (!m)
		return SAY_FAILED;
	p = read_asked(&w, m, words.word, &by);
	memctl_close(m);
	if (!p)
		return SAY_FAILED;
	if (!symbols_are_possible())
		say_note("profile", "this memctl was built without libdw: functions have no names");
	err = w.file ? write_file(&w, p, by) : write_to(&w, p, by, stdout);
	profile_free(p);
	return err ? err : output_finish("profile");
}
