/* SPDX-License-Identifier: MIT */
/* memctl top: groups and members at work, full-screen. */
#include "memctl/command.h"
#include "memctl/top_screen.h"

#include <ctype.h>
#include <curses.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEY_ESCAPE 27

struct wish {
	double delay;
	unsigned long count; /* looks; 0: until q */
	bool is_flat, has_members;
};

static const struct argp_option options[] = {
	{ "delay", 'd', "SECONDS", 0, "Time between two looks (default 1)", 0 },
	{ "count", 'n', "N", 0, "End after N looks", 0 },
	{ "flat", 'l', NULL, 0, "A list in place of a tree", 0 },
	{ "members", 'm', NULL, 0, "Show members below their groups", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;
	char *end;

	switch (key) {
	case 'd':
		w->delay = strtod(arg, &end);
		if (end == arg || *end || !(w->delay >= 0.1 && w->delay <= 3600))
			argp_error(state, "'%s' is no delay: seconds from 0.1 to 3600", arg);
		return 0;
	case 'n':
		w->count = strtoul(arg, &end, 10);
		if (!isdigit((unsigned char)*arg) || *end || !w->count)
			argp_error(state, "'%s' is no count", arg);
		return 0;
	case 'l':
		w->is_flat = true;
		return 0;
	case 'm':
		w->has_members = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "top",
	.options = options,
	.option = option,
	.more = "Keys: 'h' shows them. NO_COLOR switches colours off.",
};

/* What is under way; the screen has the rest. */
struct session {
	struct top top;
	struct top_screen screen;
	struct memctl *m; /* starts no daemon */
	uint64_t next_ns;
	char note[256];
	char search[64];
	void (*answered)(struct session *s); /* Enter at the prompt */
	void (*changed)(struct session *s);  /* any other key at it; NULL */
	char path[GROUP_PATH_MAX];	     /* of the group that the prompt is about */
	char prompt[GROUP_PATH_MAX + 64];
	char wanted[128]; /* what a confirmation is about */
	int pid;
	bool is_lost; /* the daemon has gone */
	bool is_over;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(struct session *s, bool is_bad, const char *text)
{
	(void)snprintf(s->note, sizeof(s->note), "%s", text);
	s->screen.note = s->note;
	s->screen.note_is_bad = is_bad;
}

/* ---- looking --------------------------------------------------------------------------------------------- */

static void look(struct session *s)
{
	int err = top_read(&s->top, s->m);

	if (err) {
		note(s, true, "no daemon runs here now; what is shown is what was; waiting for one");
		s->is_lost = true;
		return;
	}
	if (s->is_lost)
		s->screen.note = NULL;
	s->is_lost = false;
	top_arrange(&s->top);
}

/* ---- moving ---------------------------------------------------------------------------------------------- */

static void go_to(struct session *s, int line)
{
	struct top_screen *c = &s->screen;
	struct top *t = &s->top;

	if (!t->lines)
		return;
	c->at = line < 0 ? 0 : line >= (int)t->lines ? (int)t->lines - 1 : line;
	c->slot = t->group[t->line[c->at].group].slot;
	c->generation = t->group[t->line[c->at].group].generation;
	c->member = t->line[c->at].member;
}

static struct top_group *chosen(struct session *s)
{
	return s->top.lines ? &s->top.group[s->top.line[s->screen.at].group] : NULL;
}

static void fold(struct session *s, int how) /* 1 fold, 0 unfold, -1 the other */
{
	struct top_group *g = chosen(s);

	if (!g || s->top.is_flat)
		return;
	if (how == 1 && (g->is_folded || !g->first) && s->screen.member < 0) { /* one up, as in file managers */
		int up = top_find_line(&s->top, s->top.group[g->parent].slot, s->top.group[g->parent].generation);

		go_to(s, up);
		return;
	}
	s->screen.member = -1;
	top_fold(&s->top, s->top.line[s->screen.at].group, how < 0 ? !g->is_folded : how == 1);
	top_arrange(&s->top);
}

static void sort_by(struct session *s, enum top_sort sort)
{
	s->top.sort = sort;
	top_arrange(&s->top);
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

static void ask(struct session *s, const char *answer, void (*answered)(struct session *s),
		void (*changed)(struct session *s))
{
	s->screen.note = NULL;
	s->screen.prompt = s->prompt;
	(void)snprintf(s->screen.answer, sizeof(s->screen.answer), "%s", answer);
	s->answered = answered;
	s->changed = changed;
}

static void end_prompt(struct session *s)
{
	s->screen.prompt = NULL;
}

static void on_search(struct session *s)
{
	char path[GROUP_PATH_MAX];

	if (s->screen.prompt)
		(void)snprintf(s->search, sizeof(s->search), "%.60s", s->screen.answer);
	for (int i = 0; i < (int)s->top.lines && *s->search; i++) {
		int line = (s->screen.at + i + (s->answered ? 0 : 1)) % (int)s->top.lines;

		if (s->top.line[line].member < 0 &&
		    strcasestr(top_path(&s->top, s->top.line[line].group, path), s->search)) {
			go_to(s, line);
			return;
		}
	}
	if (*s->search && !s->screen.prompt)
		note(s, true, "not found");
}

static void on_filter(struct session *s)
{
	(void)snprintf(s->top.filter, sizeof(s->top.filter), "%.60s", s->screen.answer);
	top_arrange(&s->top);
}

static void say_result(struct session *s, int err, const char *done)
{
	note(s, err < 0, err < 0 ? memctl_error() : done);
	s->next_ns = 0; /* look at what it did */
}

static void on_set(struct session *s)
{
	const char *const settings[] = { s->screen.answer, NULL };
	char done[256];

	(void)snprintf(done, sizeof(done), "%.120s: %s", s->path, s->screen.answer);
	say_result(s, memctl_set(s->m, s->path, settings), done);
}

static bool is_yes(const struct session *s)
{
	return s->screen.answer[0] == 'y' || s->screen.answer[0] == 'Y';
}

static void on_reclaim_sure(struct session *s)
{
	char done[256], size[24];
	uint64_t bytes = 0;
	struct output o = { .sizes = OUTPUT_SIZES_HUMAN };
	int err;

	if (!is_yes(s)) {
		note(s, false, "nothing was done");
		return;
	}
	note(s, false, "waiting for members to give memory back...");
	s->screen.prompt = NULL;
	top_screen_draw(&s->screen);
	err = memctl_reclaim(s->m, s->path, s->wanted, &bytes);
	(void)snprintf(done, sizeof(done), "%.120s gave %s back", s->path, output_size(&o, bytes, size));
	say_result(s, err, done);
}

static void on_reclaim(struct session *s)
{
	(void)snprintf(s->wanted, sizeof(s->wanted), "%s", s->screen.answer);
	(void)snprintf(s->prompt, sizeof(s->prompt), "Take %.20s from %s? (y/n)", s->wanted, s->path);
	ask(s, "", on_reclaim_sure, NULL);
}

/* A member is signalled by its number; a group by the daemon. */
static void on_kill_sure(struct session *s)
{
	char done[256];
	int signal = atoi(s->wanted), n;

	if (!is_yes(s)) {
		note(s, false, "nothing was done");
		return;
	}
	if (s->pid) {
		(void)snprintf(done, sizeof(done), "%.120s: %s", s->path,
			       kill(s->pid, signal) ? strerror(errno) : "the signal was sent");
		note(s, false, done);
		s->next_ns = 0;
		return;
	}
	n = memctl_kill(s->m, s->path, signal);
	(void)snprintf(done, sizeof(done), "%d member%s of %.120s got SIG%s", n, n == 1 ? "" : "s", s->path,
		       sigabbrev_np(signal) ? sigabbrev_np(signal) : "?");
	say_result(s, n, done);
}

static int find_signal(const char *text)
{
	if (isdigit((unsigned char)*text))
		return atoi(text) > 0 && atoi(text) <= SIGRTMAX ? atoi(text) : 0;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i < NSIG; i++)
		if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), text) == 0)
			return i;
	return 0;
}

