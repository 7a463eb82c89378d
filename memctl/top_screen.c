/* SPDX-License-Identifier: MIT */
/* How top looks. Whatever a colour says is said by a letter or an attribute too. */
#include "memctl/top_screen.h"

#include "memctl/error.h"
#include "memctl/output.h"

#include <curses.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEAD 4 /* lines above the titles */
#define WIDTH_MIN 40
#define HEIGHT_MIN 8

enum { PAIR_GOOD = 1, PAIR_NEAR, PAIR_FULL, PAIR_QUIET, PAIR_NAME, PAIR_CLASS };

static bool has_pairs;

int top_screen_open(bool has_colour)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	const char *cup = screen ? tigetstr("cup") : NULL;

	if (!cup || cup == (char *)-1) {
		if (screen)
			(void)endwin();
		return error_set(-ENOTTY,
				 "this terminal (TERM=%s) cannot show a full screen; 'memctl tree' "
				 "needs none",
				 getenv("TERM") ? getenv("TERM") : "");
	}
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)keypad(stdscr, TRUE);
	(void)set_escdelay(25);
	(void)curs_set(0);
	has_pairs = has_colour && has_colors() && start_color() == OK;
	if (has_pairs) {
		(void)use_default_colors();
		(void)init_pair(PAIR_GOOD, COLOR_GREEN, -1);
		(void)init_pair(PAIR_NEAR, COLOR_YELLOW, -1);
		(void)init_pair(PAIR_FULL, COLOR_RED, -1);
		(void)init_pair(PAIR_QUIET, COLOR_CYAN, -1);
		(void)init_pair(PAIR_NAME, COLOR_BLUE, -1);
		for (short i = 0; i < 6; i++)
			(void)init_pair((short)(PAIR_CLASS + i),
					(const short[]){ COLOR_BLUE, COLOR_GREEN, COLOR_MAGENTA, COLOR_YELLOW,
							 COLOR_RED, COLOR_CYAN }[i],
					-1);
	}
	return 0;
}

void top_screen_close(void)
{
	(void)endwin();
}

int top_screen_room(void)
{
	return LINES - HEAD - 2;
}

static int pair(int n)
{
	return has_pairs ? COLOR_PAIR(n) : 0;
}

/* ---- numbers --------------------------------------------------------------------------------------------- */

#define SHORT_BUF 16

/* At most six places: "64.0M", "1023K", "max". */
static char *size_short(uint64_t bytes, char buf[SHORT_BUF])
{
	static const char unit[] = "BKMGTPE";
	double n = (double)bytes;
	unsigned u = 0;

	if (bytes >= CENSUS_UNKNOWN)
		return strcpy(buf, bytes == CENSUS_MAX ? "max" : "?");
	while (n >= 1000 && u < 6) {
		n /= 1024;
		u++;
	}
	(void)snprintf(buf, SHORT_BUF, n < 99.95 && u ? "%.1f%c" : "%.0f%c", n, unit[u]);
	return buf;
}

static char *rate_short(int64_t rate, char buf[SHORT_BUF])
{
	char size[SHORT_BUF];

	if (rate > -512 && rate < 512)
		return strcpy(buf, "-");
	(void)snprintf(buf, SHORT_BUF, "%c%s/s", rate < 0 ? '-' : '+',
		       size_short((uint64_t)(rate < 0 ? -rate : rate), size));
	return buf;
}

static char *percent_short(uint32_t hundredths, char buf[SHORT_BUF])
{
	if (!hundredths)
		return strcpy(buf, "-");
	(void)snprintf(buf, SHORT_BUF, hundredths >= 1000 ? "%.0f%%" : "%.1f%%", hundredths / 100.0);
	return buf;
}

/* ---- the bars -------------------------------------------------------------------------------------------- */

static int pair_of_share(unsigned share)
{
	return share >= 937 ? PAIR_FULL : share >= 750 ? PAIR_NEAR : PAIR_GOOD;
}

