/* SPDX-License-Identifier: MIT */
/* memctl tree: draws a group and all below it. */
#include "memctl/command.h"
#include "memctl/groups.h"
#include "memctl/table.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 32
#define LINE_MAX_BYTES 512

static const struct command_usage usage = {
	.name = "tree",
	.prints = true,
	.most = 1,
	.more = "Without GROUP: all there is. Other formats have the rows of 'ls -R', and the "
		"group itself.",
};

struct strokes {
	const char *child, *last, *down, *nothing;
};

static const struct strokes boxes = { "├─ ", "└─ ", "│  ", "   " };
static const struct strokes letters = { "|- ", "`- ", "|  ", "   " };

static unsigned depth_of(const char *path)
{
	unsigned n = 0;

	if (strcmp(path, "/") == 0)
		return 0;
	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* True when row i is its parent's last child: no later row of its depth before one above it. */
static bool is_last(const struct groups *g, size_t i)
{
	unsigned depth = depth_of(g->row[i].path);

	for (size_t j = i + 1; j < g->n; j++) {
		unsigned d = depth_of(g->row[j].path);

		if (d <= depth)
			return d < depth;
	}
	return true;
}

/* "│  └─ name": for each level above, whether its line goes on. */
static void draw(const struct groups *g, size_t i, bool *open, const struct strokes *s, char *line)
{
	const char *path = g->row[i].path;
	unsigned top = depth_of(g->row[0].path);
	unsigned depth = depth_of(path) - top;
	size_t n = 0;

	line[0] = 0;
	for (unsigned d = 1; d < depth; d++)
		n += (size_t)snprintf(line + n, LINE_MAX_BYTES - n, "%s", open[d] ? s->down : s->nothing);
	if (depth) {
		open[depth] = !is_last(g, i);
		n += (size_t)snprintf(line + n, LINE_MAX_BYTES - n, "%s", open[depth] ? s->child : s->last);
		path = strrchr(path, '/') + 1;
	}
	(void)snprintf(line + n, LINE_MAX_BYTES - n, "%s", path);
}

static int print(const struct groups *g, const struct output *o)
{
	const struct strokes *s = output_has_boxes() ? &boxes : &letters;
	bool open[DEPTH_MAX] = { false };
	struct table_column columns[GROUPS_COLUMNS + 1];
	struct table *t = table_new("group", columns, GROUPS_COLUMNS + 1);
	int bad;

	memcpy(columns, groups_columns, sizeof(groups_columns));
	columns[GROUPS_COLUMNS] = (struct table_column){ "used", TABLE_NOTE, "part of the limit, for people" };
	for (size_t i = 0; i < g->n; i++) {
		char line[LINE_MAX_BYTES], bar[GROUPS_BAR];

		draw(g, i, open, s, line);
		groups_add(t, &g->row[i], o->sort ? g->row[i].path : line);
		groups_bar(&g->row[i], bar);
		table_text_shown(t, strchr(bar, '[') ? strchr(bar, ']') + 2 : "", bar);
	}
	bad = table_print(t, "tree", o);
	table_free(t);
	return bad;
}

int cmd_tree(int argc, char **argv)
{
	struct command_words w;
	struct groups g = { 0 };
	struct memctl *m;
	const char *group;
	int err;

	command_parse(&usage, argc, argv, NULL, &w);
	if (!w.output.fields && w.output.format != OUTPUT_TABLE)
		w.output.fields = "group,current,max,members,members_local";
	else if (!w.output.fields)
		w.output.fields = output_is_for_people(&w.output) && isatty(STDOUT_FILENO)
					  ? "group,current,max,used,members"
					  : "group,current,max,members";
	group = w.count ? w.word[0] : "/";
	m = command_open("tree");
	if (!m)
		return SAY_FAILED;
	err = groups_read_top(m, group, &g);
	if (!err)
		err = groups_read(m, group, MEMCTL_RECURSIVE, &g);
	memctl_close(m);
	if (err)
		return say_error("tree", err);
	err = print(&g, &w.output);
	groups_free(&g);
	return err ? err : output_finish("tree");
}