static void on_kill(struct session *s)
{
	int signal = find_signal(s->screen.answer);
	const struct top_group *g = chosen(s);

	if (!signal || !g) {
		note(s, true, "there is no such signal");
		return;
	}
	(void)snprintf(s->wanted, sizeof(s->wanted), "%d", signal);
	if (s->pid)
		(void)snprintf(s->prompt, sizeof(s->prompt), "Send SIG%s to %s? (y/n)", sigabbrev_np(signal), s->path);
	else
		(void)snprintf(s->prompt, sizeof(s->prompt), "Send SIG%s to %u member%s of %s? (y/n)",
			       sigabbrev_np(signal), g->members, g->members == 1 ? "" : "s", s->path);
	ask(s, "", on_kill_sure, NULL);
}

/* Begins a question about what is under the bar. */
static void ask_about(struct session *s, const char *question, const char *answer, void (*answered)(struct session *s))
{
	if (!chosen(s))
		return;
	s->pid = 0;
	(void)top_path(&s->top, s->top.line[s->screen.at].group, s->path);
	(void)snprintf(s->prompt, sizeof(s->prompt), "%s %s:", question, s->path);
	ask(s, answer, answered, NULL);
}

static void ask_kill(struct session *s)
{
	const struct top_member *m = top_screen_member(&s->screen);

	ask_about(s, "Signal for", "TERM", on_kill);
	if (!m)
		return;
	s->pid = m->pid;
	(void)snprintf(s->path, sizeof(s->path), "process %d (%s)", m->pid, m->comm);
	(void)snprintf(s->prompt, sizeof(s->prompt), "Signal for %s:", s->path);
}