/* "[|||||||   !  ]": what is used of the limit; '!' where memory.high lies, '#' above 15/16.
 * Without a limit it is drawn against `whole`, with dots. */
static void draw_bar(int y, int x, int width, const struct top_group *g, uint64_t whole)
{
	bool has_limit = g->limit != CENSUS_MAX;
	uint64_t end = g->max != CENSUS_MAX ? g->max : has_limit ? g->limit : whole;
	unsigned share = top_share(g);
	int inside = width - 2;
	int full = end ? (int)((double)g->current / (double)end * inside + 0.5) : g->current ? inside : 0;
	int mark = g->high != CENSUS_MAX && end > g->high ? (int)((double)g->high / (double)end * inside) : -1;

	if (!full && g->current >> 20) /* something is there */
		full = 1;

	(void)mvaddch(y, x, '[');
	for (int i = 0; i < inside; i++) {
		char c = i < full ? has_limit ? share >= 937 ? '#' : '|' : ':' : ' ';

		if (i == mark)
			(void)mvaddch(y, x + 1 + i, '!' | A_BOLD);
		else
			(void)mvaddch(y, x + 1 + i,
				      (chtype)c | (chtype)(has_limit ? pair(pair_of_share(share)) : pair(PAIR_QUIET)));
	}
	(void)addch(']');
}

static const struct {
	const char *name;
	char letter;
} classes[] = { { "heap", 'h' },  { "anon", 'a' },   { "shmem", 's' },
		{ "stack", 't' }, { "pinned", 'p' }, { "observed", 'o' } };

#define CLASS_COUNT (sizeof(classes) / sizeof(classes[0]))

/* "heap 12.0M anon 3.1M [hhhhhhhhaa]": what the group's memory is. */
static void draw_classes(const struct top *t, const struct top_group *g, int y)
{
	const struct census_row *row = census_at(&t->census, g->row);
	uint64_t value[CLASS_COUNT], sum = 0, told = 0;
	int inside = COLS / 3 - 2, x = COLS - COLS / 3, used = 0;
	char size[SHORT_BUF];

	(void)move(y, 0);
	for (size_t i = 0; i < CLASS_COUNT; i++) {
		value[i] = census_value(row, census_find(&t->census, "memory.stat", classes[i].name));
		value[i] = value[i] == CENSUS_UNKNOWN ? 0 : value[i];
		sum += value[i];
		if (value[i] && getcurx(stdscr) + 16 < x)
			(void)printw("%s %s  ", classes[i].name, size_short(value[i], size));
	}
	if (!sum) {
		(void)printw("nothing is held");
		return;
	}
	(void)mvaddch(y, x, '[');
	for (size_t i = 0; i < CLASS_COUNT; i++) {
		told += value[i];
		for (; used < (int)((double)told / (double)sum * inside + 0.5); used++)
			(void)addch((chtype)classes[i].letter | (chtype)pair(PAIR_CLASS + (int)i));
	}
	(void)addch(']');
}

/* ---- the head -------------------------------------------------------------------------------------------- */

static void draw_title(const struct top_screen *s)
{
	const struct top *t = s->top;
	time_t now = time(NULL);
	struct tm day;
	char clock[16];

	(void)localtime_r(&now, &day);
	(void)strftime(clock, sizeof(clock), "%H:%M:%S", &day);
	(void)attron(A_BOLD);
	(void)mvprintw(0, 0, "memctl top");
	(void)attroff(A_BOLD);
	(void)printw("  %u group%s  %u member%s%s", t->groups, t->groups == 1 ? "" : "s",
		     t->groups ? t->group[0].members : 0, t->groups && t->group[0].members == 1 ? "" : "s",
		     s->is_paused ? "  PAUSED" : "");
	if (*t->filter)
		(void)printw("  filter: %.20s", t->filter);
	(void)mvprintw(0, COLS - (int)strlen(clock), "%s", clock);
}

#define REGION_SHOWN 17 /* "cuda/GPU-fafbfcfd": the rest of a name is the same for all, or more digits */

/* "cuda/GPU-fafbfcfd 1.2G of 8.0G", at the right of what is there already: as many regions as fit. */
static void draw_regions(const struct top *t, const struct top_group *g, int y, int left)
{
	const struct census_row *row = census_at(&t->census, g->row);
	char line[256] = "", one[80], a[SHORT_BUF], b[SHORT_BUF];

	for (uint32_t i = 0; i < t->census.columns; i++) {
		const struct census_column *c = &t->census.census->column[i];
		uint64_t limit = census_value(row, census_find_region(&t->census, "dmem.max", c->region));

		if (strcmp(c->key, "dmem.current") != 0)
			continue;
		if (limit == CENSUS_MAX)
			limit = census_value(row, census_find_region(&t->census, "dmem.capacity", c->region));
		(void)snprintf(one, sizeof(one), "  %.*s %s of %s", REGION_SHOWN, c->region,
			       size_short(row->value[i], a), size_short(limit, b));
		if (left + (int)(strlen(line) + strlen(one)) >= COLS || strlen(line) + strlen(one) >= sizeof(line))
			break;
		(void)strcat(line, one);
	}
	(void)mvprintw(y, COLS - (int)strlen(line), "%s", line);
}

static void draw_head(const struct top_screen *s)
{
	const struct top *t = s->top;
	const struct top_group *root = &t->group[0];
	const struct top_group *chosen;
	char path[GROUP_PATH_MAX], a[SHORT_BUF], b[SHORT_BUF];
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	int label = 18;

	draw_title(s);
	if (!t->lines)
		return;
	(void)mvprintw(1, 0, "/ %s of %s", size_short(root->current, a),
		       size_short(root->limit != CENSUS_MAX ? root->limit : machine, b));
	draw_bar(1, label, COLS - label > 62 ? 62 : COLS - label, root, machine);
	if (COLS - label > 62 + 12)
		(void)mvprintw(1, label + 64, "rate %s", rate_short(root->rate, a));
	chosen = &t->group[t->line[s->at].group];
	(void)attron(A_BOLD);
	(void)mvprintw(2, 0, "%.*s", COLS - 1, top_path(t, t->line[s->at].group, path));
	(void)attroff(A_BOLD);
	draw_regions(t, chosen, 2, getcurx(stdscr));
	draw_classes(t, chosen, 3);
}

/* ---- the lines ------------------------------------------------------------------------------------------- */

/* From the right; what does not fit is left out, the last first. */
struct layout {
	int name, bar, current, limit, rate, pressure, members, peak, hits; /* widths; 0: not shown */
};

static struct layout lay_out(void)
{
	struct layout l = { .current = 7, .limit = 7, .pressure = 7, .members = 5, .rate = 10, .bar = 16 };

	if (COLS < 76)
		l.rate = 0;
	if (COLS < 60)
		l.bar = l.members = 0;
	if (COLS >= 100)
		l.hits = 8;
	if (COLS >= 120)
		l.bar = 30;
	if (COLS >= 160)
		l.bar = 50;
	l.name = COLS - l.bar - l.current - l.limit - l.rate - l.pressure - l.members - l.hits - 1;
	return l;
}

static void draw_titled(const char *title, int y, int *x, int width, bool right, enum top_sort sort,
			const struct top_screen *s)
{
	bool is_sorted = s->top->sort == sort;

	if (!width)
		return;
	(void)attron(is_sorted ? A_BOLD | A_UNDERLINE : 0);
	(void)mvprintw(y, right ? *x + width - (int)strlen(title) : *x, "%.*s", width, title);
	(void)attrset(A_REVERSE);
	*x += width;
}