static void type(struct session *s, int key)
{
	char *text = s->screen.answer;
	size_t n = strlen(text);
	void (*then)(struct session *) = s->answered;

	if (key == KEY_ESCAPE) {
		if (s->answered == on_filter) {
			*text = 0;
			on_filter(s);
		}
		end_prompt(s);
	} else if (key == '\r' || key == '\n' || key == KEY_ENTER) {
		end_prompt(s);
		if (*text || then == on_filter)
			then(s);
	} else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && n) {
		text[n - 1] = 0;
	} else if (key == 21) { /* Ctrl-U */
		*text = 0;
	} else if (key >= ' ' && key < 127 && n + 1 < sizeof(s->screen.answer)) {
		text[n] = (char)key;
		text[n + 1] = 0;
		if (then == on_reclaim_sure || then == on_kill_sure) { /* one key is the answer */
			end_prompt(s);
			then(s);
		}
	}
	if (s->screen.prompt && s->changed)
		s->changed(s);
}

/* ---- keys ------------------------------------------------------------------------------------------------ */

static void press_word(struct session *s, int key)
{
	struct top *t = &s->top;

	switch (key) {
	case 'm':
		t->has_members = !t->has_members;
		top_arrange(t);
		break;
	case 't':
		t->is_flat = !t->is_flat;
		top_arrange(t);
		break;
	case 'I':
		t->is_inverse = !t->is_inverse;
		top_arrange(t);
		break;
	case 'o':
		sort_by(s, (t->sort + 1) % TOP_SORTS);
		break;
	case '/':
		(void)strcpy(s->prompt, "Search:");
		ask(s, "", on_search, on_search);
		break;
	case 'n':
		s->answered = NULL;
		on_search(s);
		break;
	case 'f':
		(void)strcpy(s->prompt, "Show only:");
		ask(s, t->filter, on_filter, on_filter);
		break;
	case 's':
		ask_about(s, "Set of", "memory.max=", on_set);
		break;
	case 'r':
		ask_about(s, "Size to take from", "max", on_reclaim);
		break;
	case 'k':
		ask_kill(s);
		break;
	case 'z':
		s->screen.is_paused = !s->screen.is_paused;
		break;
	default:
		break;
	}
}