static void draw_titles(const struct top_screen *s, const struct layout *l, int y)
{
	int x = l->name;

	(void)attrset(A_REVERSE);
	(void)mvhline(y, 0, ' ', COLS);
	(void)attron(s->top->sort == TOP_BY_NAME ? A_BOLD | A_UNDERLINE : 0);
	(void)mvprintw(y, 0, "GROUP");
	(void)attrset(A_REVERSE);
	draw_titled("HELD", y, &x, l->current, true, TOP_BY_CURRENT, s);
	draw_titled("LIMIT", y, &x, l->limit, true, TOP_SORTS, s);
	x += 1;
	draw_titled(" USED", y, &x, l->bar, false, TOP_BY_SHARE, s);
	draw_titled("RATE", y, &x, l->rate, true, TOP_BY_RATE, s);
	draw_titled("STALL", y, &x, l->pressure, true, TOP_BY_PRESSURE, s);
	draw_titled("MEM", y, &x, l->members, true, TOP_BY_MEMBERS, s);
	draw_titled("REFUSED", y, &x, l->hits, true, TOP_SORTS, s);
	(void)attrset(A_NORMAL);
}

/* "   `- name": depth by indents, the last of siblings by its corner; '+': folded. */
static void draw_name(const struct top *t, const struct top_line *line, int y, int width)
{
	const struct top_group *g = &t->group[line->group];
	char text[GROUP_PATH_MAX + 64];
	int n = 0;

	if (t->is_flat) {
		(void)top_path(t, line->group, text);
	} else {
		for (uint32_t d = 1; d < g->depth; d++)
			n += sprintf(text + n, line->open & 1u << d ? "| " : "  ");
		(void)snprintf(text + n, sizeof(text) - (size_t)n, "%s%s",
			       !g->depth		  ? ""
			       : g->first && g->is_folded ? "+ "
			       : line->is_last		  ? "`-"
							  : "|-",
			       g->depth ? g->name : "/");
	}
	n = (int)strlen(text);
	if (n < width) {
		(void)mvprintw(y, 0, "%s", text);
	} else { /* the end of a name tells more */
		(void)mvprintw(y, 0, "%.*s~%s", width / 2 - 2, text, text + n - (width - width / 2 - 1));
	}
}

static void draw_group(const struct top_screen *s, const struct layout *l, const struct top_line *line, int y)
{
	const struct top *t = s->top;
	const struct top_group *g = &t->group[line->group];
	char buf[SHORT_BUF];
	int x = l->name;

	draw_name(t, line, y, l->name);
	(void)mvprintw(y, x, "%*s", l->current, size_short(g->current, buf));
	x += l->current;
	(void)mvprintw(y, x, "%*s", l->limit, g->limit == CENSUS_MAX ? "-" : size_short(g->limit, buf));
	x += l->limit + 1;
	if (l->bar)
		draw_bar(y, x, l->bar, g, t->group[0].current);
	x += l->bar;
	if (l->rate)
		(void)mvprintw(y, x, "%*s", l->rate, rate_short(g->rate, buf));
	x += l->rate;
	if (g->pressure)
		(void)attron(pair(g->pressure >= 1000 ? PAIR_FULL : PAIR_NEAR) | A_BOLD);
	(void)mvprintw(y, x, "%*s", l->pressure, percent_short(g->pressure, buf));
	(void)attroff(pair(PAIR_FULL) | pair(PAIR_NEAR) | A_BOLD);
	x += l->pressure;
	if (l->members)
		(void)mvprintw(y, x, "%*u", l->members, g->members);
	x += l->members;
	if (l->hits)
		(void)mvprintw(y, x, "%*llu", l->hits, (unsigned long long)g->hits);
	if (g->hits_new) /* it has met its limit in this second */
		(void)mvaddch(y, COLS - 1, '*' | A_BOLD | (chtype)pair(PAIR_FULL));
}

/* ---- members --------------------------------------------------------------------------------------------- */