static bool press_sort(struct session *s, int key)
{
	static const char keys[] = "NMRPSU";
	static const enum top_sort sorts[] = { TOP_BY_NAME,    TOP_BY_CURRENT,	TOP_BY_RATE,
					       TOP_BY_MEMBERS, TOP_BY_PRESSURE, TOP_BY_SHARE };
	const char *at = key > 0 && key < 127 ? strchr(keys, key) : NULL;

	if (at && *at)
		sort_by(s, sorts[at - keys]);
	return at && *at;
}

static bool press_move(struct session *s, int key)
{
	struct top_screen *c = &s->screen;
	int page = top_screen_room();
	int by = key == KEY_UP	    ? -1
		 : key == KEY_DOWN  ? 1
		 : key == KEY_PPAGE ? -page
		 : key == KEY_NPAGE ? page
		 : key == KEY_HOME  ? -(1 << 28)
		 : key == KEY_END   ? 1 << 28
				    : 0;

	if (by && c->has_details)
		c->details_first = c->details_first + by > 0 ? c->details_first + by : 0;
	else if (by)
		go_to(s, c->at + by);
	return by != 0;
}

static void press(struct session *s, int key)
{
	struct top_screen *c = &s->screen;

	if (c->prompt) {
		type(s, key);
		return;
	}
	if (!s->is_lost)
		c->note = NULL;
	if (key == 'q' && !c->has_help && !c->has_details) {
		s->is_over = true;
	} else if (c->has_help || key == 'h' || key == '?' || key == KEY_F(1)) {
		c->has_help = !c->has_help;
	} else if (key == 'i' || key == '\r' || key == KEY_ENTER ||
		   (c->has_details && (key == 'q' || key == KEY_ESCAPE))) {
		c->has_details = !c->has_details;
		c->details_first = 0;
	} else if (!press_move(s, key) && !c->has_details && !press_sort(s, key)) {
		if (key == KEY_LEFT || key == '-')
			fold(s, 1);
		else if (key == KEY_RIGHT || key == '+')
			fold(s, 0);
		else if (key == ' ')
			fold(s, -1);
		else
			press_word(s, key);
	}
}

static void wait_for_key(struct session *s)
{
	uint64_t now = now_ns();
	int key;

	timeout(s->next_ns > now ? (int)((s->next_ns - now) / 1000000) + 1 : 0);
	key = getch();
	while (key != ERR) { /* all that have been typed, then one picture */
		if (key != KEY_RESIZE)
			press(s, key);
		timeout(0);
		key = s->is_over ? ERR : getch();
	}
}

static void run(struct session *s, const struct wish *w)
{
	unsigned long looks = 0;

	while (!s->is_over) {
		if (now_ns() >= s->next_ns) {
			if (w->count && looks++ == w->count)
				break;
			if (!s->screen.is_paused)
				look(s);
			s->next_ns = now_ns() + (uint64_t)(w->delay * 1e9);
		}
		top_screen_draw(&s->screen);
		wait_for_key(s);
	}
}

static int start(struct session *s, const struct wish *w)
{
	int err = top_open(&s->top);

	if (!err)
		err = memctl_open(NULL, MEMCTL_NO_START, &s->m);
	if (!err)
		err = top_read(&s->top, s->m);
	s->top.is_flat = w->is_flat;
	s->top.has_members = w->has_members;
	s->screen.top = &s->top;
	s->screen.memctl = s->m;
	s->screen.member = -1;
	return err;
}

int cmd_top(int argc, char **argv)
{
	struct wish wish = { .delay = 1 };
	static struct session s;
	struct command_words w;
	struct memctl *m;
	int err;

	command_parse(&usage, argc, argv, &wish, &w);
	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return say_failed("top", "this is no terminal: 'memctl tree' and 'memctl ps' print once");
	m = command_open("top");
	if (!m)
		return SAY_FAILED;
	err = start(&s, &wish);
	memctl_close(m);
	if (!err)
		err = top_screen_open(output_has_colour());
	if (err)
		return say_error("top", err);
	run(&s, &wish);
	top_screen_close();
	top_screen_free(&s.screen);
	top_close(&s.top);
	memctl_close(s.m);
	return 0;
}