static int keep(const struct memctl_member *member, void *arg)
{
	struct top_members *m = arg;
	struct top_member *to;

	if (m->n == m->room) {
		uint32_t room = m->room ? 2 * m->room : 16;
		struct top_member *more = reallocarray(m->member, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->member = more;
		m->room = room;
	}
	to = &m->member[m->n++];
	*to = (struct top_member){ .pid = member->pid, .held = member->held, .refused = member->refused };
	(void)snprintf(to->comm, sizeof(to->comm), "%s", member->comm);
	(void)snprintf(to->state, sizeof(to->state), "%s", member->state);
	(void)snprintf(to->flags, sizeof(to->flags), "%s", member->flags);
	return 0;
}

static int by_held(const void *p, const void *q)
{
	const struct top_member *a = p, *b = q;

	return a->held > b->held ? -1 : a->held < b->held ? 1 : a->pid - b->pid;
}

/* Those of one group; asked for once a census, and only when they are seen. */
static const struct top_members *members_of(struct top_screen *s, const struct top_group *g, uint32_t index)
{
	struct top_members *m = NULL;
	char path[GROUP_PATH_MAX];

	for (uint32_t i = 0; i < s->seen_count && !m; i++)
		if (s->seen[i].slot == g->slot && s->seen[i].generation == g->generation)
			m = &s->seen[i];
	if (!m) {
		if (s->seen_count == s->seen_room) {
			uint32_t room = s->seen_room ? 2 * s->seen_room : 16;
			struct top_members *more = reallocarray(s->seen, room, sizeof(*more));

			if (!more)
				return NULL;
			s->seen = more;
			s->seen_room = room;
		}
		m = &s->seen[s->seen_count++];
		*m = (struct top_members){ .slot = g->slot, .generation = g->generation };
	}
	if (m->seen_ns != s->top->seen_ns) {
		m->n = 0;
		m->seen_ns = s->top->seen_ns;
		(void)memctl_members(s->memctl, top_path(s->top, index, path), MEMCTL_LOCAL, keep, m);
		if (m->n)
			qsort(m->member, m->n, sizeof(*m->member), by_held);
	}
	return m;
}

static const struct top_member *member_at(struct top_screen *s, const struct top_line *line)
{
	const struct top_members *m = members_of(s, &s->top->group[line->group], line->group);

	return m && (uint32_t)line->member < m->n ? &m->member[line->member] : NULL;
}

const struct top_member *top_screen_member(struct top_screen *s)
{
	const struct top_line *line = s->top->lines ? &s->top->line[s->at] : NULL;

	return line && line->member >= 0 ? member_at(s, line) : NULL;
}

static void draw_member(struct top_screen *s, const struct layout *l, const struct top_line *line, int y)
{
	const struct top_member *m = member_at(s, line);
	unsigned indent = s->top->is_flat ? 2 : 2 * s->top->group[line->group].depth + 1;
	char buf[SHORT_BUF];

	if (!m)
		return;
	(void)attron(pair(PAIR_QUIET));
	(void)mvprintw(y, (int)indent, "%d %.*s", m->pid, l->name > (int)indent + 9 ? l->name - (int)indent - 9 : 0,
		       m->comm);
	(void)mvprintw(y, l->name, "%*s", l->current, size_short(m->held, buf));
	if (l->bar)
		(void)mvprintw(y, l->name + l->current + l->limit + 2, "%s%s%s",
			       strcmp(m->state, "live") == 0 ? "" : m->state, *m->flags ? " " : "", m->flags);
	if (l->hits)
		(void)mvprintw(y, COLS - 1 - l->hits, "%*llu", l->hits, (unsigned long long)m->refused);
	(void)attroff(pair(PAIR_QUIET));
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static void draw_lines(struct top_screen *s)
{
	struct layout l = lay_out();

	draw_titles(s, &l, HEAD);
	for (int i = 0; i < top_screen_room() && s->first + i < (int)s->top->lines; i++) {
		const struct top_line *line = &s->top->line[s->first + i];
		int y = HEAD + 1 + i;

		if (line->member < 0)
			draw_group(s, &l, line, y);
		else
			draw_member(s, &l, line, y);
		if (s->first + i == s->at) /* over what is there: the bar is read without colours too */
			(void)mvchgat(y, 0, COLS, A_REVERSE, 0, NULL);
	}
}

static const char *const help[] = {
	"Up Down PgUp PgDn Home End   move the bar",
	"Left Right, - +, space       fold and unfold a group",
	"Enter, i                     all numbers of the group",
	"m   members below their groups      t   tree or flat list",
	"N M R S U P  sort by name, memory held, rate, stall, use of limit, members",
	"o   sort by the next column         I   the other way round",
	"/   search a name                   f   show only what matches",
	"s   set a key: memory.max=64M       z   pause",
	"r   make the group give memory back",
	"k   send a signal to all members of the group, or to the member",
	"q   quit                            h ?  this page",
	"",
	"HELD is memory.current, LIMIT the lower of memory.max and memory.high.",
	"In a bar: | used, # near the limit, ! memory.high, : no limit, part of all.",
	"STALL is the time in which somebody waited for memory (memory.pressure).",
	"* at the right: the limit was met since the last look.",
};

static void draw_help(void)
{
	for (size_t i = 0; i < sizeof(help) / sizeof(help[0]) && (int)i < LINES - 3; i++)
		(void)mvprintw((int)i + 1, 2, "%.*s", COLS - 3, help[i]);
}

static void draw_value(const struct census_column *c, uint64_t v)
{
	char buf[SHORT_BUF];

	if (v == CENSUS_UNKNOWN)
		(void)printw("-");
	else if (c->kind == CENSUS_BYTES)
		(void)printw("%10s", size_short(v, buf));
	else if (c->kind == CENSUS_PERCENT)
		(void)printw("%9.2f%%", (double)v / 100.0);
	else if (c->kind == CENSUS_USEC)
		(void)printw("%9.3fs", (double)v / 1e6);
	else
		(void)printw("%10llu", (unsigned long long)v);
}

static void draw_sentence(int y, int x, const char *text)
{
	size_t n = output_cut(text, (size_t)(COLS - x - 1));

	(void)mvprintw(y, x, "%.*s%s", (int)n, text, text[n] ? "..." : "");
}

/* "memory.events.oom"; of a region its end, which tells more: "dmem.max.~0/vram". */
static void draw_key(int y, const struct census_column *c)
{
	char key[sizeof(c->key) + sizeof(c->region) + sizeof(c->field) + 4];
	int before = (int)strlen(c->key) + 1, n;

	n = snprintf(key, sizeof(key), "%s%s%s%s%s", c->key, *c->region ? "." : "", c->region, *c->field ? "." : "",
		     c->field);
	if (n <= 32)
		(void)mvprintw(y, 1, "%s", key);
	else
		(void)mvprintw(y, 1, "%.*s~%s", before, key, key + n - (32 - before - 1));
}

static void draw_details(struct top_screen *s)
{
	const struct top *t = s->top;
	const struct top_group *g = &t->group[t->line[s->at].group];
	const struct census_row *row = census_at(&t->census, g->row);
	int most = (int)t->census.columns - (LINES - 3);

	if (s->details_first > most)
		s->details_first = most > 0 ? most : 0;
	for (int y = 2, i = s->details_first; y < LINES - 1 && i < (int)t->census.columns; y++, i++) {
		const struct census_column *c = &t->census.census->column[i];

		draw_key(y, c);
		(void)move(y, 34);
		if (c->kind == CENSUS_WORD) {
			const char *w = c->words;

			for (uint64_t n = row->value[i]; n && *w; n--)
				w += strcspn(w, " ") + (w[strcspn(w, " ")] == ' ');
			(void)printw("%10.*s", (int)strcspn(w, " "), w);
		} else {
			draw_value(c, row->value[i]);
		}
		if (COLS > 60)
			draw_sentence(y, 47, c->help);
	}
}

static void draw_foot(const struct top_screen *s)
{
	static const char *const keys[] = { "?", "Help",    "/", "Search",  "f", "Filter", "t", "Tree",
					    "o", "Sort",    "m", "Members", "i", "Info",   "s", "Set",
					    "r", "Reclaim", "k", "Kill",    "q", "Quit" };
	int y = LINES - 1;

	(void)move(y, 0);
	(void)clrtoeol();
	if (s->prompt) {
		(void)attron(A_BOLD);
		(void)mvprintw(y, 0, "%.*s", COLS - 20, s->prompt);
		(void)attroff(A_BOLD);
		(void)printw(" %.*s", COLS - getcurx(stdscr) - 2, s->answer);
		return;
	}
	if (s->note) {
		(void)attron(A_BOLD | (s->note_is_bad ? pair(PAIR_FULL) : 0));
		(void)mvprintw(y, 0, "%.*s", COLS - 1, s->note);
		(void)attrset(A_NORMAL);
		return;
	}
	for (size_t i = 0; i + 1 < sizeof(keys) / sizeof(keys[0]); i += 2) {
		if (getcurx(stdscr) + (int)(strlen(keys[i]) + strlen(keys[i + 1])) + 1 >= COLS)
			break;
		(void)attron(A_BOLD);
		(void)addstr(keys[i]);
		(void)attroff(A_BOLD);
		(void)attron(A_REVERSE);
		(void)addstr(keys[i + 1]);
		(void)attroff(A_REVERSE);
		(void)addch(' ');
	}
}

/* The bar stays on its group, wherever that is now. */
static void place_bar(struct top_screen *s)
{
	struct top *t = s->top;
	int room = top_screen_room();
	int found = top_find_line(t, s->slot, s->generation);

	if (found >= 0) {
		s->at = found + (s->member >= 0 ? s->member + 1 : 0);
		if (s->at >= (int)t->lines || t->line[s->at].member != s->member)
			s->at = found;
	}
	if (s->at >= (int)t->lines)
		s->at = (int)t->lines - 1;
	if (s->at < 0)
		s->at = 0;
	if (t->lines) {
		const struct top_group *g = &t->group[t->line[s->at].group];

		s->slot = g->slot;
		s->generation = g->generation;
		s->member = t->line[s->at].member;
	}
	if (s->first > s->at)
		s->first = s->at;
	if (s->first < s->at - room + 1)
		s->first = s->at - room + 1;
	if (s->first > (int)t->lines - room)
		s->first = (int)t->lines > room ? (int)t->lines - room : 0;
}

void top_screen_draw(struct top_screen *s)
{
	(void)erase();
	if (COLS < WIDTH_MIN || LINES < HEIGHT_MIN) {
		(void)mvprintw(0, 0, "%dx%d: too small", COLS, LINES);
		(void)refresh();
		return;
	}
	place_bar(s);
	if (s->has_help) {
		draw_title(s);
		draw_help();
	} else if (s->has_details && s->top->lines) {
		char path[GROUP_PATH_MAX];

		draw_title(s);
		(void)attron(A_BOLD);
		(void)mvprintw(1, 0, "%.*s", COLS - 1, top_path(s->top, s->top->line[s->at].group, path));
		(void)attroff(A_BOLD);
		draw_details(s);
	} else {
		draw_head(s);
		draw_lines(s);
	}
	draw_foot(s);
	(void)refresh();
}

void top_screen_free(struct top_screen *s)
{
	for (uint32_t i = 0; i < s->seen_count; i++)
		free(s->seen[i].member);
	free(s->seen);
}
